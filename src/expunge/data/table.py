"""Cells to predict on: what users pass, as learners take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from expunge.core.errors import ColumnUnknown, SchemaMismatch
from expunge.core.types import Column, Kind
from expunge.data.cells import Place, convert, settle
from expunge.data.rows import elements
from expunge.data.sources import to_arrow


def cells(columns: Sequence[Column], x: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401 - see below
    """Convert ``x`` to typed cells, like those that a batch gives. Further columns are ignored.

    Args:
        columns: What is wanted, as the schema declares it.
        x: A table of pandas or Arrow, a mapping of arrays, a list of mappings, or an array:
            its columns in the order of ``columns``, or the one tensor column.

    Raises:
        ColumnUnknown: A column is missing.
        CellInvalid: A cell is missing or does not fit its column; says which row.
    """
    if isinstance(x, np.ndarray):
        return _from_array(columns, x)
    if isinstance(x, Sequence):
        x = {c.name: [_get(row, c.name) for row in x] for c in columns}
    named = _named(x)
    if missing := [column.name for column in columns if column.name not in named]:
        raise ColumnUnknown(missing[0], named)
    return {column.name: _column(column, named[column.name]) for column in columns}


def _named(x: Any) -> Mapping[str, Any]:  # noqa: ANN401 - any kind of table
    if isinstance(x, pa.Table | pa.RecordBatch):
        return dict(zip(x.schema.names, x.columns, strict=True))
    if isinstance(x, Mapping):
        return {str(name): values for name, values in x.items()}
    if hasattr(x, "iloc") and hasattr(x, "columns"):
        return {str(name): x.iloc[:, place] for place, name in enumerate(x.columns)}
    if hasattr(x, "__arrow_c_stream__"):
        return _named(pa.table(x))
    raise SchemaMismatch(
        f"A {type(x).__name__} is no table. Expected a table of pandas or Arrow, a mapping of "
        f"arrays, a list of mappings, or an array."
    )


def _get(row: Any, name: str) -> Any:  # noqa: ANN401 - a cell
    if not isinstance(row, Mapping):
        raise SchemaMismatch(f"Rows must be mappings, got a {type(row).__name__}.")
    if name not in row:
        raise ColumnUnknown(name, map(str, row))
    return row[name]


def _column(column: Column, values: Any) -> NDArray[Any]:  # noqa: ANN401 - array or series
    at = Place(column.name, 1)
    array = convert(to_arrow(values, None, at), column, at)
    if column.kind is Kind.TEXT:
        return np.array(array.to_pylist(), object)
    return elements(column, array)


def _from_array(columns: Sequence[Column], x: NDArray[Any]) -> dict[str, NDArray[Any]]:
    if len(columns) == 1 and columns[0].kind is Kind.TENSOR:
        column = columns[0]
        if x.shape[1:] != column.shape:
            raise SchemaMismatch(f"Expected cells of shape {column.shape}, got {x.shape[1:]}.")
        return {column.name: settle(x, column, Place(column.name, 1))}
    if x.ndim != 2 or x.shape[1] != len(columns):
        raise SchemaMismatch(
            f"Expected an array of {len(columns)} columns "
            f"({', '.join(repr(c.name) for c in columns)}), got shape {x.shape}."
        )
    return {column.name: _column(column, x[:, i]) for i, column in enumerate(columns)}
