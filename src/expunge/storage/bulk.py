"""Insert many rows at once: one statement for all of them.

On PostgreSQL, the columns travel as arrays (``INSERT … SELECT … FROM unnest(…)``): a statement
for each row would cost a hundred times its parsing. On SQLite, where a statement costs no way,
the driver repeats one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, Final, TypeAlias

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects import postgresql, sqlite

_POSTGRES: Final[sa.Dialect] = postgresql.dialect()  # type: ignore[no-untyped-call]  # it has no types
_SQLITE: Final[sa.Dialect] = sqlite.dialect()

Column: TypeAlias = list[Any] | NDArray[np.int64] | NDArray[np.int32]
"""Values; arrays are of integers."""


def insert(transaction: sa.Connection, table: sa.Table, columns: Mapping[str, Column]) -> None:
    """Insert rows in order; defaults that the database does not know itself are not filled in.

    Args:
        transaction: In which they are inserted.
        table: Of the rows.
        columns: By name, values of equal number.
    """
    _insert(transaction, table, columns, "")


def insert_rows(
    transaction: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """As :func:`insert`; rows that all have the same columns."""
    if rows:
        _insert(transaction, table, {name: [row[name] for row in rows] for name in rows[0]}, "")


def insert_new(
    transaction: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """As :func:`insert_rows`, but for rows that are there."""
    if rows:
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        _insert(transaction, table, columns, " ON CONFLICT DO NOTHING")


def _insert(
    transaction: sa.Connection, table: sa.Table, columns: Mapping[str, Column], ending: str
) -> None:
    first, *others = columns
    if not len(columns[first]):
        return
    # What is the same in all rows travels once; one column is to say how many rows there are.
    shared = {name: _one(columns[name]) for name in others if _is_same(columns[name])}
    each = {name: of for name, of in columns.items() if name not in shared}
    if transaction.dialect.name == "sqlite":
        values = [_listed(one) for one in each.values()]
        rows = zip(*values, *(repeat(one) for one in shared.values()), strict=False)
        statement = _repeated(table, tuple(each), tuple(shared))
        transaction.exec_driver_sql(statement + ending, list(rows))
    else:
        arrays = [_array(one) for one in each.values()]
        statement = _unnested(table, tuple(each), tuple(shared))
        transaction.exec_driver_sql(statement + ending, (*shared.values(), *arrays))


def _is_same(values: Column) -> bool:
    if isinstance(values, np.ndarray):
        return bool((values == values[0]).all())
    return values.count(values[0]) == len(values)


def _one(values: Column) -> Any:  # noqa: ANN401 - a cell
    return values[0].item() if isinstance(values, np.ndarray) else values[0]


def _listed(values: Column) -> Sequence[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else values


def _array(values: Column) -> Sequence[Any] | str:
    """An array as the driver takes it quickest: of integers, as the text that it would make."""
    if isinstance(values, np.ndarray):
        return "{" + ",".join(map(str, values.tolist())) + "}"
    return values


@lru_cache(maxsize=100)
def _repeated(table: sa.Table, columns: tuple[str, ...], shared: tuple[str, ...]) -> str:
    names = _names(_SQLITE, (*columns, *shared))
    marks = ", ".join("?" * (len(columns) + len(shared)))
    return f"INSERT INTO {_names(_SQLITE, [table.name])} ({names}) VALUES ({marks})"  # noqa: S608 - our names


@lru_cache(maxsize=100)
def _unnested(table: sa.Table, columns: tuple[str, ...], shared: tuple[str, ...]) -> str:
    names = _names(_POSTGRES, (*shared, *columns))
    given = [f"%s::{_type(table, name)}" for name in shared]
    given += [f"of.{_names(_POSTGRES, [name])}" for name in columns]
    arrays = ", ".join(f"%s::{_type(table, name)}[]" for name in columns)
    source = f"unnest({arrays}) AS of({_names(_POSTGRES, columns)})"
    into = f"{_names(_POSTGRES, [table.name])} ({names})"
    return f"INSERT INTO {into} SELECT {', '.join(given)} FROM {source}"  # noqa: S608 - our names


def _names(dialect: sa.Dialect, names: Iterable[str]) -> str:
    return ", ".join(map(dialect.identifier_preparer.quote, names))


def _type(table: sa.Table, name: str) -> str:
    return str(table.c[name].type.compile(dialect=_POSTGRES))
