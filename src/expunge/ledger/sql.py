"""Tables of the ledger: the tree's head, the lease of its writer, cosignatures, the vault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from expunge.core.errors import LeaseHeld
from expunge.core.merkle import Frontier
from expunge.storage.database import METADATA, now
from expunge.storage.facts import FACTS

HEADS: Final = sa.Table(
    "tree_head",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("root", sa.LargeBinary(32), nullable=False),
    sa.Column("frontier", sa.LargeBinary, nullable=False),
    sa.Column("note", sa.LargeBinary, nullable=False),
    sa.Column("at", sa.String(27), nullable=False),
    # Who may sign the next head: a key that was replaced by mistake must not.
    sa.Column("log_key", sa.Text, nullable=False),
    sa.Column("certificate_key", sa.String(64), nullable=False),
)

LEASES: Final = sa.Table(
    "lease",
    METADATA,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("until", sa.Double, nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
)

HANDOVERS: Final = sa.Table(
    "handover",
    METADATA,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("note", sa.LargeBinary, nullable=False),
)

COSIGNATURES: Final = sa.Table(
    "cosignature",
    METADATA,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("line", sa.Text, nullable=False),
)

VAULT: Final = sa.Table(
    "vault",
    METADATA,
    sa.Column("request", sa.String(36), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("block", sa.LargeBinary, nullable=False),
)
"""Keys of commitments and these, by request (``ledger.vault``); in blocks from a position on."""

_THE_HEAD: Final = 1
_MOST: Final = 2**31 - 1

# Made once: building a statement takes longer than running it.
_HEAD: Final = sa.select(HEADS)
_SET_HEAD: Final = HEADS.update().where(HEADS.c.size == sa.bindparam("old_size"))
_WAITS: Final = (
    sa.select(FACTS.c.number)
    .where(FACTS.c.entry.is_(None), FACTS.c.number <= sa.bindparam("last"))
    .limit(1)
)
_LAST_WAITING: Final = sa.select(sa.func.max(FACTS.c.number)).where(FACTS.c.entry.is_(None))


@dataclass(frozen=True, slots=True)
class Head:
    """The head of the tree: all that is needed to append to it.

    Attributes:
        note: The signed checkpoint of this size, without cosignatures.
        log_key: Verifier key (vkey) of who signs the next head.
        certificate_key: SHA-256 in hex of the public key (SPKI, DER) that signs certificates.
    """

    frontier: Frontier
    note: bytes
    log_key: str
    certificate_key: str

    @property
    def size(self) -> int:
        """How many entries the tree has."""
        return self.frontier.size

    @property
    def origin(self) -> str:
        """Name of the log, for good."""
        return self.note.partition(b"\n")[0].decode()


def head(transaction: sa.Connection) -> Head | None:
    """The tree's head; None before the log is opened."""
    row = transaction.execute(_HEAD).one_or_none()
    if row is None:
        return None
    frontier = Frontier.from_bytes(row.size, bytes(row.frontier))
    return Head(frontier, bytes(row.note), row.log_key, row.certificate_key)


def log_key(transaction: sa.Connection) -> str | None:
    """Public key of the log, whatever else of its head is damaged; None before it is opened."""
    return transaction.execute(sa.select(HEADS.c.log_key)).scalar_one_or_none()


def set_head(transaction: sa.Connection, old: Head | None, new: Head) -> None:
    """Replace the head ``old`` by ``new``, if it is still there: compare and swap.

    Raises:
        LeaseHeld: Another writer replaced it before.
    """
    values = {
        "size": new.size,
        "root": new.frontier.root,
        "frontier": new.frontier.to_bytes(),
        "note": new.note,
        "at": now(),
        "log_key": new.log_key,
        "certificate_key": new.certificate_key,
    }
    if old is None:
        transaction.execute(HEADS.insert().values(id=_THE_HEAD, **values))
        return
    done = transaction.execute(_SET_HEAD, {"old_size": old.size, **values})
    if done.rowcount != 1:
        raise LeaseHeld("Another process appended to the ledger's tree meanwhile. Try again.")


def has_waiting(transaction: sa.Connection, last: int = _MOST) -> bool:
    """Whether a fact, of those with numbers up to ``last``, waits for its place in the tree."""
    return transaction.execute(_WAITS, {"last": last}).one_or_none() is not None


def last_waiting(transaction: sa.Connection) -> int:
    """The largest number of a fact that waits for its place; 0 where none does."""
    return transaction.execute(_LAST_WAITING).scalar_one() or 0


def numbered(transaction: sa.Connection, start: int, stop: int) -> dict[int, bytes]:
    """The entries from ``start`` to before ``stop``, as far as there are any, by number."""
    found = (
        sa.select(FACTS.c.entry, FACTS.c.leaf)
        .where(FACTS.c.entry >= start, FACTS.c.entry < stop)
        .order_by(FACTS.c.entry)
    )
    return {entry: bytes(leaf) for entry, leaf in transaction.execute(found)}


def leaves(transaction: sa.Connection, start: int, stop: int) -> list[bytes]:
    """The entries from ``start`` to before ``stop``, as far as there are any, in order."""
    return list(numbered(transaction, start, stop).values())


def handovers(transaction: sa.Connection, size: int) -> dict[int, bytes]:
    """By size, the notes up to ``size`` that were signed by an old and a new key."""
    found = sa.select(HANDOVERS).where(HANDOVERS.c.size <= size).order_by(HANDOVERS.c.size)
    return {row.size: bytes(row.note) for row in transaction.execute(found)}


def cosignatures(transaction: sa.Connection, size: int) -> Sequence[sa.Row[tuple[int, str, str]]]:
    """Cosignatures of the checkpoint of ``size``, as rows of (size, key, line)."""
    found = sa.select(COSIGNATURES).where(COSIGNATURES.c.size == size).order_by("key")
    return transaction.execute(found).all()


def last_cosigned(transaction: sa.Connection, key: str, most: int) -> int:
    """The largest size, up to ``most``, that the witness with the key cosigned; 0 if none."""
    found = sa.select(sa.func.max(COSIGNATURES.c.size)).where(
        COSIGNATURES.c.key == key, COSIGNATURES.c.size <= most
    )
    return transaction.execute(found).scalar_one() or 0


def add_cosignature(transaction: sa.Connection, size: int, key: str, line: str) -> None:
    """Keep a cosignature of the checkpoint of ``size``, in place of an older one by that key."""
    same = (COSIGNATURES.c.size == size, COSIGNATURES.c.key == key)
    transaction.execute(COSIGNATURES.delete().where(*same))
    transaction.execute(COSIGNATURES.insert().values(size=size, key=key, line=line))


def of_request(transaction: sa.Connection, request: str, size: int) -> list[tuple[int, bytes]]:
    """The entries about a request in a tree of ``size``, as (number, bytes), in order."""
    found = (
        sa.select(FACTS.c.entry, FACTS.c.leaf)
        .where(FACTS.c.request == request, FACTS.c.entry < size)
        .order_by(FACTS.c.entry)
    )
    return [(entry, bytes(leaf)) for entry, leaf in transaction.execute(found)]


def witness_keys(transaction: sa.Connection) -> list[str]:
    """Public keys of all witnesses that ever cosigned."""
    found = sa.select(COSIGNATURES.c.key).distinct().order_by(COSIGNATURES.c.key)
    return list(transaction.execute(found).scalars())
