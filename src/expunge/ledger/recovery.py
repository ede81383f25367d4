"""A restored database: take back the entries that it has lost and the published log still has.

A published checkpoint that is larger than the database's tree says that the database is older
than what was shown to others. Appending to it would make a second history, so the missing
entries come first: from the published bundles, after they gave the signed root.

References:
    c2sp.org/tlog-checkpoint, section "Signatures": a log never signs two heads that do not fit.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from expunge.core.errors import KeyInvalid, LedgerForked
from expunge.core.merkle import Frontier, leaf_hash
from expunge.ledger import files, note, sequencer, sql
from expunge.ledger import lease as leases
from expunge.ledger.files import Published
from expunge.ledger.keys import Keys
from expunge.ledger.lease import Lease
from expunge.ledger.sql import Head
from expunge.storage.database import Database
from expunge.storage.facts import FACTS


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a database got back.

    Attributes:
        before: Entries in its tree when it was found.
        after: Entries in its tree now.
    """

    before: int
    after: int


def recover(database: Database, folder: Path, lease: Lease, keys: Keys) -> Recovered:
    """Take the entries that only the published log has into the database, all or none.

    A fact that waits there and is such an entry, byte for byte, gets its place; the others are
    inserted. Does nothing where the database has all that was published.

    Args:
        database: May be older than the published log.
        folder: The log's folder.
        lease: Held by us; checked in the same transaction.
        keys: Hold the key that signed the published checkpoint.

    Raises:
        KeyInvalid: Another key signed what is published.
        LedgerForked: What is published does not go on from the database's tree.
        LedgerError: Its files are damaged.
        LeaseHeld: Another process took the lease.
    """
    found = files.published(folder)
    with database.transaction() as transaction:
        leases.check(transaction, lease)
        head = sql.head(transaction)
        size = head.size if head else 0
        if found is None or found.checkpoint.size <= size:
            return Recovered(size, size)
        frontier = head.frontier if head else Frontier()
        after = _verified(folder, frontier, found)
        _take_in(transaction, folder, size, after.size)
        _take_handovers(transaction, folder)
        keys = replace(keys, origin=found.checkpoint.origin)
        sql.set_head(transaction, head, _head(transaction, after, found, keys))
        return Recovered(size, after.size)


def _verified(folder: Path, frontier: Frontier, found: Published) -> Frontier:
    """The frontier behind the published entries, which go on from ``frontier``."""
    stop, before = found.checkpoint.size, frontier.size
    for leaves in files.entries(folder, before, stop, stop):
        frontier = frontier.extend([leaf_hash(leaf) for leaf in leaves])
    if frontier.root != found.checkpoint.root:
        raise LedgerForked(
            f"The published log of {stop:,} entries does not go on from the database's tree of "
            f"{before:,}: its files are damaged, or they are two histories. Nothing was changed. "
            f"Run `expunge ledger fsck`; where the files are right, restore the database from a "
            f"backup that belongs to them."
        )
    return frontier


def _take_in(transaction: sa.Connection, folder: Path, start: int, stop: int) -> None:
    """Give the published entries from ``start`` to before ``stop`` their rows."""
    waiting, places = _waiting(transaction), count(start)
    for leaves in files.entries(folder, start, stop, stop):
        known, fresh = [], []
        for leaf, entry in zip(leaves, places, strict=False):
            if numbers := waiting.get(leaf):
                known.append({"waiting": numbers.pop(0), "place": entry})
            else:
                fresh.append(_row(entry, leaf))
        if known:
            transaction.execute(_PLACE, known)
        if fresh:
            transaction.execute(FACTS.insert(), fresh)


def _waiting(transaction: sa.Connection) -> dict[bytes, list[int]]:
    """The numbers of the facts that wait, by their leaves."""
    numbers = defaultdict[bytes, list[int]](list)
    waiting = sa.select(FACTS.c.number, FACTS.c.leaf).where(FACTS.c.entry.is_(None))
    for row in transaction.execute(waiting.order_by(FACTS.c.number)):
        numbers[bytes(row.leaf)].append(row.number)
    return numbers


_PLACE = (
    FACTS.update()
    .where(FACTS.c.number == sa.bindparam("waiting"))
    .values(entry=sa.bindparam("place"))
)


def _row(entry: int, leaf: bytes) -> dict[str, Any]:
    said = json.loads(leaf)
    return {"kind": said["kind"], "request": said.get("request"), "leaf": leaf, "entry": entry}


def _take_handovers(transaction: sa.Connection, folder: Path) -> None:
    known = sql.handovers(transaction, 2**62)
    for path in sorted((folder / files.HANDOVERS).glob("[0-9]*")):
        if int(path.name) not in known:
            values = {"size": int(path.name), "note": path.read_bytes()}
            transaction.execute(sql.HANDOVERS.insert().values(values))


def _head(transaction: sa.Connection, frontier: Frontier, found: Published, keys: Keys) -> Head:
    """The head after all published entries, signed by the key that they name last."""
    log_key, certificate_key = _keys(transaction)
    signer = keys.log(log_key)
    if signer.verifier not in note.verified(found.note, [signer.verifier]):
        raise KeyInvalid(
            "The published checkpoint is larger than the database's tree, and the log's key did "
            "not sign it. Nothing was changed. Restore the ledger's files, or the key."
        )
    kept = sql.handovers(transaction, frontier.size).get(frontier.size)
    signed = kept or sequencer.signed(frontier, [signer])
    return Head(frontier, signed, log_key, certificate_key)


def _keys(transaction: sa.Connection) -> tuple[str, str]:
    """The keys of log and certificates in force, as the entries name them."""
    kinds = ("ledger.opened", "key.rotated")
    wanted = (
        sa.select(FACTS.c.leaf)
        .where(FACTS.c.kind.in_(kinds), FACTS.c.entry.is_not(None))
        .order_by(FACTS.c.entry)
    )
    opened, *rotated = (
        json.loads(bytes(leaf))["body"] for leaf in transaction.execute(wanted).scalars()
    )
    found = {"log": opened["log_key"], "certificate": opened["certificate_key"]}
    found |= {body["key"]: body["new"] for body in rotated}
    return found["log"], found["certificate"]
