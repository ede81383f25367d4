"""Filters keep the rows that Python would."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import ColumnUnknown, ViewInvalid
from expunge.core.types import Column, Filter, Kind, Role, Schema
from expunge.data.filters import mask

SCHEMA = Schema(
    (
        Column("x", Role.FEATURE, Kind.NUMERIC, "float64", nullable=True),
        Column("c", Role.FEATURE, Kind.CATEGORICAL, "int32", categories=("a", "b", "c")),
        Column("k", Role.VALUE, Kind.CATEGORICAL, "int32", categories=(1, 5, 9)),
        Column("t", Role.FEATURE, Kind.TEXT, "str", nullable=True),
        Column("f", Role.FEATURE, Kind.TENSOR, "float32", shape=(2,)),
    )
)
OPS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
CELLS: dict[str, Any] = {
    "x": np.array([1.0, np.nan, 3.0, 2.0]),
    "c": np.array([0, 1, -1, 2], np.int32),
    "k": np.array([2, 1, 0, 0], np.int32),
    "t": np.array(["u", "", "v", "w"], object),
    "f": np.zeros((4, 2), np.float32),
}


def _kept(*filters: Filter) -> list[bool]:
    kept: list[bool] = mask(filters, SCHEMA, CELLS).tolist()
    return kept


@given(
    op=st.sampled_from(list(OPS)),
    value=st.integers(-2, 2),
    cells=st.lists(st.integers(-2, 2), max_size=9),
)
def test_numbers_compare_as_in_python(op: str, value: int, cells: list[int]) -> None:
    found = mask([Filter("x", op, value)], SCHEMA, {"x": np.array(cells, np.float64)})
    assert found.tolist() == [OPS[op](cell, value) for cell in cells]


@given(
    op=st.sampled_from(list(OPS)),
    value=st.sampled_from([0, 1, 4, 5, 9]),
    codes=st.lists(st.integers(-1, 2), max_size=9),
)
def test_categories_compare_by_value(op: str, value: int, codes: list[int]) -> None:
    found = mask([Filter("k", op, value)], SCHEMA, {"k": np.array(codes, np.int32)})
    expected = [OPS[op]((1, 5, 9)[code], value) if code >= 0 else op == "!=" for code in codes]
    assert found.tolist() == expected


def test_by_hand() -> None:
    assert _kept(Filter("x", "present")) == [True, False, True, True]
    assert _kept(Filter("c", "present")) == [True, True, False, True]
    assert _kept(Filter("t", "present")) == [True, False, True, True]
    assert _kept(Filter("c", "in", ("a", "c"))) == [True, False, False, True]
    assert _kept(Filter("t", "in", ("u", "w"))) == [True, False, False, True]
    assert _kept(Filter("x", "in", (1.0, 2.0))) == [True, False, False, True]
    assert _kept(Filter("t", "==", "v")) == [False, False, True, False]
    assert _kept(Filter("x", ">", 1), Filter("c", "!=", "c")) == [False, False, True, False]
    assert _kept(Filter("x", "!=", 1.0)) == [False, True, True, True]


@pytest.mark.parametrize(
    "condition",
    [
        Filter("x", "~", 1),
        Filter("x", "in", 1),
        Filter("x", "==", (1.0,)),
        Filter("f", "==", 1),
        Filter("c", "<", 1),
        Filter("t", "<", 1),
    ],
)
def test_what_does_not_fit_is_refused(condition: Filter) -> None:
    with pytest.raises(ViewInvalid):
        _kept(condition)


def test_unknown_columns_are_named() -> None:
    with pytest.raises(ColumnUnknown):
        _kept(Filter("nope", "present"))
