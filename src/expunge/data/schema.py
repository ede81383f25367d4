"""Propose a schema while rows stream by, hiding what few people hold.

A proposal must not be a leak of its own: a feature value held by fewer than ten distinct
subjects (rows, where there are none) is left out, and its cells become "not declared". Target
values are all kept. Ranges are rounded outward to two significant digits of the larger bound;
booleans and uint8 keep their natural range. Memory: at most ten keys per category.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from expunge.core.errors import SchemaMismatch
from expunge.core.types import Column, Kind, Role
from expunge.data.cells import (
    Place,
    absent,
    codes,
    convert,
    is_number,
    is_text,
    numbers,
    plain,
    stored,
    tensors,
    texts,
)

FEWEST_SUBJECTS: Final = 10
MOST_CATEGORIES: Final = 10_000


class Reader(Protocol):
    """Reads one column, block by block."""

    hidden: int
    """How many values the finished column hides."""

    def add(self, array: pa.Array, keys: NDArray[np.uint64], at: Place) -> pa.Array:
        """Convert a block to stored cells; ``keys`` are its rows' ring keys."""
        ...

    def finish(self) -> tuple[Column, NDArray[np.int32] | None]:
        """The column, and for categories: final code of each code given so far, -1 last."""
        ...


class Declared:
    """A column that the schema declares: nothing is inferred."""

    hidden = 0

    def __init__(self, column: Column) -> None:
        self._column = column

    def add(self, array: pa.Array, keys: NDArray[np.uint64], at: Place) -> pa.Array:
        """Convert a block."""
        return convert(array, self._column, at)

    def finish(self) -> tuple[Column, None]:
        """The column as declared."""
        return self._column, None


class Coded(Declared):
    """A declared categorical column whose cells are codes already."""

    def add(self, array: pa.Array, keys: NDArray[np.uint64], at: Place) -> pa.Array:
        """Check a block of codes."""
        whole = Column(self._column.name, self._column.role, Kind.NUMERIC, "int32")
        values = numbers(plain(array), whole, at)
        least = -1 if self._column.role is Role.FEATURE else 0
        if (bad := (values < least) | (values >= len(self._column.categories))).any():
            at.refuse(bad, "the code is not declared", "Export the rows again.")
        return pa.array(values)


class Ranged:
    """Numbers, tensors and texts: the type is that of the first block, the range grows."""

    hidden = 0

    def __init__(self, column: Column) -> None:
        self._column = column
        self._low, self._high = np.inf, -np.inf

    def add(self, array: pa.Array, keys: NDArray[np.uint64], at: Place) -> pa.Array:
        """Convert a block and widen the range."""
        array, column = plain(array), self._column
        if column.kind is Kind.TEXT:
            return texts(array, at, nullable=column.nullable)
        read = tensors if column.kind is Kind.TENSOR else numbers
        values = read(array, column, at)
        if values.size:
            self._low = min(self._low, float(np.fmin.reduce(values, axis=None)))
            self._high = max(self._high, float(np.fmax.reduce(values, axis=None)))
        return stored(values, column)

    def finish(self) -> tuple[Column, None]:
        """The column with its range, rounded outward."""
        if self._column.dtype == "uint8":
            return replace(self._column, low=0.0, high=255.0), None
        if self._column.kind is Kind.TEXT or self._low > self._high:
            return self._column, None
        low, high = outward(self._low, self._high)
        return replace(self._column, low=low, high=high), None


