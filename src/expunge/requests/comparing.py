"""What the journal and the database each know of requests, and the other does not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from expunge.requests import journaled, sql
from expunge.requests.journaled import DECISIONS, RECEIVED
from expunge.storage.records import Position
from expunge.training.site import Site

FRAMES: Final = 1000
"""Frames behind the mark that are read at each opening before the mark is moved."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What the journal and the database know.

    Attributes:
        before: Entries in the ledger's tree when the database was found to be old, if it was.
        is_other: Whether it remembered another journal.
        frames: Where what stands in the journal behind the mark begins, by request and kind.
        missing: Requests that the database does not know.
        undecided: Requests that it knows, and not what was decided about them.
        here: Requests of the database that may stand behind the mark, or nowhere.
        end: Where the journal ends; None where nothing is behind the mark.
    """

    before: int | None
    is_other: bool
    frames: Mapping[str, Mapping[str, Position]]
    missing: tuple[str, ...]
    undecided: tuple[str, ...]
    here: tuple[str, ...]
    end: Position | None

    @property
    def is_older(self) -> bool:
        """Whether the database lacks something."""
        return bool(self.missing or self.undecided) or self.before is not None

    @property
    def absent(self) -> tuple[str, ...]:
        """Requests that the journal does not know."""
        return tuple(one for one in self.here if RECEIVED not in self.frames.get(one, ()))


def compare(site: Site) -> Compared:
    """Read what is behind the mark, and look for it in the database. Some µs for each frame.

    Raises:
        HomeMismatch: The journal is another home's.
        DataCorrupt: The journal is damaged.
    """
    with site.database.reading() as transaction:
        mark, before = sql.mark(transaction), sql.restoring(transaction)
    is_other = mark is not None and not site.journal.has(mark)
    mark = None if is_other else mark
    frames: dict[str, dict[str, Position]] = defaultdict(dict)
    end = None
    for frame in site.journal.frames(mark):
        frames[frame.request].setdefault(frame.kind, frame.start)
        end = frame.end
    received = [request for request, kinds in frames.items() if RECEIVED in kinds]
    # Read after the journal: what came in between is in the database first.
    with site.database.reading() as transaction:
        here = sql.unjournaled(transaction) if mark else sql.every(transaction)
        known = known_of(transaction, received)
        undecided = undecided_of(transaction, frames)
    missing = tuple(request for request in received if request not in known)
    return Compared(before, is_other, dict(frames), missing, undecided, tuple(sorted(here)), end)


def known_of(transaction: sa.Connection, requests: Collection[str]) -> set[str]:
    """Which of these requests are here; also those whose dataset is not."""
    if len(requests) < FRAMES:
        return sql.known(transaction, requests)
    return {*sql.every(transaction), *sql.strangers(transaction)}


def undecided_of(
    transaction: sa.Connection, said: Mapping[str, Collection[str]]
) -> tuple[str, ...]:
    """Requests that are here and lack a decision.

    Args:
        transaction: Where they are looked for.
        said: Kinds of entries that there are about requests.
    """
    decided = [one for one, kinds in said.items() if not set(kinds).isdisjoint(DECISIONS)]
    rows = [row for chunk in sql.chunks(decided) for row in sql.some(transaction, chunk)]
    return tuple(row.id for row in rows if journaled.lacks(row, said[row.id]))
