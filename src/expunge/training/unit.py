"""A unit: bring one constituent's pack to what its plan says. Runs in a worker process.

Takes and gives JSON only. May be killed at any line: what is whole in the pack stays, and
starting the unit again goes on from there, with the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from expunge import learners
from expunge.core.digest import Json, canonical_json
from expunge.core.types import Schema
from expunge.learners.protocol import Changing, Forgetting, Learner, Step, Warm
from expunge.learners.seeding import one_thread
from expunge.storage import disk, packs
from expunge.storage.packs import Frame, Pack
from expunge.training import lineage, runtime
from expunge.training import recipe as recipes
from expunge.training.lineage import Link
from expunge.training.loading import Source, load
from expunge.training.moving import Moved, moved, note
from expunge.training.plan import Plan, Slice
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

    @property
    def source(self) -> Source:
        """Where its rows are."""
        view = self.recipe.view
        return Source(self.batches, view, recipes.task(view, self.schema))

    def to_json(self) -> dict[str, Json]:
        """As plain JSON."""
        return {
            "folder": str(self.folder),
            "batches": [[*key, str(path)] for key, path in self.batches.items()],
            "schema": self.schema.to_json(),
            "recipe": self.recipe.to_json(),
            "shard": self.plan.shard,
            "slices": [part.to_json() for part in self.plan.slices],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Unit:
        """Read what :meth:`to_json` wrote."""
        return cls(
            folder=Path(value["folder"]),
            batches={(tier, number): Path(path) for tier, number, path in value["batches"]},
            schema=Schema.from_json(value["schema"]),
            recipe=Recipe.from_json(value["recipe"]),
            plan=Plan(value["shard"], tuple(map(Slice.from_json, value["slices"]))),
        )


def run(argument: dict[str, Any], report: Callable[[dict[str, Json]], None]) -> dict[str, Json]:
    """Build what is missing of one constituent.

    Args:
        argument: A :class:`Unit` as JSON.
        report: Called after each slice with ``slices`` and ``samples`` (visited so far).

    Returns:
        ``pack`` (file name), ``destroyed`` and ``built`` (numbers of frames), ``samples``
        (visits in training), ``seconds``, ``name`` (of the last checkpoint, hexadecimal; None
        where there is none), ``forgot`` (of each checkpoint that a method made, how).

    Raises:
        PlanStale: A row that the plan names was erased meanwhile. Nothing was built.
    """
    started = time.perf_counter()
    unit = Unit.from_json(argument)
    learner = learners.from_json(unit.recipe.learner)
    code = learners.foreign_code(unit.recipe.learner)
    environment = runtime.describe(learners.libraries(learner), code=tuple(sorted(code.items())))
    name = runtime.name(environment)
    path = unit.folder / pack_name(unit.plan.shard, name)
    with packs.writing(path) as pack:
        _describe(unit.folder / f"{name}.json", environment)
        found = pack.frames()
        kept = _longest_clean(pack, found, lineage.planned(path, unit.plan))
        report({"slices": len(kept), "samples": 0})  # an orphaned worker ends here, unharmful
        with one_thread():
            places = (pack, path, found)
            made = moved(unit.source, learner, places, unit.plan.slices, len(kept))
            whole = len(kept) == len(unit.plan.slices)
            begin = None if whole else _beginning(learner, pack, found, kept)
            links = _links(path, unit.plan, len(kept), made)
            pack.cut(kept)
            lineage.write(path, links.values())
            unit = replace(unit, plan=_rebased(unit.plan, links))
            visits = _build(unit, learner, pack, (kept, made, begin), report)
        pack.sync()
        if isinstance(learner, Changing | Forgetting):
            note(path, unit.plan.slices)
    return {
        "pack": path.name,
        "destroyed": len(found) - len(kept),
        "built": len(unit.plan.slices) - len(kept),
        "samples": visits,
        "seconds": time.perf_counter() - started,
        "name": unit.plan.names[-1].hex() if unit.plan.slices else None,
        "forgot": [link.to_json() for link in links.values()],
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


def _links(path: Path, plan: Plan, kept: int, made: Sequence[Moved]) -> dict[str, Link]:
    """How those checkpoints came about that are no builds: those kept, and those made now."""
    before = lineage.read(path)
    stay = [before.get(lineage.place(part)) for part in plan.slices[:kept]]
    return {link.place: link for link in (*stay, *(one.link for one in made)) if link is not None}


def _rebased(plan: Plan, links: lineage.Links) -> Plan:
    return replace(plan, slices=lineage.rebased(plan.slices, links)) if links else plan


def _beginning(
    learner: Learner, pack: Pack, found: Sequence[Frame], kept: Sequence[Frame]
) -> bytes | None:
    """From which state to go on with the first missing slice."""
    if kept:
        return pack.read(kept[-1])
    if found and isinstance(learner, Warm) and pack.holds(found[-1]):
        return pack.read(found[-1])
    return None


def _build(
    unit: Unit,
    learner: Learner,
    pack: Pack,
    there: tuple[Sequence[Frame], Sequence[Moved], bytes | None],
    report: Callable[[dict[str, Json]], None],
) -> int:
    """Append what is missing: what was moved first, the rest from the rows."""
    kept, made, begin = there
    last = kept[-1] if kept else None
    visits, synced = 0, time.monotonic()
    for part, total, state, seen in _states(unit, learner, len(kept), made, begin):
        last = pack.append(last, part.name, total, state)
        visits += seen
        report({"slices": 1, "samples": seen})
        if time.monotonic() - synced > _SYNC_EVERY_S:
            pack.sync()
            synced = time.monotonic()
    return visits


def _states(
    unit: Unit, learner: Learner, kept: int, made: Sequence[Moved], begin: bytes | None
) -> Iterator[tuple[Slice, int, bytes, int]]:
    """Each missing slice with its samples so far, its state, and the samples visited for it."""
    slices = unit.plan.slices
    totals = np.cumsum([part.samples for part in slices]).tolist()
    for number, one in enumerate(made, kept):
        yield slices[number], totals[number], one.state, one.rows
    done = kept + len(made)
    if done == len(slices):
        return
    samples = load(unit.source, learner, slices, skip=done)
    state = made[-1].state if made else begin
    for number in range(done, len(slices)):
        step = Step(slices[number].seed, unit.recipe.share)
        state = learner.learn(unit.source.task, state, samples.first(totals[number]), step)
        yield slices[number], totals[number], state, totals[number]


def _describe(path: Path, environment: Any) -> None:  # noqa: ANN401 - any JSON
    if not path.exists():
        disk.write_file(path, canonical_json(environment))
