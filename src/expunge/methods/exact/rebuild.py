"""Forget by rebuilding, incrementally, what the forgotten samples shaped.

(Where a model's learner has a method of its own, its units forget by that: the way is the same.)

The names of a plan without the samples differ from the first slice that held one of them.
What still has its name is kept; what lost it is cut off and built again. The result is the
build that never saw the samples: same names, same bytes, in the same runtime. Costs the
slices behind the first touched one, in each touched shard; any number of requests for a
shard cost one rebuild. With one shard and one slice it is plain retraining.

References:
    Bourtoule et al., "Machine Unlearning", IEEE S&P 2021, arXiv:1912.03817, section IV.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import sqlalchemy as sa

from expunge.core.errors import GateClosed, PlanStale, WorkerFailed
from expunge.core.types import Guarantee
from expunge.data.datasets import Ground
from expunge.execution.local import Executor
from expunge.execution.progress import Progress, Work
from expunge.requests import claims, gates
from expunge.requests.claims import Claim
from expunge.requests.units import finish_whole
from expunge.storage import facts
from expunge.storage.facts import Fact
from expunge.storage.locks import alone
from expunge.training import plan as plans
from expunge.training import sql, versions
from expunge.training.lineage import Link
from expunge.training.site import Site
from expunge.training.sql import Model, Version
from expunge.training.unit import Unit

_RUN = "expunge.training.unit:run"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Forget by rebuilding. For every model that is trained through Expunge."""

    guarantee: ClassVar[Guarantee] = Guarantee.EXACT

    def plan(self, site: Site, model: Model) -> list[Unit]:
        """What is missing: one unit for each constituent that is not all its plan says."""
        with site.database.reading() as transaction:
            ground = site.ground_of(transaction, model)
            version = sql.current(transaction, model.id)
        return [_unit(model, ground, s) for s in versions.unfinished(model, version, ground)]

    def run(self, site: Site, model: Model, executor: Executor, progress: Progress) -> bool:
        """Build all that is missing and publish it. Returns whether anything was.

        Requests that come in meanwhile are built too, before this returns. May be killed at
        any line; running it again goes on. Other processes that build this model wait.

        Raises:
            WorkerFailed: A unit ended without the checkpoints that its plan names.
            GateClosed: With what was built, the model would answer below its floor.
        """
        before: Sequence[Unit] = ()
        with alone(model.folder / "build.lock"):
            while units := self.plan(site, model):
                if [u.plan.names for u in units] == [u.plan.names for u in before]:
                    raise WorkerFailed("a unit ended without the checkpoints of its plan")
                results = _execute(units, executor, progress, f"building {model.name}")
                if self._publish(site, model, units, results).whole:
                    _sweep_other_runtimes(site, model, units)
                    return True
                before = units if len(results) == len(units) else ()
        return bool(before)

    def build(
        self,
        site: Site,
        model: Model,
        shard: int,
        executor: Executor,
        progress: Progress,
        claim: Claim | None = None,
    ) -> Version:
        """Build what is missing of one shard and publish it, for whoever has claimed its unit.

        Requests that come in meanwhile are left to the units that they opened: the claimed one
        is done when all is built that was planned after its claim. May be killed at any line;
        building it again goes on. Several may build at once, also of one model.

        Args:
            site: Of the model.
            model: To build.
            shard: Of the model.
            executor: Where it is built.
            progress: Shows it.
            claim: On the unit; it is checked in the very transaction that publishes.

        Raises:
            ClaimLost: Another has the unit by now; nothing was published.
            PlanStale: Rows are not what the dataset says, and nobody erased them.
            WorkerFailed: The checkpoints were not there any more when it had ended.
        """
        before: Unit | None = None
        while True:
            with site.database.reading() as transaction:
                unit = _unit(model, site.ground_of(transaction, model), shard)
            if before is not None and unit.plan.names == before.plan.names:
                raise PlanStale
            results = _execute([unit], executor, progress, f"rebuilding {model.name}")
            if results:
                break
            before = unit
        version = self._publish_one(site, model, unit, results[0], claim)
        if version.constituents[shard].whole and versions.has_leftovers(model, shard):
            with alone(model.folder / "build.lock"):
                versions.sweep(site, model, shard)
        return version

    def _publish(
        self, site: Site, model: Model, units: Sequence[Unit], results: Mapping[int, dict[str, Any]]
    ) -> Version:
        planned = [units[index].plan for index in sorted(results)]
        try:
            gates.admit(site, model, planned, [result["pack"] for result in results.values()])
        except GateClosed as closed:
            gates.set_aside(site, model, planned, closed.score)
            raise
        with site.database.transaction() as transaction:
            ground = site.locked_ground_of(transaction, model)
            for index, result in sorted(results.items()):
                _record(transaction, model, units[index], result)
            shards = [unit.plan.shard for unit in units]
            built = [result["pack"] for result in results.values()]
            version = versions.publish(transaction, model, ground, shards, built)
            finish_whole(transaction, model, version)
            return version

    def _publish_one(
        self, site: Site, model: Model, unit: Unit, result: dict[str, Any], claim: Claim | None
    ) -> Version:
        gates.admit(site, model, [unit.plan], [result["pack"]])
        with site.database.transaction() as transaction:
            ground = site.locked_ground_of(transaction, model)
            if claim is not None:
                claims.check(transaction, claim)
            _record(transaction, model, unit, result)
            shards = _planned_anew(transaction, model, unit, ground)
            version = versions.publish(transaction, model, ground, shards, [result["pack"]])
            _see_that_it_stands(model, unit, ground, version)
            if claim is not None:
                claims.finish(transaction, claim, result)
            finish_whole(transaction, model, version)
            return version


