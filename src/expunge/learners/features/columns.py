"""Columns as they are, each cell rounded to a few bits of its declared range.

Every cell is shifted, divided, rounded and clipped by itself in float64. IEEE 754 says for
each of these operations what its bits are, so neither vector units nor batches matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column, Kind
from expunge.learners.features.checks import check_between
from expunge.learners.protocol import Features

MOST_BITS: Final = 15
"""Of a feature: they are int16."""

_BLOCK_CELLS = 1 << 18  # 2 MiB of float64 at a time


@dataclass(frozen=True, slots=True)
class Columns:
    """Every column, encoded: a number by its range, a category as one of several, pixels.

    A number becomes ``round((x - low) / (high - low) · top)`` with ``top = 2^bits - 1``, and
    what lies beyond the declared range is clipped. A tensor of bytes has the range 0 to 255
    where none is declared, so that 8 bits leave it as it is. NaN becomes 0, and a nullable
    column has one more feature, ``top`` where a cell was missing. A category that is missing
    or was not declared is all zeros; else its own feature is ``top``.

    Costs one pass. Fails with :class:`RecipeInvalid` on text, and on numbers without a
    declared range.

    Attributes:
        bits: Of a feature, 1 to 15.
    """

    bits: int = 8

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    def __post_init__(self) -> None:
        check_between("bits", self.bits, 1, MOST_BITS)

    def width(self, columns: Sequence[Column]) -> int:
        """Features of a row: cells, categories, and one per nullable column of numbers."""
        if not columns:
            raise RecipeInvalid("The view has no feature columns. Name at least one in `features`.")
        return sum(_width(column) for column in columns)

    def top(self, columns: Sequence[Column]) -> int:
        """Greatest value of a feature; the least is 0."""
        return int((1 << self.bits) - 1)

    def scale(self, columns: Sequence[Column]) -> float:
        """One unit, as a part of a column's declared range."""
        return 1 / self.top(columns)

    def integers(self, columns: Sequence[Column], features: Features) -> NDArray[np.int16]:
        """Quantise rows, each by itself; (n, :meth:`width`), from 0 to :meth:`top`."""
        total, top = self.width(columns), self.top(columns)
        out = np.empty((len(features[columns[0].name]), total), np.int16)
        left = 0
        for column in columns:
            right = left + _width(column)
            _encode(column, features[column.name], top, out[:, left:right])
            left = right
        return out


def quantise(
    values: NDArray[Any], low: float, high: float, top: int, out: NDArray[np.int16]
) -> None:
    """Write ``round((values - low) / (high - low) · top)``, clipped, into ``out``; NaN is 0.

    Shapes are equal. Where the range is a point, all is 0. Works in blocks of rows.
    """
    if low == high:
        out[...] = 0
        return
    block = _rows(values)
    for begin in range(0, len(values), block):
        cells = np.subtract(values[begin : begin + block], low, dtype=np.float64)
        np.divide(cells, float(high) - float(low), out=cells)
        np.multiply(cells, top, out=cells)
        np.rint(cells, out=cells)
        np.clip(cells, 0, top, out=cells)
        # Casting NaN would give what the processor likes.
        np.copyto(cells, 0, where=np.isnan(cells))
        out[begin : begin + block] = cells


def numbers(column: Column, cells: NDArray[Any], top: int) -> NDArray[np.int16]:
    """The cells of a numeric or tensor column by its range; (n, cells of a row).

    Raises:
        RecipeInvalid: It has no declared range, or no numbers.
    """
    out = np.empty((len(cells), prod(column.shape)), np.int16)
    _numbers(column, cells, top, out)
    return out


def check_numbers(column: Column) -> tuple[float, float]:
    """The range of a numeric or tensor column.

    Raises:
        RecipeInvalid: It has no declared range, or no numbers.
    """
    if column.kind not in {Kind.NUMERIC, Kind.TENSOR}:
        raise RecipeInvalid(
            f"Column {column.name!r} is {column.kind.value}, and this feature map takes numbers. "
            f"Leave it out of the view's `features`, or use another map: `columns` takes "
            f"categories, `ngrams` takes text."
        )
    if column.low is not None and column.high is not None:
        return column.low, column.high
    if column.kind is Kind.TENSOR and column.dtype == "uint8":
        return 0.0, 255.0
    raise RecipeInvalid(
        f"Column {column.name!r} has no declared range, so its numbers cannot be rounded to "
        f"integers. Declare `low` and `high` for it in the dataset's schema; a range is never "
        f"taken from the samples, as it would remember them."
    )


def _width(column: Column) -> int:
    if column.kind is Kind.CATEGORICAL:
        return len(column.categories)
    if column.kind is Kind.TEXT:
        raise RecipeInvalid(
            f"Column {column.name!r} holds text, which has no range to be rounded by. Leave it "
            f"out of the view's `features`, or use the feature map `ngrams`."
        )
    check_numbers(column)
    return prod(column.shape) + column.nullable


def _encode(column: Column, cells: NDArray[Any], top: int, out: NDArray[np.int16]) -> None:
    if column.kind is Kind.CATEGORICAL:
        rows = np.flatnonzero(cells >= 0)
        out[...] = 0
        out[rows, cells[rows]] = top
        return
    size = prod(column.shape)
    _numbers(column, cells, top, out[:, :size])
    if column.nullable:
        missing = np.isnan(cells.reshape(len(cells), size)).any(axis=1)
        out[:, size] = np.where(missing, np.int16(top), np.int16(0))


def _numbers(column: Column, cells: NDArray[Any], top: int, out: NDArray[np.int16]) -> None:
    low, high = check_numbers(column)
    flat = cells.reshape(out.shape)
    if flat.dtype != np.uint8:
        quantise(flat, low, high, top, out)
        return
    # The same numbers, 256 times instead of once per pixel.
    table = np.empty(256, np.int16)
    quantise(np.arange(256), low, high, top, table)
    block = _rows(flat)
    for begin in range(0, len(flat), block):
        # NumPy makes 8-byte indices of the bytes.
        np.take(table, flat[begin : begin + block], out=out[begin : begin + block], mode="clip")


def _rows(cells: NDArray[Any]) -> int:
    """Rows of these in a block."""
    return max(_BLOCK_CELLS // max(cells[:1].size, 1), 1)
