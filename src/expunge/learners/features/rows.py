"""Rows that become integer features block by block, when they are needed.

All features of a million images would not fit into memory, and a sum needs each of them once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from expunge.core.types import Column
from expunge.learners.features.protocol import FeatureMap

_BLOCK_CELLS: Final = 1 << 23  # 16 MiB of int16


@dataclass(frozen=True, slots=True)
class Rows:
    """Cells, and how they become features. Has a length, and slices by rows."""

    map: FeatureMap
    columns: tuple[Column, ...]
    cells: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.cells[self.columns[0].name])

    def __getitem__(self, rows: slice) -> Rows:
        return Rows(self.map, self.columns, {n: cells[rows] for n, cells in self.cells.items()})

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: ANN401 - NumPy's own
        return np.asarray(self.map.integers(self.columns, self.cells), dtype)

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.int16]]]:
        """Spans of rows and their features, (rows of the span, width), one after the other."""
        most = max(_BLOCK_CELLS // self.map.width(self.columns), 1)
        for start in range(0, len(self), most):
            span = slice(start, min(start + most, len(self)))
            yield span, self.map.integers(self.columns, self[span].cells)


def rows(mapped: FeatureMap, columns: Sequence[Column], cells: Mapping[str, NDArray[Any]]) -> Rows:
    """The rows of these cells, of columns that the map can take."""
    return Rows(mapped, tuple(columns), {c.name: cells[c.name] for c in columns})
