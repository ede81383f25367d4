"""Replay: build a model again from the remaining samples alone, and compare bytes.

This is the whole proof of an exact method: the served names are the names of a build from
the remaining samples, and building them again, in an empty folder, gives the same bytes.
Bytes are read where they rest, served checkpoints and rows alike: what was recorded about them
proves nothing. Of what was recorded, the roots of the batches are compared, because those were
published before anything learnt from the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from expunge import learners
from expunge.core.errors import DataCorrupt, FormatUnsupported, UnknownName
from expunge.execution.local import Executor
from expunge.execution.progress import Progress
from expunge.storage import packs
from expunge.storage.packs import Frame, Pack
from expunge.training import ensemble, lineage, sql, versions
from expunge.training import plan as plans
from expunge.training.basis import Basis, in_home
from expunge.training.plan import Plan
from expunge.training.site import Site, replaying
from expunge.training.sql import Constituent, Model
from expunge.verify import building


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay found.

    Attributes:
        constituents: How many were built again.
        checkpoints: How many the plans of the remaining samples name, all chains together.
        frames: Of these, how many rest in the served packs byte for byte as they came out.
        same_names: Of the constituents, how many serve the checkpoint that the plan of the
            remaining samples names.
        same_bytes: Of the constituents, how many serve the bytes that came out.
        same_runtime: Of the constituents, how many were built in this very runtime; others
            cannot be compared byte for byte.
        changed_rows: How many remaining rows of the dataset do not match their commitments, or
            are not where the ring has them.
        changed_roots: How many batches of the dataset are not those that were committed to when
            they came, minus forgotten rows.
        by_method: Of the constituents, how many a method made that is no build: of these no
            build can tell anything.
    """

    model: str
    version: str
    constituents: int
    checkpoints: int
    frames: int
    same_names: int
    same_bytes: int
    same_runtime: int
    changed_rows: int
    changed_roots: int
    by_method: int

    @property
    def exact(self) -> bool:
        """Whether all names and all bytes are the same, and the rows are those that came."""
        return (
            self.constituents == self.same_names == self.same_bytes
            and self.by_method == 0
            and self.frames == self.checkpoints
            and self.changed_rows == 0
            and self.changed_roots == 0
        )


def replay(site: Site, model: Model, executor: Executor, progress: Progress) -> Replay:
    """Build all of ``model`` again in an empty folder and compare. Costs a full training.

    Another replay of the same home is waited for.
    """
    with replaying(site) as empty:
        with site.database.reading() as transaction:  # only now: we may have waited
            version = sql.current(transaction, model.id)
            basis = in_home(site, transaction, model.dataset)
        if version is None:
            raise UnknownName("published version of model", model.name, [])
        again = replace(model, folder=empty)
        units = [
            building.unit(basis, model.recipe, plan, again.folder)
            for plan in (
                plans.make(model.recipe, basis.ground_of(model.folder.name), shard)
                for shard in versions.all_shards(model)
            )
        ]
        building.build(units, executor, progress, f"replaying {model.name}")
        fresh = [versions.best(again, unit.plan) for unit in units]
        pairs = list(zip(version.constituents, fresh, strict=True))
        frames = sum(_frames_alike(model, again, *pair) for pair in pairs)
        same_bytes = sum(_is_alike(model, again, *pair) for pair in pairs)
    return Replay(
        model=model.name,
        version=version.digest,
        constituents=len(fresh),
        checkpoints=sum(len(unit.plan.slices) for unit in units),
        frames=frames,
        same_names=sum(_name(a) == _name(b) for a, b in pairs),
        same_bytes=same_bytes,
        same_runtime=sum(a.pack == b.pack or a.pack is None for a, b in pairs),
        changed_rows=building.count_changed_rows(lambda: _now(site, model)),
        changed_roots=basis.changed_roots(),
        by_method=sum(
            _is_by_method(model, unit.plan, one)
            for unit, one in zip(units, version.constituents, strict=True)
        ),
    )


def _is_by_method(model: Model, plan: Plan, served: Constituent) -> bool:
    """Whether a method that is no build made what a constituent serves."""
    if served.frame is None or (learner := learners.declared(model.recipe.learner)) is None:
        return False
    assert served.pack is not None
    accepted = lineage.planned(model.folder / served.pack, plan)
    return not learner.canonical or served.frame.name in set(accepted) - set(plan.names)


def _now(site: Site, model: Model) -> Basis:
    with site.database.reading() as transaction:
        return in_home(site, transaction, model.dataset)


def _frames_alike(model: Model, again: Model, served: Constituent, fresh: Constituent) -> int:
    """How many checkpoints of the whole chain are the same, name and bytes."""
    if served.pack is None or fresh.pack is None:
        return 0
    with (
        packs.reading(model.folder / served.pack) as a,
        packs.reading(again.folder / fresh.pack) as b,
    ):
        if a is None or b is None:
            return 0
        try:
            pairs = list(zip(a.frames(), b.frames(), strict=False))
        except FormatUnsupported:  # the first bytes of the served pack were changed
            return 0
        return sum(x.name == y.name and _reads_alike(a, x, b, y) for x, y in pairs)


def _reads_alike(a: Pack, x: Frame, b: Pack, y: Frame) -> bool:
    try:
        return x.samples == y.samples and a.read(x) == b.read(y)
    except DataCorrupt:
        return False


def _is_alike(model: Model, again: Model, served: Constituent, fresh: Constituent) -> bool:
    """Whether what is served, read as an answer reads it, is what came out."""
    if served.frame is None or fresh.frame is None:
        return served.frame is fresh.frame
    try:
        return ensemble.state(model, served) == ensemble.state(again, fresh)
    except DataCorrupt:
        return False


def _name(constituent: Constituent) -> bytes:
    return constituent.frame.name if constituent.frame else b""