class Categories:
    """Categories in order of appearance, and for each up to ten keys of who holds it."""

    def __init__(self, column: Column, *, boolean: bool) -> None:
        self._column, self._boolean = column, boolean
        self._codes: dict[Any, int] = {False: 0, True: 1} if boolean else {}
        self._holders: list[set[int]] = []
        self._common = np.zeros(0, bool)
        self.hidden = 0

    def add(self, array: pa.Array, keys: NDArray[np.uint64], at: Place) -> pa.Array:
        """Convert a block to codes of appearance."""
        array = plain(array)
        gone = absent(array)
        if gone.any() and not self._column.nullable:
            at.refuse_missing(gone)
        found = codes(array, self._code, at)
        if self._column.role is Role.FEATURE and not self._boolean:
            self._count(found, keys)
        return pa.array(found)

    def finish(self) -> tuple[Column, NDArray[np.int32]]:
        """The column with its declared values sorted, and where the codes went."""
        every = list(self._codes)
        hides = self._column.role is Role.FEATURE and not self._boolean
        kept = sorted(v for v in every if not hides or self._common[self._codes[v]])
        self.hidden = len(every) - len(kept)
        place = {value: code for code, value in enumerate(kept)}
        moves = np.array([*(place.get(value, -1) for value in every), -1], np.int32)
        return replace(self._column, categories=tuple(kept)), moves

    def _code(self, value: Any) -> int:  # noqa: ANN401 - a category is str, int or bool
        code = self._codes.setdefault(value, len(self._codes))
        if code >= MOST_CATEGORIES:
            name = self._column.name
            raise SchemaMismatch(
                f"Column {name!r} has more than {MOST_CATEGORIES:,} distinct values. If it is "
                f"free text, declare it with text=[{name!r}]; else leave it out."
            )
        return code

    def _count(self, found: NDArray[np.int32], keys: NDArray[np.uint64]) -> None:
        grown = len(self._codes) - len(self._common)
        self._common = np.concatenate([self._common, np.zeros(grown, bool)])
        self._holders += [set() for _ in range(grown)]
        there = found >= 0
        open_rows = np.flatnonzero(there & ~self._common[np.where(there, found, 0)])
        pairs = np.empty(len(open_rows), [("code", np.int32), ("key", np.uint64)])
        pairs["code"], pairs["key"] = found[open_rows], keys[open_rows]
        for code, key in np.unique(pairs).tolist():
            if len(self._holders[code]) < FEWEST_SUBJECTS:
                self._holders[code].add(key)
            if len(self._holders[code]) == FEWEST_SUBJECTS:
                self._common[code] = True


def propose(column: Column, array: pa.Array, *, categorical: bool) -> Reader:
    """Choose a reader by the type of a column's first block.

    Args:
        column: With name, role and nullable as the caller gave them; kind TEXT if they
            declared it as text, else to be filled in.
        array: The first block's cells.
        categorical: Whether integers are categories.
    """
    array = plain(array) if not isinstance(array, pa.ExtensionArray) else array
    if column.kind is Kind.TEXT:
        return Ranged(column)
    shape = tuple(array.type.shape) if hasattr(array.type, "shape") else ()
    kind = plain(array).type
    if pa.types.is_fixed_size_list(kind):
        dtype = kind.value_type.to_pandas_dtype() if is_number(kind.value_type) else np.float64
        tensor = replace(column, kind=Kind.TENSOR, dtype=np.dtype(dtype).name)
        return Ranged(replace(tensor, shape=shape or (kind.list_size,)))
    if is_text(kind) or pa.types.is_boolean(kind) or (categorical and pa.types.is_integer(kind)):
        named = replace(column, kind=Kind.CATEGORICAL, dtype="int32")
        return Categories(named, boolean=pa.types.is_boolean(kind))
    return _numeric(column, kind)


def outward(low: float, high: float) -> tuple[float, float]:
    """Round a range outward to two significant digits of its larger bound.

    >>> outward(17, 90)
    (17.0, 90.0)
    >>> outward(-0.12345, 123.4)
    (-10.0, 130.0)
    """
    largest = max(abs(Decimal(low)), abs(Decimal(high)))
    if not largest:
        return 0.0, 0.0
    step = Decimal(1).scaleb(largest.adjusted() - 1)
    rounded = (
        (Decimal(low) / step).to_integral_value(ROUND_FLOOR) * step,
        (Decimal(high) / step).to_integral_value(ROUND_CEILING) * step,
    )
    return float(rounded[0]), float(rounded[1])


def _numeric(column: Column, kind: pa.DataType) -> Reader:
    if pa.types.is_null(kind):
        raise SchemaMismatch(
            f"Column {column.name!r} has no value in the first rows, so its type is unknown. "
            f"Declare it with `schema`, or leave it out."
        )
    if not is_number(kind):
        raise SchemaMismatch(
            f"Column {column.name!r} has type {kind}, which is not supported. Make it numbers, "
            f"text, booleans or fixed-size lists of numbers."
        )
    dtype = "float64" if pa.types.is_decimal(kind) else np.dtype(kind.to_pandas_dtype()).name
    if column.nullable and np.dtype(dtype).kind in "iu":
        dtype = "float64"
    return Ranged(replace(column, kind=Kind.NUMERIC, dtype=dtype))
