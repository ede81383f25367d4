"""Read the rows that a plan names from their batches, as samples for a learner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import PlanStale, ViewInvalid
from expunge.core.types import Kind, Task, View
from expunge.data import leaves
from expunge.data.batch import META, Batch
from expunge.data.datasets import Key
from expunge.learners.protocol import Learner, Samples
from expunge.training import plan as plans
from expunge.training.plan import Slice

_Chunk: TypeAlias = tuple[dict[str, NDArray[Any]], NDArray[np.uint64]]
"""Cells by column, and tokens, of the same rows."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows are, and what a learner is to see of them.

    Attributes:
        batches: Their folders.
    """

    batches: Mapping[Key, Path]
    view: View
    task: Task

    @property
    def columns(self) -> list[str]:
        """Features, targets and weight."""
        view = self.view
        return [*view.features, *view.targets, *([view.weight] if view.weight else [])]

    def open(self, key: Key) -> Batch:
        """A batch; read anew where a backup has put other files there since."""
        folder = self.batches[key]
        found = [place.stat() for place in (folder, folder / META)]
        return _opened(folder, tuple((one.st_ino, one.st_ctime_ns) for one in found))


def load(source: Source, learner: Learner, slices: Sequence[Slice], skip: int = 0) -> Samples:
    """Read and encode the rows of all slices, in order.

    Raises:
        PlanStale: A slice behind the first ``skip`` is not what the plan says.
    """
    return _samples(source, learner, list(_chunks(source, slices, skip)))


def pick(
    source: Source, learner: Learner, ordinals: Mapping[Key, NDArray[np.int64]]
) -> Samples | None:
    """Read and encode single rows, in the order of batches and ordinals; None where none is named.

    Raises:
        PlanStale: One was erased meanwhile.
    """
    chunks = []
    for key, places in ordinals.items():
        if len(places):
            batch = source.open(key)
            chunks.append((batch.pick(source.columns, places), batch.pick_tokens(places)))
            if batch.pick_erased(places).any():  # perhaps while we read
                raise PlanStale
    return _samples(source, learner, chunks) if chunks else None


def _samples(source: Source, learner: Learner, chunks: Sequence[_Chunk]) -> Samples:
    cells = {name: _join([chunk[0][name] for chunk in chunks]) for name in source.view.features}
    return Samples(
        tokens=_join([chunk[1] for chunk in chunks]),
        inputs=learner.encode(source.task, cells),
        targets=_targets(source.task, [chunk[0] for chunk in chunks]),
        weights=_weights(source.view, [chunk[0] for chunk in chunks]),
    )


def _chunks(source: Source, slices: Sequence[Slice], skip: int) -> Iterator[_Chunk]:
    """One chunk per batch: a shard's slices of a batch are neighbours."""
    for key, group in groupby(enumerate(slices), key=lambda item: item[1].key):
        numbered = list(group)
        batch = source.open(key)
        start, stop = numbered[0][1].start, numbered[-1][1].stop
        keep = np.zeros(stop - start, np.bool_)  # rows between slices belong to emptied ones
        for index, part in numbered:
            kept = plans.kept(batch, part.start, part.stop, part.drop, source.view.filters)
            keep[part.start - start : part.stop - start] = kept
            if index >= skip:
                _verify(batch, part, kept)
        cells, tokens = batch.read(source.columns, start, stop), batch.tokens(start, stop)
        if keep.all():
            yield cells, tokens
        else:
            yield {name: cell[keep] for name, cell in cells.items()}, tokens[keep]


@lru_cache(maxsize=64)
def _opened(folder: Path, _files: tuple[tuple[int, int], ...]) -> Batch:
    return Batch(folder)


def _verify(batch: Batch, part: Slice, keep: NDArray[np.bool_]) -> None:
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
