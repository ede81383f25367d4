"""Rows as vectors of float32, by the declared schema alone: nothing is fitted.

Equal cells give equal bits whatever rows stand beside them, so that taking a row out
changes no other row. Numbers are scaled by the declared range, categories are one-hot
over the declared values, tensors are flattened.

Fails with :class:`RecipeInvalid` on text, which has no encoding without a choice.
Costs one allocation of (rows, width) and one pass, in blocks that stay in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column, Kind
from expunge.learners.protocol import Features

_BLOCK_CELLS = 1 << 18  # 1 MiB of float32: the columns of a block are written while it is cached


def width(columns: Sequence[Column]) -> int:
    """Columns of :func:`dense`.

    Raises:
        RecipeInvalid: There is no column, or one holds text.
    """
    if not columns:
        raise RecipeInvalid("The view has no feature columns. Name at least one in `features`.")
    return sum(_width(column) for column in columns)


def dense(columns: Sequence[Column], features: Features) -> NDArray[np.float32]:
    """Encode rows, each by itself; (n, :func:`width`).

    A number becomes (x - low) / (high - low) where the schema declares a range (0 where the
    range is a point), and stays as it is where not; a tensor of bytes has the range 0 to 255.
    NaN becomes 0, and a nullable column has one more output, which is 1 where a cell was
    missing. A category that is missing or was not declared is all zeros.
    """
    total = width(columns)
    rows = len(features[columns[0].name])
    out = np.empty((rows, total), np.float32)
    block = max(_BLOCK_CELLS // total, 1)
    for begin in range(0, rows, block):
        left = 0
        for column in columns:
            right = left + _width(column)
            cells = features[column.name][begin : begin + block]
            _encode(column, cells, out[begin : begin + block, left:right])
            left = right
    return out


def _width(column: Column) -> int:
    if column.kind is Kind.TEXT:
        raise RecipeInvalid(
            f"Column {column.name!r} holds text, which needs an encoder, and this learner has "
            f"none. Leave it out of the view's `features`, or use the `sklearn` learner with a "
            f"pipeline that begins with `HashingVectorizer`."
        )
    if column.kind is Kind.CATEGORICAL:
        return len(column.categories)
    return prod(column.shape) + column.nullable


def _encode(column: Column, cells: NDArray[Any], out: NDArray[np.float32]) -> None:
    if column.kind is Kind.CATEGORICAL:
        rows = np.flatnonzero(cells >= 0)
        out[...] = 0
        out[rows, cells[rows]] = 1
        return
    size = prod(column.shape)
    flat = cells.reshape(len(cells), size)
    _scale(column, flat, out[:, :size])
    if column.nullable:
        missing = np.isnan(flat)
        np.copyto(out[:, :size], 0, where=missing)
        out[:, size] = missing.any(axis=1)


def _scale(column: Column, cells: NDArray[Any], out: NDArray[np.float32]) -> None:
    low, high = column.low, column.high
    if (low is None or high is None) and column.kind is Kind.TENSOR and cells.dtype == np.uint8:
        low, high = 0.0, 255.0
    if low is None or high is None:
        np.copyto(out, cells, casting="unsafe")
    elif low == high:
        out[...] = 0
    else:
        # 64-bit cells may be far from 0 in a narrow range: rounded only once they are scaled.
        precise = np.float32 if np.can_cast(cells.dtype, np.float32) else np.float64
        shifted = np.subtract(cells, low, dtype=precise)
        np.divide(shifted, precise(high - low), out=out, casting="same_kind")
