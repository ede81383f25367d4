"""Forget by rebuilding, incrementally, what the forgotten samples shaped.

The names of a plan without the samples differ from the first slice that held one of them.
What still has its name is kept; what lost it is cut off and built again. The result is the
build that never saw the samples: same names, same bytes, in the same runtime. Costs the
slices behind the first touched one, in each touched shard; any number of requests for a
shard cost one rebuild. With one shard and one slice it is plain retraining.

References:
    Bourtoule et al., "Machine Unlearning", IEEE S&P 2021, arXiv:1912.03817, section IV.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from expunge.core.errors import PlanStale, WorkerFailed
from expunge.core.types import Guarantee
from expunge.execution.local import Executor
from expunge.execution.progress import Progress, Work
from expunge.storage import facts
from expunge.storage.facts import Fact
from expunge.storage.locks import alone
from expunge.training import plan as plans
from expunge.training import sql, versions
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
            ground = site.ground(transaction, model.dataset)
            version = sql.current(transaction, model.id)
        folders = {key: batch.folder for key, batch in ground.batches.items()}
        return [
            Unit(
                model.folder,
                folders,
                ground.dataset.schema,
                model.recipe,
                plans.make(model.recipe, ground, shard),
            )
            for shard in versions.unfinished(model, version, ground)
        ]

    def run(self, site: Site, model: Model, executor: Executor, progress: Progress) -> bool:
        """Build all that is missing and publish it. Returns whether anything was.

        Requests that come in meanwhile are built too, before this returns. May be killed at
        any line; running it again goes on. Other processes that build this model wait.

        Raises:
            WorkerFailed: A unit ended without the checkpoints that its plan names.
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

    def _publish(
        self, site: Site, model: Model, units: Sequence[Unit], results: Mapping[int, dict[str, Any]]
    ) -> Version:
        with site.database.transaction() as transaction:
            ground = site.locked_ground(transaction, model.dataset)
            for index, result in sorted(results.items()):
                shard = units[index].plan.shard
                body = {"model": model.folder.name, "shard": shard, **result}
                facts.record(transaction, Fact("unit.rebuilt", body))
            shards = [unit.plan.shard for unit in units]
            built = [result["pack"] for result in results.values()]
            return versions.publish(transaction, model, ground, shards, built)


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
