"""Claims: one worker at a time has a unit, until it is done or its time runs out.

A claim is a lease with a fence, as in ``ledger.lease``: a worker that was suspended and wakes up
after another took its unit finds its fence too low, in the very transaction in which it would
have published. A unit that runs bars the one that waits beside it, even after its lease ran
out; then it can be claimed itself, and what it builds then is for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from secrets import SystemRandom
from typing import Any, Final

import sqlalchemy as sa

from expunge.core.errors import ClaimLost
from expunge.data import sql as data_sql
from expunge.ledger.lease import Clock, shared_clock
from expunge.requests import units
from expunge.requests.unit_tables import LINKS, OUTBOX, RUNNING, UNFINISHED, UNITS, WAITING, State
from expunge.storage import bulk
from expunge.storage.database import METADATA, Database, now

_ERROR: Final = 100
_RANDOM: Final = SystemRandom()
_DATASETS: Final = METADATA.tables["dataset"]
_TOMBSTONES: Final = sa.select(_DATASETS.c.tombstones).where(
    _DATASETS.c.id == sa.bindparam("dataset")
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A unit that was claimed.

    Attributes:
        holder: Who claimed it; unique to a worker.
        until: When its lease runs out, in seconds of the clock that it was claimed by.
        fence: Higher than that of every claim before.
        attempt: How often the unit was claimed since it was wanted or revived; this one counts.
        claimed_to: Number of the last tombstone at that time. What is planned later covers it.
    """

    unit: int
    model: int
    shard: int
    dataset: int
    holder: str
    until: float
    fence: int
    attempt: int
    claimed_to: int


@dataclass(frozen=True, slots=True)
class Retry:
    """What to do with a unit that failed.

    Attributes:
        attempts: After so many it is set aside.
        backoff_s: Longest wait after the first failure; it doubles with each.
        backoff_max_s: Longest wait of all.
    """

    attempts: int = 8
    backoff_s: float = 1.0
    backoff_max_s: float = 300.0

    def wait_s(self, attempt: int) -> float:
        """A random time to wait after failure ``attempt``, from none to the longest."""
        # Full jitter: what failed together, for one cause, does not come back together.
        doubled = self.backoff_s * 2.0 ** min(attempt - 1, 60)
        return _RANDOM.uniform(0.0, min(self.backoff_max_s, doubled))


def claim(
    database: Database,
    holder: str,
    lease_s: float,
    unit: int | None = None,
    *,
    clock: Clock = shared_clock,
) -> Claim | None:
    """Claim the oldest unit that can be claimed, or ``unit`` and no other.

    Returns None where there is none, or ``unit`` is taken, done, or not due yet. Waits for
    whoever has the dataset locked.
    """
    while True:
        with database.reading() as transaction:
            found = _oldest(transaction, clock(transaction), unit)
        if found is None:
            return None
        with database.transaction() as transaction:
            # Who accepts a request has this lock: what it joins cannot be claimed before it
            # has its tombstones, and what is claimed cannot be joined.
            dataset = units.lock(transaction, found)
            moment = clock(transaction)
            lease = (moment, moment + lease_s)
            taken = _take(transaction, found, dataset, holder, lease)
        if taken is not None:
            return taken


def _oldest(transaction: sa.Connection, moment: float, unit: int | None) -> int | None:
    query = sa.select(UNITS.c.id).where(_claimable(moment)).order_by(UNITS.c.id).limit(1)
    if unit is not None:
        query = query.where(UNITS.c.id == unit)
    return transaction.scalar(query)


def _claimable(moment: float) -> sa.ColumnElement[bool]:
    t, beside = UNITS.c, UNITS.alias()
    runs = sa.select(beside.c.id).where(
        beside.c.model == t.model, beside.c.shard == t.shard, beside.c.state == State.RUNNING
    )
    is_open = sa.and_(t.state == State.OPEN, t.not_before <= moment, ~runs.exists())
    ran_out = sa.and_(t.state == State.RUNNING, t.until <= moment)
    return sa.and_(UNFINISHED, sa.or_(is_open, ran_out))


def _take(
    transaction: sa.Connection, unit: int, dataset: int, holder: str, lease: tuple[float, float]
) -> Claim | None:
    t, (moment, until) = UNITS.c, lease
    claimed_to: int = transaction.execute(_TOMBSTONES, {"dataset": dataset}).scalar_one()
    taking = (
        UNITS.update()
        .where(t.id == unit, _claimable(moment))
        .values(
            state=State.RUNNING,
            holder=holder,
            until=until,
            fence=t.fence + 1,
            attempt=t.attempt + 1,
            claimed_to=claimed_to,
            started=now(),
        )
        .returning(t.id, t.model, t.shard, t.fence, t.attempt)
    )
    row = transaction.execute(taking).one_or_none()
    if row is None:
        return None
    place = (row.id, row.model, row.shard, dataset)
    claim = Claim(*place, holder, until, row.fence, row.attempt, claimed_to)
    _absorb(transaction, claim)  # where its lease had run out: what is built now is for both
    return claim


