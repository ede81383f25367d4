"""What a request would cost and when it would be done, told before it is made.

Nothing is recorded, locked or changed. What is counted (rows, shards, slices, samples) is
what a request that were made now would touch, exactly; what is told of time is an estimate from
measured rebuilds, and is left out where there are none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from expunge import learners
from expunge.core.errors import NothingToForget, SamplesUnknown
from expunge.data.datasets import Ground
from expunge.data.places import EVERYTHING, Places
from expunge.ledger.lease import shared_clock
from expunge.requests import effect, finding, moments, paces, retraining, terms, units
from expunge.requests.finding import Found, Ledge, Wanted
from expunge.requests.forget import EXACT
from expunge.requests.paces import Pace
from expunge.requests.retraining import Work
from expunge.requests.terms import Terms
from expunge.requests.units import Unit
from expunge.training import sql as training_sql
from expunge.training.site import Site
from expunge.training.sql import Model


@dataclass(frozen=True, slots=True)
class Touched:
    """What a request would do to one model.

    Attributes:
        shards: That are to be rebuilt.
        slices: Checkpoints of them that are to be trained again, in all.
        samples: Visited by that, where each pass over the slices so far counts as one.
        seconds: That it takes, one shard after the other; None where nothing was measured.
        longest_s: That the longest of these shards takes.
        joins: Units that wait already, which the request would share.
        starts_at: When the last of its units may begin; None: at once.
        withdrawn: Whether the model could not answer until a shard is rebuilt.
    """

    model: str
    shards: tuple[int, ...]
    slices: int
    samples: int
    seconds: float | None
    longest_s: float | None
    joins: tuple[int, ...]
    starts_at: datetime | None
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a request would cost, and when it would be done.

    Attributes:
        samples: How many rows it would forget.
        already: How many of the rows that it names are forgotten already.
        models: Those that saw them.
        seconds: Of rebuilding, in all; None where a model's rebuilds were not measured.
        ahead: Units of others that wait or run.
        ahead_s: Seconds that these take; None where that was not measured.
        effective_at: When it would take effect.
        batch_starts_at: When the units that it joins begin, where that is later.
        rebuilt_at: When its models would be whole; None where no pace was measured.
        done_at: The same, once rows may be destroyed as well; holds apart.
        deadline: Of its regime.
        confirm_by: Of its regime.
    """

    samples: int
    already: int
    models: tuple[Touched, ...]
    seconds: float | None
    ahead: int
    ahead_s: float | None
    effective_at: datetime
    batch_starts_at: datetime | None
    rebuilt_at: datetime | None
    done_at: datetime | None
    deadline: datetime | None
    confirm_by: datetime | None

    @property
    def joins(self) -> tuple[int, ...]:
        """Units that wait already, which the request would share."""
        return tuple(unit for touched in self.models for unit in touched.joins)

    @property
    def is_late(self) -> bool:
        """Whether it would be done behind its deadline, as far as that is known."""
        return bool(self.deadline and self.done_at and self.done_at > self.deadline)


@dataclass(frozen=True, slots=True)
class Server:
    """What stands ready to rebuild.

    Attributes:
        workers: Units that are built at the same time.
        not_before: When a unit that is wanted now may begin, in seconds of the shared clock.
    """

    workers: int = 1
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class _Scene:
    """What all models' forecasts are made from.

    Attributes:
        grounds: Of the dataset, as it is and as it would be.
    """

    transaction: sa.Connection
    grounds: tuple[Ground, Ground]
    found: Found
    waiting: Sequence[Unit]
    paces: Mapping[str, Pace]
    server: Server
    now: float


def forecast(
    site: Site,
    dataset: str,
    wanted: Wanted,
    asked: Terms | None = None,
    server: Server | None = None,
    possible: Collection[str] = EXACT,
) -> Forecast:
    """What a request would cost that were made now. Costs finding its rows, a few milliseconds.

    Args:
        site: What the home stands on.
        dataset: Its name.
        wanted: What would be named.
        asked: On what terms.
        server: What stands ready to rebuild.
        possible: Names of the methods that rebuild.

    Raises:
        NothingToForget: It names nothing.
        SamplesUnknown: It names what the dataset never held.
        MethodUnavailable: A model cannot forget by the method that is asked for.
        UnknownName: It names a model or a regime that there is not.
    """
    asked, server = asked or Terms(), server or Server()
    if not wanted.identifiers:
        raise NothingToForget
    with site.database.reading() as transaction:
        row = site.dataset(transaction, dataset)
        ground = site.ground(transaction, row.id)
        models = site.models_of(transaction, row.id)
        scopes = terms.scopes(asked, models)
        terms.check_method(asked, models, possible)
        found = _find(transaction, ground, wanted, scopes)
        after = effect.without(ground, [found])
        waiting, rates = units.all_unfinished(transaction), paces.measured(transaction)
        clock = shared_clock(transaction)
        scene = _Scene(transaction, (ground, after), found, waiting, rates, server, clock)
        touched = [_touched(scene, one) for one in models if terms.covers(scopes, one)]
        names = {one.id: one.folder.name for one in site.all_models(transaction)}
    return _put_together(scene, asked, names, [one for one in touched if one and one.shards])


