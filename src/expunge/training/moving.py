"""Take rows out of checkpoints that were built with them, where the learner can.

Beside each pack stands a note of the plan that its frames were built by. What a new plan has
less, or more, is subtracted or added; the result is what building from the rows gives, byte for
byte, so it goes by the same name. A learner with a method of its own makes another checkpoint of it,
which goes by a name of its own. Without a note that fits (it is written last), or where the method
cannot do it, nothing is lost: the checkpoint is built from the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import (
    CorrectionFailed,
    DataCorrupt,
    MemoryCapTooSmall,
    PlanStale,
)
from expunge.data import leaves
from expunge.data.datasets import Key
from expunge.data.places import gather
from expunge.learners.protocol import Changing, Forgetting, Learner
from expunge.storage.packs import Frame, Pack
from expunge.training import lineage, loading, notes
from expunge.training import plan as plans
from expunge.training.lineage import Link
from expunge.training.loading import Source
from expunge.training.plan import Slice

_Place: TypeAlias = tuple[Key, int]
_Rows: TypeAlias = dict[Key, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Moved:
    """One checkpoint that was made from an earlier one.

    Attributes:
        rows: That were taken out or put in, or were learnt from for it.
        link: How its name is made; None where it has that of a build.
    """

    state: bytes
    rows: int
    link: Link | None = None


def note(path: Path, slices: Sequence[Slice]) -> None:
    """Write down by which plan the pack at ``path`` is built. It names rows by their places."""
    notes.write(_note_of(path), [part.to_json() for part in slices])


def moved(
    source: Source,
    learner: Learner,
    pack: tuple[Pack, Path, Sequence[Frame]],
    slices: Sequence[Slice],
    kept: int,
) -> list[Moved]:
    """Checkpoints of the first slices behind those that are ``kept``, made from earlier ones.

    Stops before a slice that has no earlier checkpoint, of which rows that moved were erased, or
    of which more rows went than stay: building it costs less.

    Args:
        source: Of the rows.
        learner: Only one that is :class:`Changing` or :class:`Forgetting` can do it.
        pack: Open, with its path and the frames in it.
        slices: Of the new plan.
        kept: How many of the pack's first frames the new plan has too.
    """
    if not isinstance(learner, Changing | Forgetting):
        return []
    file, path, frames = pack
    before = [part for part, f in zip(_noted(path), frames, strict=False) if part.name == f.name]
    return list(_moved(source, learner, (file, frames), (before, slices), kept))


def _moved(
    source: Source,
    learner: Learner,
    pack: tuple[Pack, Sequence[Frame]],
    chains: tuple[Sequence[Slice], Sequence[Slice]],
    kept: int,
) -> Iterator[Moved]:
    (file, frames), (before, after) = pack, chains
    numbers = {_place(part): number for number, part in enumerate(before)}
    for number, part in enumerate(after[kept:], kept):
        if _place(part) not in numbers:
            return
        then = numbers[_place(part)]
        old, new = _rows(source, before[kept : then + 1]), _rows(source, after[kept : number + 1])
        gone, come = _less(old, new), _less(new, old)
        if _count(gone) + _count(come) > sum(one.samples for one in after[: number + 1]):
            return
        try:
            state = file.read(frames[then])
            made = _made(
                source, learner, (frames[then].name, state), after[: number + 1], (gone, come)
            )
        except (CorrectionFailed, DataCorrupt, MemoryCapTooSmall, PlanStale):
            return  # building from the rows says whether these are whole
        if made is None:
            return
        yield made


def _made(
    source: Source,
    learner: Learner,
    of: tuple[bytes, bytes],
    slices: Sequence[Slice],
    change: tuple[_Rows, _Rows],
) -> Moved | None:
    """A checkpoint without the rows that went, and with those that came; None: it cannot be made.

    Args:
        source: Of the rows.
        learner: The model's.
        of: Name and state of the checkpoint that it is made of.
        slices: That it is to be after, as planned.
        change: Rows that went, and that came.
    """
    gone, come = change
    if isinstance(learner, Changing):
        picked = [loading.pick(source, learner, which) for which in change]
        return Moved(learner.change(source.task, of[1], *picked), _count(gone) + _count(come))
    out = loading.pick(source, learner, gone)
    if not isinstance(learner, Forgetting) or out is None or _count(come):
        return None
    stay = loading.load(source, learner, slices)
    forgot = learner.forget(source.task, of[1], stay, out)
    last = slices[-1]
    link = Link(
        place=lineage.place(last),
        parent=of[0],
        method=learner.method,
        rows=len(out),
        root=_root(source, gone),
        remaining=last.name,
        figures=forgot.figures,
    )
    return Moved(forgot.state, len(stay) + len(out), link)


def _root(source: Source, rows: _Rows) -> bytes:
    """RFC 6962 root over the leaves of rows, sorted as bytes, as a request's is."""
    found = [
        gather(source.open(key).leaves, ordinals) for key, ordinals in rows.items() if len(ordinals)
    ]
    return leaves.root(leaves.ordered(np.concatenate(found)))


def _place(part: Slice) -> _Place:
    return part.key, part.part


def _rows(source: Source, slices: Sequence[Slice]) -> _Rows:
    """Ordinals of the rows that slices have, by batch, ascending."""
    found: dict[Key, list[NDArray[np.int64]]] = {}
    for part in slices:
        batch = source.open(part.key)
        keep = plans.kept(batch, part.start, part.stop, part.drop, source.view.filters)
        found.setdefault(part.key, []).append(np.flatnonzero(keep) + part.start)
    return {key: np.concatenate(parts) for key, parts in found.items()}


def _less(rows: _Rows, others: Mapping[Key, NDArray[np.int64]]) -> _Rows:
    """Those of ``rows`` that are not among the others."""
    nothing = np.empty(0, np.int64)
    return {
        key: np.setdiff1d(ordinals, others.get(key, nothing), assume_unique=True)
        for key, ordinals in rows.items()
    }


def _count(rows: _Rows) -> int:
    return sum(len(ordinals) for ordinals in rows.values())


def _noted(path: Path) -> list[Slice]:
    """The slices of the plan that was noted; none where no whole note is there."""
    return [Slice.from_json(part) for part in notes.read(_note_of(path)) or ()]


def _note_of(path: Path) -> Path:
    return path.with_suffix(".rows")
