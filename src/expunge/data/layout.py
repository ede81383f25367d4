"""How a schema's columns lie in Arrow files: types, hidden columns, sizes.

Nothing stored has a validity bitmap: a missing number is NaN (a nullable integer column is
stored as float64), a missing category is code -1, a missing text is empty. So a cell lies in
one place, is read without a copy, and is erased by writing zeros there.
"""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np
import pyarrow as pa

from expunge.core.types import Column, Kind, Role, Schema

HIDDEN: Final = "expunge:"
KEY: Final = HIDDEN + "key"
TOKEN: Final = HIDDEN + "token"
SALT: Final = HIDDEN + "salt"
COMMITMENT: Final = HIDDEN + "commitment"
ROW: Final = HIDDEN + "row"  # 1-based row of the source; in runs only
OTHERS: Final = HIDDEN + "others"  # hashes of a row's further subjects; in runs only

SALT_BYTES: Final = 16
COMMITMENT_BYTES: Final = 32
BLOCK_ROWS: Final = 1 << 16
RUN_BYTES: Final = 32 << 20
SEGMENT_BYTES: Final = 16 << 20  # aim; a file is never above LARGEST_BYTES unless one row is
LARGEST_BYTES: Final = 64 << 20

NUMBERED_ID: Final = "sample_id"
"""Name of the id column of a source whose rows were numbered."""

MANY: Final = "list[str]"
"""The ``dtype`` of a subject column whose cells are lists."""


def cells_of(schema: Schema) -> tuple[Column, ...]:
    """The columns that hold cells: features and values, in schema order."""
    return tuple(c for c in schema.columns if c.role in (Role.FEATURE, Role.VALUE))


def stored_dtype(column: Column) -> np.dtype[np.generic]:
    """NumPy type of stored numbers, tensor elements or codes; little-endian."""
    dtype = np.dtype(column.dtype)
    if column.kind is Kind.NUMERIC and column.nullable and dtype.kind in "iu":
        dtype = np.dtype(np.float64)
    return dtype.newbyteorder("<")


def arrow_type(column: Column) -> pa.DataType:
    """Arrow type of the stored column."""
    if column.dtype == MANY:
        return pa.list_(pa.string())
    if column.kind is Kind.TEXT:
        return pa.string()
    number = pa.from_numpy_dtype(stored_dtype(column))
    return pa.list_(number, prod(column.shape)) if column.kind is Kind.TENSOR else number


def stored_columns(schema: Schema) -> tuple[Column, ...]:
    """All columns with a value per row: ids, subjects and cells. A tier has one per batch."""
    return tuple(c for c in schema.columns if c.role is not Role.TIER)
