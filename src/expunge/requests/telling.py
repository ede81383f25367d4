"""What comes between the commit and the answer: the journal, and servers that have to move on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from expunge.storage.records import Record
from expunge.training import serving
from expunge.training.site import Site


def tell(site: Site, records: Sequence[Record], numbers: Mapping[int, int]) -> None:
    """Append to the journal, and wait until nothing is answered from older versions.

    It is waited in any case: who hears that a request stands, but not in the journal, hears that
    it is in effect.

    Args:
        site: What the home stands on.
        records: What the journal is to say.
        numbers: Of the versions that are served from now on, by model.

    Raises:
        JournalUnwritten: The journal could not be written.
    """
    try:
        if records:
            site.journal.append(*records)
    finally:
        serving.wait(site, numbers)
