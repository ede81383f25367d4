"""Replay: build a model again from the remaining samples alone, and compare bytes.

This is the whole proof of an exact method: the served names are the names of a build from
the remaining samples, and building them again, in an empty folder, gives the same bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from expunge.core.errors import UnknownName
from expunge.execution.local import Executor
from expunge.execution.progress import Progress, Work
from expunge.storage import packs
from expunge.training import plan as plans
from expunge.training import sql, versions
from expunge.training.site import Site
from expunge.training.sql import Constituent, Model
from expunge.training.unit import Unit


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay found.

    Attributes:
        constituents: How many were built again.
        frames: How many checkpoints were compared.
        same_names: Of the constituents, how many serve the checkpoint that the plan of the
            remaining samples names.
        same_bytes: Of these, how many came out byte for byte.
        same_runtime: Of the constituents, how many were built in this very runtime; others
            cannot be compared byte for byte.
    """

    model: str
    version: str
    constituents: int
    frames: int
    same_names: int
    same_bytes: int
    same_runtime: int

    @property
    def exact(self) -> bool:
        """Whether all names and all bytes are the same."""
        return self.constituents == self.same_names == self.same_bytes


def replay(site: Site, model: Model, executor: Executor, progress: Progress) -> Replay:
    """Build all of ``model`` again in an empty folder and compare. Costs a full training."""
    with site.database.reading() as transaction:
        version = sql.current(transaction, model.id)
        ground = site.ground(transaction, model.dataset)
    if version is None:
        raise UnknownName("published version of model", model.name, [])
    folders = {key: batch.folder for key, batch in ground.batches.items()}
    with tempfile.TemporaryDirectory(prefix="expunge-replay-") as empty:
        again = replace(model, folder=Path(empty))
        units = [
            Unit(again.folder, folders, ground.dataset.schema, model.recipe, plan)
            for plan in (
                plans.make(model.recipe, ground, shard) for shard in versions.all_shards(model)
            )
        ]
        _run(units, executor, progress, model.name)
        fresh = [versions.best(again, unit.plan) for unit in units]
        frames = sum(
            _frames_alike(model, again, *pair)
            for pair in zip(version.constituents, fresh, strict=True)
        )
    pairs = list(zip(version.constituents, fresh, strict=True))
    return Replay(
        model=model.name,
        version=version.digest,
        constituents=len(fresh),
        frames=frames,
        same_names=sum(_name(a) == _name(b) for a, b in pairs),
        same_bytes=sum(_checksum(a) == _checksum(b) for a, b in pairs),
        same_runtime=sum(a.pack == b.pack or a.pack is None for a, b in pairs),
    )


def _run(units: Sequence[Unit], executor: Executor, progress: Progress, name: str) -> None:
    track = progress.begin(
        f"replaying {name}", [Work(u.plan.shard, len(u.plan.slices)) for u in units]
    )
    try:
        for _ in executor.run(
            "expunge.training.unit:run",
            [unit.to_json() for unit in units],
            lambda index, body: track.advance(index, body["slices"], body["samples"]),
        ):
            pass
    finally:
        track.end()


def _frames_alike(model: Model, again: Model, served: Constituent, fresh: Constituent) -> int:
    """How many checkpoints of the whole chain are the same, name and checksum."""
    if served.pack is None or fresh.pack is None:
        return 0
    with (
        packs.reading(model.folder / served.pack) as a,
        packs.reading(again.folder / fresh.pack) as b,
    ):
        if a is None or b is None:
            return 0
        pairs = zip(a.frames(), b.frames(), strict=False)
        return sum(x.name == y.name and x.checksum == y.checksum for x, y in pairs)


def _name(constituent: Constituent) -> bytes:
    return constituent.frame.name if constituent.frame else b""


def _checksum(constituent: Constituent) -> bytes:
    return constituent.frame.checksum if constituent.frame else b""
