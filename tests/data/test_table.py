"""Tables to predict on become the cells that a batch gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from expunge.core.errors import CellInvalid, ColumnUnknown, SchemaMismatch
from expunge.core.types import Column, Kind, Role
from expunge.data.table import cells

NAMES = ["age", "pay", "town", "note", "face"]


@pytest.fixture(scope="module")
def people(make: Any) -> pa.Table:
    return make.people(90)


@pytest.fixture(scope="module")
def columns(make: Any, people: pa.Table) -> list[Column]:
    schema = make.one(people).schema
    return [schema[name] for name in NAMES]


def _sources(people: pa.Table) -> dict[str, Any]:
    arrays = {name: people[name].to_numpy(zero_copy_only=False) for name in people.schema.names}
    arrays["face"] = np.stack(arrays["face"])
    return {
        "table": people,
        "batch": people.combine_chunks().to_batches()[0],
        "frame": people.to_pandas(),
        "mapping": arrays,
        "dicts": people.to_pylist(),
        "reader": people.to_reader(),
    }


@pytest.mark.parametrize("what", ["table", "batch", "frame", "mapping", "dicts", "reader"])
def test_any_table_gives_the_cells_of_the_batch(
    make: Any, people: pa.Table, columns: list[Column], what: str
) -> None:
    batch = make.one(people)
    places = batch.find_ids(people["id"].to_pylist(), make.ring)
    stored = batch.read(NAMES, 0, batch.rows)
    found = cells(columns, _sources(people)[what])
    assert list(found) == NAMES
    for name in NAMES:
        np.testing.assert_array_equal(found[name], stored[name][places])
        assert found[name].dtype == stored[name].dtype


def test_arrays_by_position() -> None:
    two = [Column(n, Role.FEATURE, Kind.NUMERIC, "float32") for n in "ab"]
    found = cells(two, np.array([[1, 2], [3, 4]]))
    assert found["b"].tolist() == [2.0, 4.0]
    assert found["b"].dtype == np.float32
    face = Column("face", Role.FEATURE, Kind.TENSOR, "float32", shape=(2, 3))
    assert cells([face], np.ones((5, 2, 3)))["face"].shape == (5, 2, 3)


def test_no_rows_are_no_rows(columns: list[Column], people: pa.Table) -> None:
    found = cells(columns, people.slice(0, 0))
    assert [len(found[name]) for name in NAMES] == [0] * 5
    assert found["face"].shape == (0, 2)


def test_an_unknown_category_is_not_declared(columns: list[Column]) -> None:
    assert cells([columns[2]], {"town": ["y", "elsewhere"]})["town"].tolist() == [1, -1]


def test_what_does_not_fit_is_refused(columns: list[Column], people: pa.Table) -> None:
    with pytest.raises(ColumnUnknown, match="'age'"):
        cells(columns, people.drop_columns(["age"]))
    with pytest.raises(ColumnUnknown, match="'age'"):
        cells(columns, [{"pay": 1.0}])
    with pytest.raises(CellInvalid, match="Row 2, column 'pay'"):
        cells([columns[1]], {"pay": [1.0, None]})
    with pytest.raises(SchemaMismatch, match="columns"):
        cells(columns[:2], np.ones((3, 5)))
    with pytest.raises(SchemaMismatch, match="shape"):
        cells([columns[4]], np.ones((3, 5)))
    with pytest.raises(SchemaMismatch, match="no table"):
        cells(columns, 17)
    with pytest.raises(SchemaMismatch, match="mappings"):
        cells(columns, ["text"])


def test_a_series_of_mixed_types_names_the_row(columns: list[Column]) -> None:
    with pytest.raises(CellInvalid, match="Row 2"):
        cells([columns[0]], pd.DataFrame({"age": [1, "x"]}))