def _unit(model: Model, ground: Ground, shard: int) -> Unit:
    folders = {key: batch.folder for key, batch in ground.batches.items()}
    plan = plans.make(model.recipe, ground, shard)
    return Unit(model.folder, folders, ground.dataset.schema, model.recipe, plan)


def _record(
    transaction: sa.Connection, model: Model, unit: Unit, result: Mapping[str, Any]
) -> None:
    of = {"model": model.folder.name, "shard": unit.plan.shard}
    body = of | {field: value for field, value in result.items() if field != "forgot"}
    recorded = [Fact("unit.rebuilt", body)]
    if links := [Link.from_json(one) for one in result["forgot"]]:
        known = {one.body["name"] for one in facts.read(transaction, kinds=["unit.forgot"])}
        fresh = [link for link in links if link.name.hex() not in known]
        recorded += [
            Fact("unit.forgot", {**of, "name": link.name.hex(), **link.to_json()}) for link in fresh
        ]
    facts.record_all(transaction, recorded)


def _planned_anew(
    transaction: sa.Connection, model: Model, unit: Unit, ground: Ground
) -> Collection[int]:
    """The shard that was built; all, where rows were added that no version was planned with."""
    version = sql.current(transaction, model.id)
    added = version is None or version.batches != len(ground.batches)
    return versions.all_shards(model) if added else [unit.plan.shard]


def _see_that_it_stands(model: Model, unit: Unit, ground: Ground, version: Version) -> None:
    shard = unit.plan.shard
    if version.constituents[shard].whole:
        return
    if plans.make(model.recipe, ground, shard).names == unit.plan.names:
        # An older plan of a worker that lost its claim cut the pack: this one is built again.
        raise WorkerFailed("a unit ended without the checkpoints of its plan")


def _sweep_other_runtimes(site: Site, model: Model, units: Sequence[Unit]) -> None:
    """A build that was begun in another runtime is of no use when this one is whole."""
    for unit in units:
        if versions.has_leftovers(model, unit.plan.shard):
            versions.sweep(site, model, unit.plan.shard)


def _execute(
    units: Sequence[Unit], executor: Executor, progress: Progress, what: str
) -> dict[int, dict[str, Any]]:
    """Run units; results by index, without those whose plan went stale meanwhile."""
    track = progress.begin(what, [Work(unit.plan.shard, len(unit.plan.slices)) for unit in units])

    def report(index: int, body: dict[str, Any]) -> None:
        track.advance(index, body["slices"], body["samples"])

    results: dict[int, dict[str, Any]] = {}
    try:
        for index, result in executor.run(_RUN, [unit.to_json() for unit in units], report):
            results[index] = result  # noqa: PERF403 - what came before an error is kept
    except PlanStale:
        # A row was erased under us; what was built is published, and the rest planned anew.
        pass
    finally:
        track.end()
    return results
