"""Which rows a view keeps: filters over cells, vectorised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import ViewInvalid
from expunge.core.types import Column, Filter, Kind, Schema

_OPS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": lambda cells, value: cells == value,
    "!=": lambda cells, value: cells != value,
    "<": lambda cells, value: cells < value,
    "<=": lambda cells, value: cells <= value,
    ">": lambda cells, value: cells > value,
    ">=": lambda cells, value: cells >= value,
    "in": lambda cells, value: np.isin(cells, value),
}


def mask(
    filters: Sequence[Filter], schema: Schema, cells: Mapping[str, NDArray[Any]]
) -> NDArray[np.bool_]:
    """Rows that satisfy every filter, at least one; (n,).

    A missing cell, and a category that is not declared, satisfy none but ``!=``. Categories
    are compared by their values, not by their codes.

    Raises:
        ViewInvalid: A filter does not fit its column.
    """
    masks = [_one(f, schema[f.column], cells[f.column]) for f in filters]
    return np.asarray(np.logical_and.reduce(masks))


def _one(condition: Filter, column: Column, cells: NDArray[Any]) -> NDArray[np.bool_]:
    if column.kind is Kind.TENSOR or column.dtype.startswith("list"):
        raise ViewInvalid(f"Column {column.name!r} has no single value per row to filter by.")
    if condition.op == "present":
        return _present(column, cells)
    if condition.op not in _OPS:
        raise ViewInvalid(
            f"No filter {condition.op!r}. There are: {', '.join([*_OPS, 'present'])}."
        )
    value = list(condition.value) if isinstance(condition.value, tuple) else condition.value
    if (condition.op == "in") != isinstance(value, list):
        raise ViewInvalid(f"Filter on {column.name!r}: 'in' takes a tuple, the others one value.")
    kept = _by_category if column.kind is Kind.CATEGORICAL else _compare
    return kept(condition, column, cells, value)


def _present(column: Column, cells: NDArray[Any]) -> NDArray[np.bool_]:
    if column.kind is Kind.CATEGORICAL:
        return np.asarray(cells >= 0)
    if column.kind is Kind.TEXT:
        return np.asarray(cells != "", bool)
    return np.asarray(cells == cells)


def _by_category(
    condition: Filter,
    column: Column,
    cells: NDArray[Any],
    value: Any,  # noqa: ANN401 - str, number or list
) -> NDArray[np.bool_]:
    declared = np.array(column.categories, object)
    verdicts = _compare(condition, column, declared, value)
    # Code -1 takes the last verdict: of what is not declared.
    kept: NDArray[np.bool_] = np.append(verdicts, condition.op == "!=")[cells]
    return kept


def _compare(
    condition: Filter,
    column: Column,
    cells: NDArray[Any],
    value: Any,  # noqa: ANN401 - as above
) -> NDArray[np.bool_]:
    try:
        if condition.op == "in" and cells.dtype == object:
            return np.array([cell in value for cell in cells.tolist()], bool)
        return np.asarray(_OPS[condition.op](cells, value), bool)
    except TypeError as error:
        raise ViewInvalid(
            f"Filter on {column.name!r} compares with a value of another type."
        ) from error
