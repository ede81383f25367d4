from __future__ import annotations

import hmac
import struct

import numpy as np
import pyarrow as pa

from expunge.core.types import Column, Kind, Role, Schema
from expunge.data.layout import MANY, SALT
from expunge.data.rows import canonical_rows, commitments

SCHEMA = Schema(
    (
        Column("id", Role.ID, Kind.TEXT, "str"),
        Column("who", Role.SUBJECT, Kind.TEXT, "str"),
        Column("also", Role.SUBJECT, Kind.TEXT, "str", nullable=True),
        Column("age", Role.FEATURE, Kind.NUMERIC, "uint8"),
        Column("pay", Role.FEATURE, Kind.NUMERIC, "float32", nullable=True),
        Column("note", Role.FEATURE, Kind.TEXT, "str", nullable=True),
        Column("town", Role.FEATURE, Kind.CATEGORICAL, "int32", categories=("x", "y")),
        Column("face", Role.FEATURE, Kind.TENSOR, "int16", shape=(2,)),
        Column("label", Role.VALUE, Kind.CATEGORICAL, "int32", categories=(0, 1, 2)),
    )
)
SALTS = [bytes(range(16)), b"\xff" * 16]


def _table() -> pa.RecordBatch:
    return pa.record_batch(
        {
            SALT: pa.array(SALTS, pa.binary(16)),
            "id": ["a", "né"],
            "who": ["p", "q"],
            "also": ["", "r"],
            "age": pa.array([7, 255], pa.uint8()),
            "pay": pa.array([1.5, np.nan], pa.float32()),
            "note": ["", "hi"],
            "town": pa.array([1, -1], pa.int32()),
            "face": pa.array([[1, -2], [3, 4]], pa.list_(pa.int16(), 2)),
            "label": pa.array([2, 0], pa.int32()),
        }
    )


def _text(text: str) -> bytes:
    return struct.pack("<I", len(text.encode())) + text.encode()


# Cells: age, pay, note, town, face, label. Bits of missing ones: pay 1, note 2, town 3.
FIRST = (
    _text("a")
    + struct.pack("<I", 1)
    + _text("p")
    + bytes([0b000100])
    + struct.pack("<Bf", 7, 1.5)
    + _text("")
    + struct.pack("<ihhi", 1, 1, -2, 2)
)
SECOND = (
    _text("né")
    + struct.pack("<I", 2)
    + _text("q")
    + _text("r")
    + bytes([0b001010])
    + bytes([255])
    + bytes.fromhex("0000c07f")
    + _text("hi")
    + struct.pack("<ihhi", -1, 3, 4, 0)
)


def test_canonical_rows_are_as_the_page_says() -> None:
    assert canonical_rows(_table(), SCHEMA).to_pylist() == [FIRST, SECOND]


def test_commitments_are_hmacs_of_canonical_rows() -> None:
    expected = [hmac.digest(s, r, "sha256") for s, r in zip(SALTS, [FIRST, SECOND], strict=True)]
    assert [row.tobytes() for row in commitments(_table(), SCHEMA)] == expected


def test_a_slice_of_a_table_commits_to_its_own_rows() -> None:
    whole = commitments(_table(), SCHEMA)
    np.testing.assert_array_equal(commitments(_table().slice(1), SCHEMA), whole[1:])


def test_a_list_of_subjects_counts_as_many() -> None:
    schema = Schema((SCHEMA["id"], Column("who", Role.SUBJECT, Kind.TEXT, MANY)))
    table = pa.record_batch({"id": ["a", "b"], "who": [["p"], ["q", "r"]]})
    first = _text("a") + struct.pack("<I", 1) + _text("p")
    second = _text("b") + struct.pack("<I", 2) + _text("q") + _text("r")
    assert canonical_rows(table, schema).to_pylist() == [first, second]
    assert canonical_rows(table.slice(1), schema).to_pylist() == [second]


def test_no_subjects_are_a_count_of_zero() -> None:
    schema = Schema((SCHEMA["id"], SCHEMA["age"]))
    table = pa.record_batch({"id": ["a"], "age": pa.array([7], pa.uint8())})
    expected = _text("a") + struct.pack("<I", 0) + bytes([0, 7])
    assert canonical_rows(table, schema).to_pylist() == [expected]
