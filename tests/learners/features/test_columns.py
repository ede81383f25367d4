"""Cells become integers by the declared range alone."""

from __future__ import annotations

import numpy as np
import pytest

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column, Kind, Role
from expunge.learners.features.columns import Columns

AGE = Column("age", Role.FEATURE, Kind.NUMERIC, "float64", low=0, high=100, nullable=True)
TIME = Column("time", Role.FEATURE, Kind.NUMERIC, "int64", low=1_700_000_000, high=1_700_000_100)
POINT = Column("point", Role.FEATURE, Kind.NUMERIC, "float32", low=3, high=3)
PET = Column("pet", Role.FEATURE, Kind.CATEGORICAL, "int32", categories=("cat", "dog", "fish"))
PIXELS = Column("pixels", Role.FEATURE, Kind.TENSOR, "uint8", shape=(2, 2))
SIGNAL = Column("signal", Role.FEATURE, Kind.TENSOR, "float32", (2,), low=-1, high=1, nullable=True)
FREE = Column("free", Role.FEATURE, Kind.NUMERIC, "float64")
HALF = Column("half", Role.FEATURE, Kind.NUMERIC, "float64", low=0)
FLOATS = Column("floats", Role.FEATURE, Kind.TENSOR, "float32", shape=(2,))
TEXT = Column("text", Role.FEATURE, Kind.TEXT, "str")


def test_known_answer():
    cells = {
        "age": np.array([25.0, np.nan, 1e9]),
        "time": np.array([1_700_000_025, 1_700_000_100, 0]),
        "point": np.array([3, 3, 9], np.float32),
        "pet": np.array([1, -1, 2], np.int32),
        "pixels": np.array([[[0, 51], [254, 255]]] * 3, np.uint8),
        "signal": np.array([[0, 1], [np.nan, -1], [-np.inf, np.inf]], np.float32),
    }
    # 25 % of 255 is 63.75; half of it is 127.5, and the even neighbour is 128.
    pixels = [0, 51, 254, 255]
    integers = Columns().integers((AGE, TIME, POINT, PET, PIXELS, SIGNAL), cells)
    assert integers.tolist() == [
        [64, 0, 64, 0, 0, 255, 0, *pixels, 128, 255, 0],
        [0, 255, 255, 0, 0, 0, 0, *pixels, 0, 0, 255],
        [255, 0, 0, 0, 0, 0, 255, *pixels, 0, 255, 0],
    ]


@pytest.mark.parametrize(("bits", "middle"), [(1, 1), (4, 8), (7, 64), (8, 128), (15, 16448)])
def test_bytes_of_images_keep_as_many_bits_as_asked_for(bits, middle):
    cells = {"pixels": np.array([[[0, 128], [255, 0]]], np.uint8)}
    columns = Columns(bits)
    top = columns.top((PIXELS,))
    assert columns.integers((PIXELS,), cells).tolist() == [[0, middle, top, 0]]
    assert columns.scale((PIXELS,)) * top == pytest.approx(1)


def test_bytes_with_a_declared_range_are_scaled_by_it():
    dark = Column("dark", Role.FEATURE, Kind.TENSOR, "uint8", shape=(3,), low=0, high=51)
    cells = {"dark": np.array([[0, 51, 200]], np.uint8)}
    assert Columns().integers((dark,), cells).tolist() == [[0, 255, 255]]


def test_large_integers_far_from_zero_keep_their_places():
    cells = {"time": np.arange(1_700_000_000, 1_700_000_101)}
    assert len(set(Columns().integers((TIME,), cells)[:, 0].tolist())) == 101


def test_a_missing_cell_of_a_column_that_declares_none_is_zero():
    whole = Column("whole", Role.FEATURE, Kind.NUMERIC, "float64", low=-5, high=5)
    assert Columns().integers((whole,), {"whole": np.array([np.nan, 0.0])}).tolist() == [[0], [128]]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ((AGE, TEXT), "ngrams"),
        ((), "no feature columns"),
        ((FREE,), "Declare"),
        ((HALF,), "Declare"),
        ((FLOATS,), "Declare"),
    ],
)
def test_what_cannot_be_rounded_is_refused_with_advice(columns, words):
    with pytest.raises(RecipeInvalid, match=words):
        Columns().width(columns)


@pytest.mark.parametrize("bits", [0, 16, 8.0, True, "8"])
def test_bits_that_do_not_fit_are_refused(bits):
    with pytest.raises(RecipeInvalid, match="bits"):
        Columns(bits)
