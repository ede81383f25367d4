"""Give facts their places in the tree, many at a time, each batch in one transaction.

Facts are recorded all over the place; a tree head in each of those transactions would be a
row that all of them wait for. So a fact waits (its ``entry`` is NULL) until the one holder of
the lease takes all that wait, in the order of their numbers, and signs the new head. A fact
whose transaction commits late, behind facts with larger numbers, comes in a later batch.

References:
    c2sp.org/tlog-checkpoint, section "Signatures": a log never signs two heads that do not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Final

import sqlalchemy as sa

from expunge.core.errors import KeyInvalid, LedgerError
from expunge.core.merkle import Frontier, leaf_hash
from expunge.ledger import lease as leases
from expunge.ledger import sql
from expunge.ledger.lease import Lease
from expunge.ledger.note import Checkpoint, Note, Signer
from expunge.ledger.sql import Head
from expunge.storage import facts
from expunge.storage.database import now
from expunge.storage.facts import FACTS, Fact

BATCH: Final = 1000
"""Facts per transaction: on SQLite all other writers wait for it, a few hundredths of a second."""

_WAITING: Final = (
    sa.select(FACTS.c.number)
    .where(FACTS.c.entry.is_(None))
    .order_by(FACTS.c.number)
    .limit(sa.bindparam("most", type_=sa.Integer))
    .subquery("waiting")
)
_PLACE: Final = sa.func.row_number().over(order_by=_WAITING.c.number) - 1
_PLACED: Final = sa.select(
    _WAITING.c.number, (_PLACE + sa.bindparam("size", type_=sa.BigInteger)).label("place")
).subquery("placed")
_ASSIGN: Final = (
    FACTS.update()
    .values(entry=_PLACED.c.place)
    .where(FACTS.c.number == _PLACED.c.number)
    .returning(FACTS.c.entry, FACTS.c.leaf)
)


def sequence(transaction: sa.Connection, lease: Lease, signer: Signer, most: int = BATCH) -> int:
    """Move waiting facts into the tree and sign its new head.

    Args:
        transaction: Nothing of it is kept unless it commits.
        lease: Held by us; checked in this transaction.
        signer: The log's key, which the head names.
        most: How many facts to take at most.

    Returns:
        How many were taken; fewer than ``most`` where no more waited.

    Raises:
        LeaseHeld: Another process took the lease.
        KeyInvalid: The key is not the one that the log is signed with.
    """
    leases.check(transaction, lease)
    head = required(transaction)
    check_key(head, signer)
    # RETURNING has no order of its own.
    taken = transaction.execute(_ASSIGN, {"most": most, "size": head.size}).all()
    if taken:
        ordered = sorted(taken, key=itemgetter(0))
        frontier = head.frontier.extend([leaf_hash(bytes(leaf)) for _, leaf in ordered])
        note = signed(frontier, [signer])
        sql.set_head(transaction, head, replace(head, frontier=frontier, note=note))
    return len(taken)


def open_log(
    transaction: sa.Connection, lease: Lease, signer: Signer, certificate_key: str
) -> None:
    """Begin the log: its first entry says how it is called and which keys sign for it.

    Raises:
        LeaseHeld: Another process took the lease.
    """
    leases.check(transaction, lease)
    body = {
        "origin": signer.name,
        "log_key": signer.verifier.vkey,
        "certificate_key": certificate_key,
    }
    leaf = _place(transaction, Fact("ledger.opened", body), 0)
    frontier = Frontier().extend([leaf_hash(leaf)])
    opened = Head(frontier, signed(frontier, [signer]), signer.verifier.vkey, certificate_key)
    sql.set_head(transaction, None, opened)


def hand_over(transaction: sa.Connection, lease: Lease, signer: Signer, new: Signer) -> None:
    """Enter a new log key as the tree's next entry; the old and the new key sign that head.

    The note is kept: it is what carries trust in the old key over to the new one.

    Raises:
        LeaseHeld: Another process took the lease.
        KeyInvalid: ``signer`` is not the key that the log is signed with.
    """
    leases.check(transaction, lease)
    head = required(transaction)
    check_key(head, signer)
    keys = {"key": "log", "new": new.verifier.vkey, "old": head.log_key}
    leaf = _place(transaction, Fact("key.rotated", keys), head.size)
    frontier = head.frontier.extend([leaf_hash(leaf)])
    note = signed(frontier, [signer, new])
    sql.set_head(
        transaction, head, replace(head, frontier=frontier, note=note, log_key=new.verifier.vkey)
    )
    transaction.execute(sql.HANDOVERS.insert().values(size=frontier.size, note=note))


def replace_certificate_key(
    transaction: sa.Connection, lease: Lease, signer: Signer, new: str
) -> None:
    """Enter a new key of certificates as the tree's next entry.

    Args:
        transaction: Nothing of it is kept unless it commits.
        lease: Held by us; checked in this transaction.
        signer: The log's key, which the head names.
        new: SHA-256 in hex of the new public key.

    Raises:
        LeaseHeld: Another process took the lease.
        KeyInvalid: ``signer`` is not the key that the log is signed with.
    """
    leases.check(transaction, lease)
    head = required(transaction)
    check_key(head, signer)
    keys = {"key": "certificate", "new": new, "old": head.certificate_key}
    leaf = _place(transaction, Fact("key.rotated", keys), head.size)
    frontier = head.frontier.extend([leaf_hash(leaf)])
    note = signed(frontier, [signer])
    sql.set_head(
        transaction, head, replace(head, frontier=frontier, note=note, certificate_key=new)
    )


def signed(frontier: Frontier, signers: Sequence[Signer]) -> bytes:
    """The checkpoint of a tree, as a note signed by all of ``signers``."""
    note = Note(Checkpoint(signers[0].name, frontier.size, frontier.root).text)
    for signer in signers:
        note = note.with_signature(signer.sign(note.text))
    return note.to_bytes()


def required(transaction: sa.Connection) -> Head:
    """The tree's head.

    Raises:
        LedgerError: The log is not open.
    """
    head = sql.head(transaction)
    if head is None:
        raise LedgerError("The ledger has no entries yet. Run `expunge ledger show`, or sync it.")
    return head


def check_key(head: Head, signer: Signer) -> None:
    """Refuse to sign with a key that is not the log's.

    Raises:
        KeyInvalid: It is another one.
    """
    if signer.verifier.vkey != head.log_key:
        raise KeyInvalid(
            f"The log is signed by {head.log_key}, and the key at hand is "
            f"{signer.verifier.vkey}. Put the right key into keys/log.pem or EXPUNGE_LOG_KEY; a "
            f"key is replaced by `Ledger.rotate`, which the log records."
        )


def _place(transaction: sa.Connection, fact: Fact, entry: int) -> bytes:
    """Record a fact that is in the tree at once."""
    leaf = facts.leaf(fact, now())
    transaction.execute(FACTS.insert().values(kind=fact.kind, leaf=leaf, entry=entry))
    return leaf
