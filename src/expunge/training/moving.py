"""Take rows out of checkpoints that were built with them, where the learner can.

Beside each pack stands a note of the plan that its frames were built by. What a new plan has
less, or more, is subtracted or added; the result is what building from the rows gives, byte for
byte, so it goes by the same name. Without a note that fits (it is written last), nothing is
lost: the checkpoint is built from the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from expunge.core.digest import canonical_json
from expunge.core.errors import DataCorrupt, PlanStale
from expunge.data.datasets import Key
from expunge.learners.protocol import Changing, Learner
from expunge.storage import disk
from expunge.storage.packs import Frame, Pack
from expunge.training import loading
from expunge.training import plan as plans
from expunge.training.loading import Source
from expunge.training.plan import Slice

_DIGEST_BYTES: Final = 32
_Place: TypeAlias = tuple[Key, int]
_Rows: TypeAlias = dict[Key, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Moved:
    """One checkpoint that was made from an earlier one.

    Attributes:
        rows: That were taken out or put in.
    """

    state: bytes
    rows: int


def note(path: Path, slices: Sequence[Slice]) -> None:
    """Write down by which plan the pack at ``path`` is built. It names rows by their places."""
    body = canonical_json([part.to_json() for part in slices])
    whole = blake3(body).digest() + body
    place = _note_of(path)
    if not place.exists() or place.read_bytes() != whole:
        disk.write_file(place, whole)


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
        learner: Only one that is :class:`Changing` can do it.
        pack: Open, with its path and the frames in it.
        slices: Of the new plan.
        kept: How many of the pack's first frames the new plan has too.
    """
    if not isinstance(learner, Changing):
        return []
    file, path, frames = pack
    before = [part for part, f in zip(_noted(path), frames, strict=False) if part.name == f.name]
    return list(_moved(source, learner, (file, frames), (before, slices), kept))


def _moved(
    source: Source,
    learner: Changing,
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
        rows = _count(gone) + _count(come)
        if rows > sum(one.samples for one in after[: number + 1]):
            return
        try:
            state = file.read(frames[then])
            picked = [loading.pick(source, learner, which) for which in (gone, come)]  # type: ignore[arg-type]  # it is a Learner too
        except (DataCorrupt, PlanStale):  # building from the rows says whether these are whole
            return
        yield Moved(learner.change(source.task, state, *picked), rows)


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
    place = _note_of(path)
    whole = place.read_bytes() if place.exists() else b""
    body = whole[_DIGEST_BYTES:]
    if blake3(body).digest() != whole[:_DIGEST_BYTES]:
        return []
    return [Slice.from_json(part) for part in json.loads(body)]


def _note_of(path: Path) -> Path:
    return path.with_suffix(".rows")
