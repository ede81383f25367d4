"""The words as values: through JSON and back, and what of them is digested."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import ColumnUnknown
from expunge.core.types import Column, Filter, Guarantee, Kind, Role, Schema, Task, View

NAMES = st.text(min_size=1, max_size=5)
BOUNDS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
COLUMNS = st.builds(
    Column,
    name=NAMES,
    role=st.sampled_from(Role),
    kind=st.sampled_from(Kind),
    dtype=st.sampled_from(["float32", "int64", "int32", "str"]),
    shape=st.lists(st.integers(1, 9), max_size=3).map(tuple),
    categories=st.lists(st.text(max_size=3) | st.integers() | st.booleans(), max_size=3).map(tuple),
    low=BOUNDS,
    high=BOUNDS,
    nullable=st.booleans(),
)
SCHEMAS = st.builds(Schema, st.lists(COLUMNS, max_size=4).map(tuple), adopted=st.booleans())
SCALARS = st.text(max_size=3) | st.floats(allow_nan=False, allow_infinity=False)
FILTERS = st.one_of(
    st.builds(Filter, NAMES, st.sampled_from(["==", "<="]), SCALARS),
    st.builds(Filter, NAMES, st.just("in"), st.lists(SCALARS, max_size=3).map(tuple)),
    st.builds(Filter, NAMES, st.just("present"), st.none()),
)
VIEWS = st.builds(
    View,
    targets=st.lists(NAMES, max_size=2).map(tuple),
    features=st.lists(NAMES, max_size=3).map(tuple),
    weight=st.none() | NAMES,
    filters=st.lists(FILTERS, max_size=2).map(tuple),
    purpose=st.text(max_size=5),
)


def column(name: str = "age", **fields: object) -> Column:
    plain = Column(name, Role.FEATURE, Kind.NUMERIC, "float32")
    return dataclasses.replace(plain, **fields)  # type: ignore[arg-type]


@given(SCHEMAS)
def test_schemas_survive_json(schema: Schema) -> None:
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


@given(VIEWS)
def test_views_survive_json(view: View) -> None:
    assert View.from_json(json.loads(json.dumps(view.to_json()))) == view


def test_schema_digest_spelled_out() -> None:
    text = (
        b'[{"categories":[],"dtype":"float32","high":99.0,"kind":"numeric","low":0.5,"name":"age",'
        b'"nullable":true,"role":"feature","shape":[]}]'
    )
    parts = [b"expunge/schema/v1", text]
    spelled_out = b"".join(struct.pack("<Q", len(part)) + part for part in parts)

    schema = Schema((column(low=0.5, high=99.0, nullable=True),))
    assert schema.digest == hashlib.sha256(spelled_out).digest()


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Column)])
def test_every_field_of_a_column_shapes_the_digest(field: str) -> None:
    other = {
        "name": "income",
        "role": Role.VALUE,
        "kind": Kind.TENSOR,
        "dtype": "float64",
        "shape": (2,),
        "categories": ("a",),
        "low": 1.0,
        "high": 1.0,
        "nullable": True,
    }
    assert Schema((column(),)).digest != Schema((column(**{field: other[field]}),)).digest


def test_order_of_columns_shapes_the_digest_and_adoption_does_not() -> None:
    a, b = column("a"), column("b")
    assert Schema((a, b)).digest != Schema((b, a)).digest
    assert Schema((a, b), adopted=True).digest == Schema((a, b)).digest


def test_columns_are_found_by_name_and_by_role() -> None:
    schema = Schema((column("id", role=Role.ID), column("b"), column("a")))
    assert schema["a"].name == "a"
    assert [c.name for c in schema.of(Role.FEATURE)] == ["b", "a"]
    with pytest.raises(ColumnUnknown) as caught:
        schema["c"]
    assert caught.value.known == ["a", "b", "id"]


def test_a_task_knows_its_classes_and_the_width_of_a_prediction() -> None:
    label = column("label", kind=Kind.CATEGORICAL, dtype="int32", categories=("no", "yes"))
    assert Task((column(),), (label,)).classes == ("no", "yes")
    assert Task((column(),), (label,)).outputs == 2
    two = Task((column(),), (column("x"), column("y")))
    assert two.classes == ()
    assert two.outputs == 2


def test_guarantees_come_from_strong_to_weak() -> None:
    assert list(Guarantee) == ["exact", "rebuilt", "certified", "empirical", "attested"]


@pytest.mark.parametrize("value", [column(), Schema(()), View((), ()), Filter("a", "==", 1)])
def test_values_cannot_be_changed(value: object) -> None:
    field = dataclasses.fields(value)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, "x")
