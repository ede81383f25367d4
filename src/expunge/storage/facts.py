"""Facts: what happened, recorded in the very transaction in which it happened.

Each fact is kept as the ledger's entry that it becomes, to the last byte: a sequencer gives it
its place in the tree later, in the order of commits that it sees, and changes nothing about it.
A fact holds counts, digests and random ids, never an identity.

References:
    Rundgren, Jordan and Erdtman, "JSON Canonicalization Scheme", RFC 8785.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from expunge.core import jcs
from expunge.core.errors import EntryTooLarge
from expunge.storage import bulk
from expunge.storage.database import METADATA, now

ENTRY_BYTES: Final = 65_535
"""A tree's bundles give the length of an entry in two bytes (C2SP tlog-tiles)."""

FIELDS: Final[Mapping[str, frozenset[str]]] = {
    kind: frozenset(fields.split())
    for kind, fields in {
        "ledger.opened": "origin log_key certificate_key",
        "key.rotated": "key new old",
        "dataset.ingested": "dataset rows number schema schema_adopted roots",
        "model.created": "model recipe dataset",
        "model.exported": "model version files",
        "model.retired": "model reason",
        "unit.rebuilt": "model shard pack destroyed built samples seconds name",
        "unit.forgot": "model shard name place parent method rows root remaining figures",
        "version.published": "model number digest before clean_to whole samples",
        "request.received": "dataset kind samples already identifiers rows",
        "request.corrected": "dataset batch rows",
        "request.refused": "kind reason",
        "request.forgotten": "model before version changed names",
        "request.scoped": "models purpose",
        "request.terms": "approval effective method received regime undo_s",
        "request.approved": "",
        "request.cancelled": "",
        "request.held": "reason rows",
        "request.released": "rows",
        "request.undone": "rows",
        "deadline.extended": "regime until",
        "hold.placed": "dataset rows",
        "hold.released": "dataset rows",
        "checkpoint.destroyed": "dataset rows frames requests",
        "certificate.issued": "statement key",
        "salt.destroyed": "count",
        "audit.finished": "model version method verdict figures",
        "home.restored": "size_before size_after requests rows unknown",
    }.items()
}
"""What may be recorded, and what about it."""

FACTS: Final = sa.Table(
    "fact",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("request", sa.String(36), index=True),
    sa.Column("leaf", sa.LargeBinary, nullable=False),
    # Its index in the ledger's tree; NULL while it waits for its place there.
    sa.Column("entry", sa.BigInteger, unique=True),
)
sa.Index("fact_kind", FACTS.c.kind, FACTS.c.number)
sa.Index(
    "fact_pending",
    FACTS.c.number,
    sqlite_where=FACTS.c.entry.is_(None),
    postgresql_where=FACTS.c.entry.is_(None),
)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened.

    Attributes:
        kind: One of :data:`FIELDS`, such as ``request.received``.
        body: JSON with exactly the fields of its kind; counts, digests and random ids only.
        request: The request that it belongs to, if any.
    """

    kind: str
    body: Mapping[str, Any]
    request: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A fact with its number and time.

    Attributes:
        leaf: The ledger's entry, byte for byte.
        entry: Its index in the ledger's tree; None while it waits for its place there.
    """

    number: int
    at: str
    kind: str
    request: str | None
    body: Mapping[str, Any]
    leaf: bytes
    entry: int | None


def record(transaction: sa.Connection, fact: Fact) -> None:
    """Record ``fact`` if and only if ``transaction`` commits.

    Raises:
        ValueError: Its kind is not known, or has other fields.
        EntryTooLarge: It does not fit into an entry.
    """
    transaction.execute(
        FACTS.insert().values(kind=fact.kind, request=fact.request, leaf=leaf(fact, now()))
    )


def record_all(transaction: sa.Connection, recorded: Sequence[Fact]) -> None:
    """Record facts in this order, in one statement; see :func:`record`."""
    moment = now()
    enter(transaction, [(fact, leaf(fact, moment)) for fact in recorded])


def enter(transaction: sa.Connection, entered: Sequence[tuple[Fact, bytes]]) -> None:
    """Record facts of which the entries were made already, by :func:`leaf`."""
    rows = [{"kind": f.kind, "request": f.request, "leaf": leaf} for f, leaf in entered]
    bulk.insert_rows(transaction, FACTS, rows)


def leaf(fact: Fact, at: str) -> bytes:
    """The ledger's entry for a fact that happened ``at`` (RFC 3339): canonical JSON."""
    if FIELDS.get(fact.kind) != frozenset(fact.body):
        raise ValueError(f"A fact {fact.kind!r} cannot hold {sorted(fact.body)}.")
    entry: dict[str, Any] = {"v": 1, "at": at, "kind": fact.kind, "body": dict(fact.body)}
    encoded = jcs.dumps(entry | ({"request": fact.request} if fact.request else {}))
    if len(encoded) > ENTRY_BYTES:
        raise EntryTooLarge(fact.kind, len(encoded), ENTRY_BYTES)
    return encoded


def read(
    transaction: sa.Connection,
    request: str | None = None,
    kinds: Collection[str] = (),
    after: int = 0,
) -> list[Recorded]:
    """Facts in order: all, or those of one request, of some kinds, behind a number."""
    query = sa.select(FACTS).where(FACTS.c.number > after).order_by(FACTS.c.number)
    if request is not None:
        query = query.where(FACTS.c.request == request)
    if kinds:
        query = query.where(FACTS.c.kind.in_(sorted(kinds)))
    return [_recorded(row) for row in transaction.execute(query)]


def _recorded(row: sa.Row[tuple[object, ...]]) -> Recorded:
    entry = json.loads(bytes(row.leaf))
    return Recorded(
        row.number, entry["at"], row.kind, row.request, entry["body"], bytes(row.leaf), row.entry
    )
