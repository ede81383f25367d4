"""Units: which constituents are to be rebuilt, and which requests wait for that.

A unit is a wish, not a task: "this shard of this model is to be what its plan says". So any
number of requests for one shard share the open one, and a unit is done as soon as its
constituent is whole, whoever built it. A request that comes while a unit runs opens another
beside it; the two are done together, or become one where the running one fails.

Whatever makes or ends units holds the lock on the dataset's row, and takes it first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from expunge.core.errors import UnknownName
from expunge.data import sql as data_sql
from expunge.data.datasets import Ground
from expunge.ledger.lease import shared_clock
from expunge.requests.unit_tables import LINKS, OUTBOX, STATE, UNFINISHED, UNITS, WAITING
from expunge.requests.unit_tables import State as State
from expunge.storage import bulk
from expunge.storage.database import METADATA, now
from expunge.training import sql as training_sql
from expunge.training import versions
from expunge.training.sql import Model, Version

_MODELS: Final = METADATA.tables["model"]
_DATASET: Final = (
    sa.select(_MODELS.c.dataset)
    .join(UNITS, UNITS.c.model == _MODELS.c.id)
    .where(UNITS.c.id == sa.bindparam("unit"))
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit's row. Times are UTC, RFC 3339, but for ``until`` and ``not_before``: seconds.

    Attributes:
        claimed_to: Number of the dataset's last tombstone when it was claimed.
        fence: How often it was claimed; never goes down.
        attempt: How often since it was wanted, or revived.
        seconds: That its last rebuild took; None where another made it whole.
        samples: Visited by that.
        error: Code or class name of what failed last; no text.
    """

    id: int
    model: int
    shard: int
    state: State
    wanted_at: str
    claimed_to: int | None
    holder: str | None
    until: float
    fence: int
    attempt: int
    not_before: float
    started: str | None
    finished: str | None
    seconds: float | None
    samples: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many units are in each state, and since when the oldest unfinished one is wanted."""

    open: int
    running: int
    aside: int
    done: int
    oldest: str | None


def want(
    transaction: sa.Connection,
    model: Model,
    shards: Collection[int],
    requests: Sequence[str],
    not_before: float = 0.0,
) -> list[int]:
    """Have shards rebuilt, each for all of ``requests``. As :func:`want_each`."""
    if not requests:
        return sorted(_open(transaction, model, shards, not_before).values())
    return want_each(transaction, model, dict.fromkeys(requests, shards), not_before)


def want_each(
    transaction: sa.Connection,
    model: Model,
    wanted: Mapping[str, Collection[int]],
    not_before: float = 0.0,
) -> list[int]:
    """Have the shards of a model rebuilt that each request touches. The dataset is locked.

    Joins open units, revives those set aside with fresh attempts, and opens the others, with
    their rows of the outbox. A unit that runs already is not joined: what it builds may have
    been planned before. A model that has no version yet wants nothing: its first training
    publishes without the samples. Costs up to six statements, whatever the numbers.

    Args:
        transaction: In which the requests' tombstones are inserted.
        model: Whose shards they are.
        wanted: Shards by request.
        not_before: When to begin at the earliest, in seconds of the shared clock. A unit that
            would begin later begins then; one that failed keeps its own time.

    Returns:
        Ids of the units.
    """
    shards = {shard for touched in wanted.values() for shard in touched}
    units = _open(transaction, model, shards, not_before)
    links = [
        {"request": request, "unit": units[shard]}
        for request, touched in wanted.items()
        for shard in touched
        if units
    ]
    bulk.insert_new(transaction, LINKS, links)
    return sorted(units.values())


def _open(
    transaction: sa.Connection, model: Model, shards: Collection[int], not_before: float
) -> dict[int, int]:
    """Ids of open units by shard."""
    if not shards or not training_sql.current_number(transaction, model.id):
        return {}
    t = UNITS.c
    of_these = UNITS.select().where(t.model == model.id, t.shard.in_(sorted(shards)), WAITING)
    waiting = transaction.execute(of_these).all()
    revived = [row.id for row in waiting if row.state == State.ASIDE]
    _revive(transaction, revived, not_before)
    later = [r.id for r in waiting if r.attempt == 0 and r.not_before > not_before]
    _set(transaction, later, {"not_before": not_before})
    units = {row.shard: row.id for row in waiting}
    fresh = _insert(transaction, model, sorted(set(shards) - units.keys()), not_before)
    tell(transaction, [*revived, *fresh.values()])
    return units | fresh


def _insert(
    transaction: sa.Connection, model: Model, shards: Sequence[int], not_before: float
) -> dict[int, int]:
    if not shards:
        return {}
    plain = {"model": model.id, "state": State.OPEN, "wanted_at": now(), "not_before": not_before}
    new = UNITS.insert().returning(UNITS.c.id, UNITS.c.shard)
    rows = transaction.execute(new, [{"shard": shard} | plain for shard in shards])
    return {row.shard: row.id for row in rows}


def _revive(transaction: sa.Connection, units: Collection[int], not_before: float) -> None:
    values = {"state": State.OPEN, "attempt": 0, "not_before": not_before}
    _set(transaction, units, values)


def _set(transaction: sa.Connection, units: Collection[int], values: Mapping[str, Any]) -> None:
    if units:
        transaction.execute(UNITS.update().where(UNITS.c.id.in_(units)).values(values))


def tell(transaction: sa.Connection, units: Iterable[int]) -> None:
    """Have the broker told of units."""
    bulk.insert_new(transaction, OUTBOX, [{"unit": unit} for unit in units])


def begins(transaction: sa.Connection, coalesce_s: float) -> float:
    """When a unit that is wanted now may begin, in seconds of the shared clock; 0: at once."""
    return shared_clock(transaction) + coalesce_s if coalesce_s else 0.0


def ensure(
    transaction: sa.Connection, model: Model, version: Version | None, ground: Ground
) -> list[int]:
    """Have all of a model rebuilt that is not whole, without a request.

    For rows that were added, and checkpoints that were damaged. The dataset is locked. Where
    rows were added, publishes the version that was planned with them first.

    Returns:
        Ids of the units that were opened.
    """
    if version is None:
        return []
    if version.batches != len(ground.batches):
        every = versions.all_shards(model)
        version = versions.publish(transaction, model, ground, every)
        finish_whole(transaction, model, version)
    behind = versions.unfinished(model, version, ground)
    under_way = transaction.scalars(
        sa.select(UNITS.c.shard).where(UNITS.c.model == model.id, UNFINISHED)
    )
    return want(transaction, model, set(behind) - set(under_way), ())


def finish_whole(transaction: sa.Connection, model: Model, version: Version) -> None:
    """Note that every unit is done whose constituent is whole, whoever built it.

    Args:
        transaction: The dataset is locked in it.
        model: Whose units they are.
        version: That was published just now.
    """
    if version.batches != len(data_sql.batch_folders(transaction, model.dataset)):
        return  # what is whole is so without the rows that were added since
    whole = {c.shard for c in version.constituents if c.whole}
    query = sa.select(UNITS.c.id, UNITS.c.shard).where(UNITS.c.model == model.id, UNFINISHED)
    waiting = transaction.execute(query).all()
    _end(transaction, [row.id for row in waiting if row.shard in whole])


def end(transaction: sa.Connection, model: Model) -> None:
    """Note that nothing of a model is to be rebuilt any more; the dataset is locked."""
    query = sa.select(UNITS.c.id).where(UNITS.c.model == model.id, UNFINISHED)
    _end(transaction, list(transaction.scalars(query)))


def _end(transaction: sa.Connection, units: Collection[int]) -> None:
    _set(transaction, units, {"state": State.DONE, "finished": now(), "until": 0.0})


def retry(transaction: sa.Connection, unit: int) -> bool:
    """Revive a unit that was set aside, with fresh attempts. Returns whether it was aside.

    Raises:
        UnknownName: There is no such unit.
    """
    lock(transaction, unit)
    aside = transaction.scalar(
        sa.select(UNITS.c.id).where(UNITS.c.id == unit, STATE == State.ASIDE)
    )
    if aside is not None:
        _revive(transaction, [unit], 0.0)
        tell(transaction, [unit])
    return aside is not None


def lock(transaction: sa.Connection, unit: int) -> int:
    """Lock the dataset that a unit's model learns from. Returns the dataset.

    Raises:
        UnknownName: There is no such unit.
    """
    dataset: int | None = transaction.scalar(_DATASET, {"unit": unit})
    if dataset is None:
        raise UnknownName("unit", str(unit), [])
    data_sql.lock(transaction, dataset)
    return dataset


def of_request(transaction: sa.Connection, request: str) -> list[Unit]:
    """Units that a request waits for, or waited for; oldest first."""
    query = UNITS.select().join(LINKS, UNITS.c.id == LINKS.c.unit)
    query = query.where(LINKS.c.request == request).order_by(UNITS.c.id)
    return [_unit(row) for row in transaction.execute(query)]


def running(transaction: sa.Connection, model: Model) -> set[int]:
    """Shards of a model that somebody has claimed, also where the lease has run out."""
    query = sa.select(UNITS.c.shard).where(UNITS.c.model == model.id, STATE == State.RUNNING)
    return set(transaction.scalars(query))


def all_unfinished(transaction: sa.Connection) -> list[Unit]:
    """All units that are not done; oldest first."""
    query = UNITS.select().where(UNFINISHED).order_by(UNITS.c.id)
    return [_unit(row) for row in transaction.execute(query)]


def counts(transaction: sa.Connection) -> Counts:
    """How many units there are."""
    by_state = sa.select(STATE, sa.func.count()).group_by(STATE)
    found = {row[0]: int(row[1]) for row in transaction.execute(by_state)}
    oldest = transaction.scalar(sa.select(sa.func.min(UNITS.c.wanted_at)).where(UNFINISHED))
    return Counts(**{state: found.get(state, 0) for state in State}, oldest=oldest)


def _unit(row: sa.Row[Any]) -> Unit:
    return Unit(**row._asdict() | {"state": State(row.state)})