def _find(
    transaction: sa.Connection, ground: Ground, wanted: Wanted, scopes: Sequence[str]
) -> Found:
    (named,) = finding.name(ground, [wanted])
    if isinstance(named, SamplesUnknown):
        raise named
    return Ledge(ground, transaction).look(named, scopes)


def _touched(scene: _Scene, model: Model) -> Touched | None:
    """What happens to a model; None where it has no version yet, and will be made without."""
    version = training_sql.current(scene.transaction, model.id)
    if version is None:
        return None
    own, after = (ground.under(model.scopes) for ground in scene.grounds)
    buried = [scene.found.buried.get(scope) for scope in (EVERYTHING, *model.scopes)]
    gone = own.remaining(Places.joined([places for places in buried if places is not None]))
    named = Places.joined([scene.found.places, scene.found.shared])
    work = retraining.work_of(model, version, after, gone, named)
    each = [_seconds(scene.paces, model, one) for one in work.values()]
    shared = [u for u in scene.waiting if u.model == model.id and u.shard in work and _waits(u)]
    return Touched(
        model=model.name,
        shards=tuple(work),
        slices=sum(one.slices for one in work.values()),
        samples=sum(one.samples for one in work.values()),
        seconds=_summed(each),
        longest_s=None if None in each else max((one or 0.0 for one in each), default=0.0),
        joins=tuple(unit.id for unit in shared),
        starts_at=_starts_at(scene, shared, fresh=len(work) > len(shared)),
        withdrawn=retraining.is_withdrawn(version, work),
    )


def _seconds(rates: Mapping[str, Pace], model: Model, work: Work) -> float | None:
    folder = model.folder.name
    if not learners.subtracts(model.recipe.learner):
        return paces.of(rates, folder, work.samples)
    # Solving takes the time, not the rows that go.
    return rates[folder].unit_s if folder in rates else None


def _waits(unit: Unit) -> bool:
    """Whether a request joins a unit; one that runs may have been planned before."""
    return unit.state is not units.State.RUNNING


def _starts_at(scene: _Scene, joined: Sequence[Unit], *, fresh: bool) -> datetime | None:
    """When the last of these units may begin, and those that are new; None: at once."""
    own = scene.server.not_before
    # A request has what waits begin no later than itself would; what failed keeps its own time.
    starts = [unit.not_before if unit.attempt else min(unit.not_before, own) for unit in joined]
    last = max([*starts, own] if fresh else starts, default=0.0)
    return datetime.fromtimestamp(last, UTC) if last > scene.now else None


def _put_together(
    scene: _Scene, asked: Terms, names: Mapping[int, str], touched: Collection[Touched]
) -> Forecast:
    now = datetime.fromtimestamp(scene.now, UTC)
    due = moments.of(asked, now)
    joined = {unit for one in touched for unit in one.joins}
    others = [u for u in scene.waiting if u.state is not units.State.ASIDE and u.id not in joined]
    ahead_s = _summed([_unit_s(scene.paces, names, unit) for unit in others])
    seconds = _summed([one.seconds for one in touched])
    effective = due.effective or now
    batch = max((one.starts_at for one in touched if one.starts_at), default=None)
    rebuilt = None
    if seconds is not None and ahead_s is not None:
        longest = max((one.longest_s or 0.0 for one in touched), default=0.0)
        building = max(longest, (seconds + ahead_s) / scene.server.workers) if touched else 0.0
        rebuilt = max(effective, batch or now) + timedelta(seconds=building)
    return Forecast(
        samples=len(scene.found.places),
        already=scene.found.already,
        models=tuple(touched),
        seconds=seconds,
        ahead=len(others),
        ahead_s=ahead_s,
        effective_at=effective,
        batch_starts_at=batch,
        rebuilt_at=rebuilt,
        done_at=rebuilt and max(rebuilt, effective + timedelta(seconds=asked.undo_s)),
        deadline=due.deadline,
        confirm_by=due.confirm_by,
    )


def _unit_s(rates: Mapping[str, Pace], names: Mapping[int, str], unit: Unit) -> float | None:
    pace = rates.get(names[unit.model])
    return pace.unit_s if pace else None


def _summed(seconds: Collection[float | None]) -> float | None:
    """Their sum; None where one is not known."""
    known = [one for one in seconds if one is not None]
    return sum(known) if len(known) == len(seconds) else None
