"""Leases: one writer at a time, until it lets go or its time runs out.

A lease has a fence, a number that goes up whenever another holder takes it. A writer checks
its fence in each transaction, under a lock on the lease's row: one that was suspended and
wakes up after its time finds that it lost its place, before it has changed anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Final, TypeAlias

import sqlalchemy as sa

from expunge.core.errors import LeaseHeld
from expunge.ledger.sql import LEASES
from expunge.storage.database import Database

Clock: TypeAlias = Callable[[sa.Connection], float]
"""Tells the time, in seconds. All holders of one lease must read the same clock."""

# SQLite has no row locks and needs none: its writing transactions are alone.
_LOCKED: Final = sa.select(LEASES).where(LEASES.c.name == sa.bindparam("wanted")).with_for_update()


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that was taken.

    Attributes:
        holder: Who took it; unique to a writer, not to a person.
        until: When it runs out, in seconds of the clock that it was taken by.
        fence: Higher than that of every holder before.
    """

    name: str
    holder: str
    until: float
    fence: int


def shared_clock(transaction: sa.Connection) -> float:
    """The time that all users of a database agree on; seconds since 1970.

    PostgreSQL's own. The users of a SQLite file are on one machine, which has one clock.
    """
    if transaction.dialect.name == "sqlite":
        return time.time()
    told = sa.select(sa.extract("epoch", sa.func.clock_timestamp()))
    return float(transaction.execute(told).scalar_one())


def take(
    database: Database, name: str, holder: str, seconds: float, *, clock: Clock = shared_clock
) -> Lease:
    """Take the lease ``name`` for ``seconds``, or extend it where ``holder`` has it already.

    Raises:
        LeaseHeld: Another has it, and its time has not run out.
    """
    with database.transaction() as transaction:
        found = _locked(transaction, name)
        now = clock(transaction)
        if found is None:
            fresh = Lease(name, holder, now + seconds, 1)
            # Two that take the first lease at once: the second waits, then is told.
            _insert(transaction, fresh)
            return fresh
        if found.holder != holder and found.until > now:
            raise LeaseHeld(
                "Another process moves facts into the ledger's tree at the moment. They will be "
                f"there soon; its lease runs out in {found.until - now:.1f} s at the latest."
            )
        goes_on = found.holder == holder and found.until > now
        fence = found.fence if goes_on else found.fence + 1
        taken = Lease(name, holder, now + seconds, fence)
        _store(transaction, taken)
        return taken


def renew(
    database: Database, lease: Lease, seconds: float, *, clock: Clock = shared_clock
) -> Lease:
    """Extend a lease to ``seconds`` from now; one that ran out and nobody took is extended too.

    Raises:
        LeaseHeld: Another took it meanwhile.
    """
    with database.transaction() as transaction:
        check(transaction, lease)
        extended = replace(lease, until=clock(transaction) + seconds)
        _store(transaction, extended)
        return extended


def release(database: Database, lease: Lease) -> None:
    """Let others take the lease at once; nothing happens where they have taken it already."""
    with database.transaction() as transaction:
        found = _locked(transaction, lease.name)
        if found is not None and found.fence == lease.fence:
            _store(transaction, replace(lease, until=0.0))


def check(transaction: sa.Connection, lease: Lease) -> None:
    """See that nobody took the lease meanwhile, and that nobody can before the transaction ends.

    Raises:
        LeaseHeld: Another took it.
    """
    found = _locked(transaction, lease.name)
    if found is None or found.fence != lease.fence:
        raise LeaseHeld(
            "The lease to write the ledger ran out, and another process took it. Nothing was "
            "written; what waits for the tree is taken in by that process."
        )


def _locked(transaction: sa.Connection, name: str) -> Lease | None:
    row = transaction.execute(_LOCKED, {"wanted": name}).one_or_none()
    return None if row is None else Lease(row.name, row.holder, row.until, row.fence)


def _insert(transaction: sa.Connection, lease: Lease) -> None:
    try:
        transaction.execute(LEASES.insert().values(asdict(lease)))
    except sa.exc.IntegrityError:
        raise LeaseHeld("Another process took the ledger's lease just now. Try again.") from None


def _store(transaction: sa.Connection, lease: Lease) -> None:
    values = {"holder": lease.holder, "until": lease.until, "fence": lease.fence}
    transaction.execute(LEASES.update().where(LEASES.c.name == lease.name).values(values))
