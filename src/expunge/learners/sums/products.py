"""Exact sums of products of integers, at the speed of floating-point BLAS.

A product of integers is exact in floating point, and so is a sum of them in any order, as long as
no partial sum leaves the integers that the type holds: 2²⁴ for float32, 2⁵³ for float64. Rows are
taken in blocks that cannot leave them, and blocks are added in int64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import RecipeInvalid

PANEL: Final = 512
"""Columns of a panel of a symmetric matrix. Part of the states' format."""

_FLOAT32: Final = 1 << 24
_FLOAT64: Final = 1 << 53
_INT64: Final = 1 << 63
_LEAST_ROWS: Final = 192  # shorter blocks cost more in adding up than float32 saves
_MOST_ROWS: Final = 2048


@dataclass(frozen=True, slots=True)
class Blocks:
    """In what steps rows are summed.

    Attributes:
        kind: Of the numbers that are multiplied.
        rows: At most, in one step.
    """

    kind: type[np.floating[Any]]
    rows: int

    @classmethod
    def of(cls, bound: int) -> Blocks:
        """For products of at most ``bound`` in absolute value.

        Raises:
            RecipeInvalid: Even one product may not be exact.
        """
        if bound > _FLOAT64:
            raise RecipeInvalid(
                f"Products of features, targets and weights reach {bound:.3g}, and sums of them "
                f"are exact up to 2^53 only. Take fewer bits."
            )
        if bound * _LEAST_ROWS <= _FLOAT32:
            return cls(np.float32, min(_FLOAT32 // bound, _MOST_ROWS))
        return cls(np.float64, min(_FLOAT64 // bound, _MOST_ROWS))

    def spans(self, rows: int) -> Iterator[slice]:
        """All rows, block by block."""
        for start in range(0, rows, self.rows):
            yield slice(start, min(start + self.rows, rows))


def check_capacity(rows: int, bound: int) -> None:
    """See that sums over so many rows stay in int64.

    Raises:
        RecipeInvalid: They may not.
    """
    if rows * bound >= _INT64:
        raise RecipeInvalid(
            f"{rows:,} samples are too many for exact sums of products that reach {bound:.3g}: "
            f"there is room for {_INT64 // bound:,}. Take fewer bits, or shards."
        )


def add_cross(
    total: NDArray[np.int64], left: NDArray[Any], right: NDArray[Any], bound: int, sign: int
) -> None:
    """Add ``sign`` times leftᵀ·right to ``total`` (p, q); left is (n, p), right (n, q), integers.

    Args:
        total: Changed in place.
        left: Integers.
        right: Integers.
        bound: Greatest absolute value of a product of one of each.
        sign: 1, or -1 to take them out.
    """
    blocks = Blocks.of(bound)
    for rows in blocks.spans(len(left)):
        part = left[rows].astype(blocks.kind).T @ right[rows].astype(blocks.kind)
        _add(total, part, sign)


def add_square(
    total: NDArray[np.int64],
    x: NDArray[np.int16],
    weights: NDArray[np.int64] | None,
    bound: int,
    sign: int,
) -> None:
    """Add ``sign`` times xᵀ·diag(weights)·x to ``total``, which holds its panels.

    Costs rows · width² multiplications and additions.

    Args:
        total: int64, (:func:`panelled` of the width,); changed in place.
        x: (n, width).
        weights: (n,); None where all are 1.
        bound: Greatest absolute value of a product, weight included.
        sign: 1, or -1 to take them out.
    """
    blocks = Blocks.of(bound)
    for rows in blocks.spans(len(x)):
        right = x[rows].astype(blocks.kind)
        left = right if weights is None else right * weights[rows, None].astype(blocks.kind)
        for start, stop, panel in _panels(total, x.shape[1]):
            _add(panel, left[:, start:stop].T @ right[:, start:], sign)


def panelled(width: int) -> int:
    """Numbers in the panels of a symmetric matrix: little more than its upper triangle."""
    return sum(
        (min(start + PANEL, width) - start) * (width - start) for start in range(0, width, PANEL)
    )


def unfold(panels: NDArray[np.int64], into: NDArray[np.float64]) -> None:
    """Write the lower triangle of the symmetric matrix that ``panels`` hold, and a little more.

    Args:
        panels: As :func:`add_square` fills them.
        into: (width, width); elsewhere it is left as it is.
    """
    for start, stop, panel in _panels(panels, len(into)):
        into[start:, start:stop] = panel.T


def _panels(flat: NDArray[np.int64], width: int) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Views of rows [start, stop) from column ``start`` on."""
    offset = 0
    for start in range(0, width, PANEL):
        stop = min(start + PANEL, width)
        size = (stop - start) * (width - start)
        yield start, stop, flat[offset : offset + size].reshape(stop - start, width - start)
        offset += size


def _add(total: NDArray[np.int64], part: NDArray[Any], sign: int) -> None:
    # As integers first: int64 and a float would be added as floats.
    whole = part.astype(np.int32 if part.dtype == np.float32 else np.int64)
    (np.add if sign > 0 else np.subtract)(total, whole, out=total)
