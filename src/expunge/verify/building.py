"""Build constituents again in an empty folder, and judge rows: what every replay does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from expunge.execution.local import Executor
from expunge.execution.progress import Progress, Work
from expunge.training.basis import Basis
from expunge.training.plan import Plan
from expunge.training.recipe import Recipe
from expunge.training.unit import Unit


def unit(basis: Basis, recipe: Recipe, plan: Plan, folder: Path) -> Unit:
    """What builds one constituent in ``folder``, from the rows alone."""
    ground = basis.ground
    folders = {key: batch.folder for key, batch in ground.batches.items()}
    return Unit(folder, folders, ground.dataset.schema, recipe, plan)


def build(units: Sequence[Unit], executor: Executor, progress: Progress, what: str) -> None:
    """Build all of ``units``."""
    track = progress.begin(what, [Work(u.plan.shard, len(u.plan.slices)) for u in units])
    try:
        for _ in executor.run(
            "expunge.training.unit:run",
            [unit.to_json() for unit in units],
            lambda index, body: track.advance(index, body["slices"], body["samples"]),
        ):
            pass
    finally:
        track.end()


def count_changed_rows(load: Callable[[], Basis]) -> int:
    """Remaining rows that are not what they were when they came.

    Args:
        load: Gives the dataset as it is when it is called.
    """
    while True:
        basis = load()
        found = basis.changed_rows()
        # A row that was forgotten while we read may have been erased before we came to it.
        if not found or load().ground.tombstones == basis.ground.tombstones:
            return found