def beat(database: Database, claim: Claim, lease_s: float, *, clock: Clock = shared_clock) -> Claim:
    """Extend a claim to ``lease_s`` from now; also one that ran out and that nobody took.

    Raises:
        ClaimLost: Another took the unit, or it was done by another.
    """
    with database.transaction() as transaction:
        until = clock(transaction) + lease_s
        extended = transaction.execute(_ours(claim).values(until=until))
    if extended.rowcount == 0:
        raise ClaimLost
    return replace(claim, until=until)


def _ours(claim: Claim) -> sa.Update:
    t = UNITS.c
    return UNITS.update().where(t.id == claim.unit, t.fence == claim.fence, RUNNING)


def check(transaction: sa.Connection, claim: Claim) -> None:
    """See that nobody took the unit meanwhile, and nobody can before ``transaction`` ends.

    The dataset is locked.

    Raises:
        ClaimLost: Another took the unit, or it was done by another.
    """
    if not _is_ours(transaction, claim):
        raise ClaimLost


def _is_ours(transaction: sa.Connection, claim: Claim) -> bool:
    t = UNITS.c
    ours = sa.select(t.id).where(t.id == claim.unit, t.fence == claim.fence, RUNNING)
    return transaction.scalar(ours) is not None


def finish(transaction: sa.Connection, claim: Claim, result: Mapping[str, Any]) -> None:
    """Note that a unit is done; the dataset is locked.

    Args:
        transaction: In which the version is published.
        claim: Of the unit.
        result: ``seconds`` and ``samples`` of the rebuild.

    Raises:
        ClaimLost: Another took the unit, or it was done by another.
    """
    values = {"seconds": result["seconds"], "samples": result["samples"]}
    done = _ours(claim).values(state=State.DONE, finished=now(), until=0.0, error=None, **values)
    if transaction.execute(done).rowcount == 0:
        raise ClaimLost


def release(database: Database, claim: Claim) -> None:
    """Give a unit back: others may claim it at once, and the attempt does not count.

    Nothing happens where another has taken it already.
    """
    values = {"state": State.OPEN, "attempt": claim.attempt - 1, "not_before": 0.0}
    with database.transaction() as transaction:
        data_sql.lock(transaction, claim.dataset)
        _give_back(transaction, claim, values)


def fail(
    database: Database,
    claim: Claim,
    error: str,
    policy: Retry,
    *,
    clock: Clock = shared_clock,
) -> State | None:
    """Note that a unit failed: it is tried again later, or set aside after too many attempts.

    With a request that came meanwhile, it is never set aside but has fresh attempts: without
    more samples it may work.

    Args:
        database: Where the unit is.
        claim: Of the unit.
        error: Code or class name of what happened; no text of others.
        policy: When, and how often.
        clock: Tells the time.

    Returns:
        Its state now; None where another has taken it already, which changes nothing.
    """
    with database.transaction() as transaction:
        data_sql.lock(transaction, claim.dataset)
        later = clock(transaction) + policy.wait_s(claim.attempt)
        spent = claim.attempt >= policy.attempts
        fresh = spent and _beside(transaction, claim) is not None
        state = State.ASIDE if spent and not fresh else State.OPEN
        attempt = 0 if fresh else claim.attempt
        values = {"state": state, "attempt": attempt, "not_before": later, "error": error[:_ERROR]}
        return state if _give_back(transaction, claim, values) else None


def _give_back(transaction: sa.Connection, claim: Claim, values: Mapping[str, Any]) -> bool:
    """Have a unit wait again; the dataset is locked. Returns whether it was still ours."""
    if not _is_ours(transaction, claim):
        return False
    _absorb(transaction, claim)
    transaction.execute(_ours(claim).values(until=0.0, **values))
    units.tell(transaction, [claim.unit])
    return True


def _beside(transaction: sa.Connection, claim: Claim) -> int | None:
    t = UNITS.c
    waiting = sa.select(t.id).where(t.model == claim.model, t.shard == claim.shard, WAITING)
    return transaction.scalar(waiting)


def _absorb(transaction: sa.Connection, claim: Claim) -> None:
    """Take over who waits for the unit beside, which goes: only one may wait for a shard."""
    other = _beside(transaction, claim)
    if other is None:
        return
    query = sa.select(LINKS.c.request).where(LINKS.c.unit == other)
    links = [{"request": one, "unit": claim.unit} for one in transaction.scalars(query)]
    bulk.insert_new(transaction, LINKS, links)
    for table, column in ((LINKS, LINKS.c.unit), (OUTBOX, OUTBOX.c.unit), (UNITS, UNITS.c.id)):
        transaction.execute(table.delete().where(column == other))
