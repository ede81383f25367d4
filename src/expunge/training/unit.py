"""A unit: bring one constituent's pack to what its plan says. Runs in a worker process.

Takes and gives JSON only. May be killed at any line: what is whole in the pack stays, and
starting the unit again goes on from there, with the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expunge import learners
from expunge.core.digest import Json, canonical_json
from expunge.core.errors import PlanStale, ViewInvalid
from expunge.core.types import Kind, Schema, Task, View
from expunge.data import leaves
from expunge.data.batch import META, Batch
from expunge.learners.protocol import Learner, Samples, Step
from expunge.learners.seeding import one_thread
from expunge.storage import disk, packs
from expunge.storage.packs import Frame, Pack
from expunge.training import plan as plans
from expunge.training import recipe as recipes
from expunge.training import runtime
from expunge.training.plan import Plan
from expunge.training.recipe import Recipe

_SYNC_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Unit:
    """What a worker is told.

    Attributes:
        folder: The model's folder; packs are named by shard and runtime in it.
        batches: Folders of the batches that the slices are in.
    """

    folder: Path
    batches: dict[tuple[int, int], Path]
    schema: Schema
    recipe: Recipe
    plan: Plan

    def to_json(self) -> dict[str, Json]:
        """As plain JSON."""
        return {
            "folder": str(self.folder),
            "batches": [[*key, str(path)] for key, path in self.batches.items()],
            "schema": self.schema.to_json(),
            "recipe": self.recipe.to_json(),
            "shard": self.plan.shard,
            "slices": [
                [
                    *s.key,
                    s.part,
                    s.start,
                    s.stop,
                    s.drop.tolist(),
                    s.samples,
                    s.root.hex(),
                    s.name.hex(),
                    s.seed,
                ]
                for s in self.plan.slices
            ],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Unit:
        """Read what :meth:`to_json` wrote."""
        return cls(
            folder=Path(value["folder"]),
            batches={(tier, number): Path(path) for tier, number, path in value["batches"]},
            schema=Schema.from_json(value["schema"]),
            recipe=Recipe.from_json(value["recipe"]),
            plan=Plan(value["shard"], tuple(_slice(s) for s in value["slices"])),
        )


def run(argument: dict[str, Any], report: Callable[[dict[str, Json]], None]) -> dict[str, Json]:
    """Build what is missing of one constituent.

    Args:
        argument: A :class:`Unit` as JSON.
        report: Called after each slice with ``slices`` and ``samples`` (visited so far).

    Returns:
        ``pack`` (file name), ``destroyed`` and ``built`` (numbers of frames), ``samples``
        (visits in training), ``seconds``, ``name`` (of the last checkpoint, hexadecimal; None
        where there is none).

    Raises:
        PlanStale: A row that the plan names was erased meanwhile. Nothing was built.
    """
    started = time.perf_counter()
    unit = Unit.from_json(argument)
    learner = learners.from_json(unit.recipe.learner)
    code = learners.foreign_code(unit.recipe.learner)
    environment = runtime.describe(learner.libraries, code=tuple(sorted(code.items())))
    name = runtime.name(environment)
    path = unit.folder / pack_name(unit.plan.shard, name)
    with packs.writing(path) as pack:
        _describe(unit.folder / f"{name}.json", environment)
        found = pack.frames()
        kept = _longest_clean(pack, found, unit.plan.names)
        report({"slices": len(kept), "samples": 0})  # an orphaned worker ends here, unharmful
        pack.cut(kept)
        visits = 0
        if len(kept) < len(unit.plan.slices):
            with one_thread():
                visits = _build(unit, learner, pack, kept, report)
        pack.sync()
    return {
        "pack": path.name,
        "destroyed": len(found) - len(kept),
        "built": len(unit.plan.slices) - len(kept),
        "samples": visits,
        "seconds": time.perf_counter() - started,
        "name": unit.plan.names[-1].hex() if unit.plan.slices else None,
    }


def pack_name(shard: int, runtime_name: str) -> str:
    """File name of a constituent's pack in one runtime."""
    return f"{shard:05d}.{runtime_name[:16]}.pack"


def _longest_clean(pack: Pack, found: Sequence[Frame], names: Sequence[bytes]) -> list[Frame]:
    """The first frames that the plan has too; the last of them with its bytes verified."""
    kept = [frame for frame, name in zip(found, names, strict=False)]
    same = [frame.name == name for frame, name in zip(found, names, strict=False)]
    kept = kept[: same.index(False)] if False in same else kept
    while kept and not pack.holds(kept[-1]):
        kept.pop()
    return kept


