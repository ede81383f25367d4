"""Copy what is published to a folder that a web server gives to everybody.

References:
    c2sp.org/tlog-tiles, section "APIs".
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from expunge.core.errors import InputError, LedgerError
from expunge.ledger import files
from expunge.storage import disk

_FOR_ALL: Final = 0o644


def export(folder: Path, target: Path) -> int:
    """Bring a copy of the log in ``folder`` up to date; files that are right are left alone.

    The checkpoint comes last, so that the copy can be served meanwhile. Everybody may read it.

    Args:
        folder: The log's folder; may be written to meanwhile.
        target: Empty or not there, or an earlier copy.

    Returns:
        Entries in the copy.

    Raises:
        InputError: Another log is in ``target``, or a newer copy of this one.
        LedgerError: Nothing is published yet, or a file is missing.
    """
    found, there = files.published(folder), files.published(target)
    if found is None:
        raise LedgerError("The ledger has no entries yet. Sync it first.")
    ours = found.checkpoint
    if there is not None and (
        there.checkpoint.origin != ours.origin or there.checkpoint.size > ours.size
    ):
        raise InputError(
            f"In the folder is a copy of {there.checkpoint.origin!r} with "
            f"{there.checkpoint.size:,} entries; this is {ours.origin!r} with {ours.size:,}. "
            f"Name another folder."
        )
    fetch = files.fetcher(folder)
    for place in files.places(ours.size):
        try:
            _copy(target / place.path, fetch(place.path))
        except FileNotFoundError:
            raise LedgerError(f"{place.path} is missing. Run `expunge ledger fsck`.") from None
    for path in sorted((folder / files.HANDOVERS).glob("[0-9]*")):
        if int(path.name) <= ours.size:
            _copy(target / files.HANDOVERS / path.name, path.read_bytes())
    _copy(target / files.CHECKPOINT, found.data)
    return ours.size


def _copy(path: Path, data: bytes) -> None:
    if not path.exists() or path.read_bytes() != data:
        disk.write_file(path, data)
        path.chmod(_FOR_ALL)
