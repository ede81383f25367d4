"""What the journal says about requests: their conditions, what they named, what was decided.

Each is a record of its own, all under the request's id, and each has an entry of the ledger, to
the last byte. A request is known to the journal by its ``request.received``; conditions stand
before it, decisions come later.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from expunge.requests.sql import Request, State
from expunge.requests.states import FINAL, MOVES
from expunge.storage.journal import Journal
from expunge.storage.records import Position, Record, Row

RECEIVED: Final = "request.received"
SCOPED: Final = "request.scoped"
TERMS: Final = "request.terms"
APPROVED: Final = "request.approved"
EXTENDED: Final = "deadline.extended"

CONDITIONS: Final = (SCOPED, TERMS)
ENDS: Final[Mapping[str, State]] = {
    "request.cancelled": State.CANCELLED,
    "request.refused": State.REFUSED,
    "request.undone": State.UNDONE,
}
"""Decisions that end a request, and how."""

DECISIONS: Final = (APPROVED, EXTENDED, *ENDS)
KINDS: Final = (*CONDITIONS, RECEIVED, *DECISIONS)
"""All that the journal says, in the order in which it is said."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the ledger, read.

    Attributes:
        leaf: Its bytes.
    """

    at: str
    kind: str
    body: Mapping[str, Any]
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """What the journal says about one request.

    Attributes:
        entries: By kind, in the order of :data:`KINDS`.
        rows: All that it names.
    """

    request: str
    entries: Mapping[str, Entry]
    rows: tuple[Row, ...]

    @property
    def received(self) -> Entry:
        """That it was accepted. Only of those that the journal knows."""
        return self.entries[RECEIVED]

    @property
    def dataset(self) -> str:
        """Folder of the dataset that it is about."""
        return str(self.received.body["dataset"])

    @property
    def end(self) -> Entry | None:
        """The decision that ended it."""
        return next((self.entries[kind] for kind in ENDS if kind in self.entries), None)


def read(leaf: bytes) -> Entry:
    """Read an entry."""
    said = json.loads(leaf)
    return Entry(said["at"], said["kind"], said["body"], leaf)


def gather(
    journal: Journal, requests: Iterable[str], frames: Mapping[str, Mapping[str, Position]]
) -> list[Told]:
    """Read what stands in these frames about some requests."""
    return [_told(request, _records(journal, frames[request])) for request in requests]


def _records(journal: Journal, frames: Mapping[str, Position]) -> dict[str, Record]:
    return {kind: journal.record_at(frames[kind]) for kind in KINDS if kind in frames}


def _told(request: str, records: Mapping[str, Record]) -> Told:
    entries = {kind: read(record.entry) for kind, record in records.items()}
    rows = tuple(records[RECEIVED].rows) if RECEIVED in records else ()
    return Told(request, entries, rows)


def lacks(row: Request, kinds: Collection[str]) -> bool:
    """Whether a request's row lacks one of the decisions that were made about it."""
    return any(_lacks(row, kind) for kind in kinds)


def _lacks(row: Request, kind: str) -> bool:
    if kind == APPROVED:
        return row.state is State.SUBMITTED
    if kind == EXTENDED:
        return not row.extended and row.state not in FINAL
    return kind in ENDS and ENDS[kind] in MOVES[row.state]
