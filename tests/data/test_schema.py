"""What a proposed schema tells, and what it must not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from expunge.data.options import Ingest
from expunge.data.schema import outward

FLOATS = st.floats(-1e300, 1e300).filter(lambda x: x == 0 or abs(x) > 1e-290)


@given(one=FLOATS, two=FLOATS)
def test_ranges_hold_what_was_seen_and_show_two_digits(one: float, two: float) -> None:
    low, high = sorted((one, two))
    declared = outward(low, high)
    assert declared[0] <= low <= high <= declared[1]
    largest = max(abs(Decimal(low)), abs(Decimal(high)))
    for bound in declared:
        digits = Decimal(repr(bound)).normalize()
        assert not digits or digits.as_tuple().exponent >= largest.adjusted() - 1


def test_ranges_by_hand() -> None:
    assert outward(0, 0) == (0.0, 0.0)
    assert outward(0.123, 0.987) == (0.12, 0.99)
    assert outward(17, 1234) == (0.0, 1300.0)
    assert outward(-1234, -17) == (-1300.0, 0.0)


@given(holders=st.lists(st.integers(1, 14), min_size=1, max_size=5), seed=st.integers(0, 9))
def test_values_of_fewer_than_ten_people_are_hidden(
    make: Any, holders: list[int], seed: int
) -> None:
    pairs = [(f"c{c}", f"p{c}-{p}") for c, n in enumerate(holders) for p in range(n)]
    pairs += pairs  # twice the rows are not twice the people
    rng = np.random.default_rng(seed)
    pairs = [pairs[i] for i in rng.permutation(len(pairs))]
    table = pa.table({"c": [c for c, _ in pairs], "who": [w for _, w in pairs]})
    staged = make.staged(table.to_batches(max_chunksize=7), Ingest(subjects=("who",)))
    expected = [f"c{c}" for c, n in enumerate(holders) if n >= 10]
    assert list(staged.schema["c"].categories) == expected
    hidden = len(holders) - len(expected)
    assert staged.hidden == ({"c": hidden} if hidden else {})


def test_hidden_values_are_code_minus_one_and_others_keep_theirs(make: Any) -> None:
    cells = ["rare"] + ["b"] * 12 + ["a"] * 12
    batch = make.one({"c": cells, "i": list(map(str, range(25)))}, Ingest(id="i"))
    codes = dict(make.rows(batch, "i", "c"))
    assert (codes["0"], codes["1"], codes["24"]) == (-1, 1, 0)


def test_target_classes_are_never_hidden(make: Any) -> None:
    staged = make.staged({"y": ["one"], "k": [3]}, Ingest(values=("y", "k"), categorical=("k",)))
    assert staged.schema["y"].categories == ("one",)
    assert staged.schema["k"].categories == (3,)


def test_booleans_and_bytes_keep_their_natural_range(make: Any) -> None:
    schema = make.staged({"b": [True], "u": np.array([7], np.uint8)}, None).schema
    assert schema["b"].categories == (False, True)
    assert (schema["u"].low, schema["u"].high) == (0.0, 255.0)


def test_a_proposal_is_adopted_and_a_declared_schema_is_not(make: Any) -> None:
    from dataclasses import replace

    staged = make.staged(make.people(30))
    assert staged.schema.adopted
    declared = replace(staged.schema, adopted=False)
    again = make.staged(make.people(30), Ingest(schema=declared)).schema
    assert again == declared


def test_types_are_those_of_the_source(make: Any) -> None:
    table = pa.table(
        {
            "h": pa.array([1.5], pa.float16()),
            "d": pa.array([Decimal("1.5")]),
            "u": pa.array([2**63], pa.uint64()),
            "c": pa.array(["v"]).dictionary_encode(),
            "l": pa.array(["v"], pa.large_string()),
            "v": pa.array(["v"], pa.string_view()),
        }
    )
    batch = make.one(table, Ingest(values=("c", "l", "v")))
    assert [batch.schema[n].dtype for n in "hducl"] == [
        "float16",
        "float64",
        "uint64",
        "int32",
        "int32",
    ]
    assert batch.read(["u"], 0, 1)["u"].tolist() == [2**63]
    assert batch.schema["v"].categories == ("v",)