def _build(
    unit: Unit,
    learner: Learner,
    pack: Pack,
    kept: Sequence[Frame],
    report: Callable[[dict[str, Json]], None],
) -> int:
    task = recipes.task(unit.recipe.view, unit.schema)
    samples = load(unit, learner, task, skip=len(kept))
    last = kept[-1] if kept else None
    state = pack.read(last) if last else None
    seen = np.cumsum([part.samples for part in unit.plan.slices])
    visits, synced = 0, time.monotonic()
    for part, total in zip(unit.plan.slices[len(kept) :], seen[len(kept) :], strict=True):
        step = Step(part.seed, unit.recipe.share)
        state = learner.learn(task, state, samples.first(int(total)), step)
        last = pack.append(last, part.name, int(total), state)
        visits += int(total)
        report({"slices": 1, "samples": int(total)})
        if time.monotonic() - synced > _SYNC_EVERY_S:
            pack.sync()
            synced = time.monotonic()
    return visits


def load(unit: Unit, learner: Learner, task: Task, skip: int = 0) -> Samples:
    """Read and encode the rows of all slices, in order.

    Raises:
        PlanStale: A slice behind the first ``skip`` is not what the plan says.
    """
    chunks = list(_chunks(unit, task, skip))
    cells = {
        name: _join([chunk[0][name] for chunk in chunks]) for name in unit.recipe.view.features
    }
    return Samples(
        tokens=_join([chunk[1] for chunk in chunks]),
        inputs=learner.encode(task, cells),
        targets=_targets(task, [chunk[0] for chunk in chunks]),
        weights=_weights(unit.recipe.view, [chunk[0] for chunk in chunks]),
    )


def _chunks(
    unit: Unit, task: Task, skip: int
) -> Iterator[tuple[dict[str, NDArray[Any]], NDArray[np.uint64]]]:
    """Cells and tokens, one chunk per batch: a shard's slices of a batch are neighbours."""
    view = unit.recipe.view
    columns = [*view.features, *view.targets, *([view.weight] if view.weight else [])]
    numbered = list(enumerate(unit.plan.slices))
    for key, group in groupby(numbered, key=lambda item: item[1].key):
        slices = list(group)
        batch = _open(unit.batches[key])
        start, stop = slices[0][1].start, slices[-1][1].stop
        keep = np.zeros(stop - start, np.bool_)  # rows between slices belong to emptied ones
        for index, part in slices:
            kept = plans.kept(batch, part.start, part.stop, part.drop, view.filters)
            keep[part.start - start : part.stop - start] = kept
            if index >= skip:
                _verify(batch, part, kept)
        cells = batch.read(columns, start, stop)
        tokens = batch.tokens(start, stop)
        yield (
            ({name: cell[keep] for name, cell in cells.items()}, tokens[keep])
            if not keep.all()
            else (cells, tokens)
        )


def _open(folder: Path) -> Batch:
    """The batch in a folder; read anew where a backup has put other files there since."""
    found = [place.stat() for place in (folder, folder / META)]
    return _opened(folder, tuple((one.st_ino, one.st_ctime_ns) for one in found))


@lru_cache(maxsize=64)
def _opened(folder: Path, _files: tuple[tuple[int, int], ...]) -> Batch:
    return Batch(folder)


def _verify(batch: Batch, part: plans.Slice, keep: NDArray[np.bool_]) -> None:
    rows = batch.leaves(part.start, part.stop)[keep]
    # Erased rows keep their leaves: a stale plan must not train on the zeros of the others.
    erased = (batch.erased(part.start, part.stop) & keep).any()
    if erased or len(rows) != part.samples or leaves.root(rows) != part.root:
        raise PlanStale


def _join(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _targets(task: Task, cells: Sequence[dict[str, NDArray[Any]]]) -> NDArray[Any]:
    columns = [_join([chunk[column.name] for chunk in cells]) for column in task.targets]
    if task.targets[0].kind is Kind.CATEGORICAL:
        codes = columns[0].astype(np.int64)
        _refuse(int((codes < 0).sum()), "a target value that the schema does not declare")
        return codes
    values = np.stack([column.astype(np.float64) for column in columns], axis=1)
    _refuse(int((~np.isfinite(values)).any(axis=1).sum()), "a missing or infinite target")
    return values


def _weights(view: View, cells: Sequence[dict[str, NDArray[Any]]]) -> NDArray[np.float64] | None:
    if view.weight is None:
        return None
    weights = _join([chunk[view.weight] for chunk in cells]).astype(np.float64)
    _refuse(int((~(weights >= 0)).sum()), "a missing or negative weight")
    return weights


def _refuse(rows: int, what: str) -> None:
    if rows:
        raise ViewInvalid(
            f"{rows:,} rows have {what}. Filter them out in the view, or declare the column "
            f"with `values=[…]` at ingest so that none of its values is hidden."
        )


def _describe(path: Path, environment: Any) -> None:  # noqa: ANN401 - any JSON
    if not path.exists():
        disk.write_file(path, canonical_json(environment))


def _slice(value: Sequence[Any]) -> plans.Slice:
    tier, number, part, start, stop, drop, samples, root, name, seed = value
    return plans.Slice(
        key=(tier, number),
        part=part,
        start=start,
        stop=stop,
        drop=np.array(drop, np.int64),
        samples=samples,
        root=bytes.fromhex(root),
        name=bytes.fromhex(name),
        seed=seed,
    )
