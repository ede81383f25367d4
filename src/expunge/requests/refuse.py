"""Record that a request was refused, and why: by the error's code, never by what it named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from expunge.core.errors import InputError
from expunge.requests.kinds import Kind
from expunge.storage import facts
from expunge.storage.facts import Fact
from expunge.training.site import Site


@contextmanager
def refusing(site: Site, request: str, kind: Kind) -> Iterator[None]:
    """Record a refusal in a transaction of its own, and let the error go on to the caller.

    Whoever asks why nothing was done for a person finds that they were answered (GDPR Art. 12.4).
    """
    try:
        yield
    except InputError as error:
        with site.database.transaction() as transaction:
            facts.record(transaction, fact(request, kind, error.code))
        raise


def fact(request: str, kind: Kind, reason: str) -> Fact:
    """What is recorded about a refusal."""
    return Fact("request.refused", {"kind": kind, "reason": reason}, request)
