"""Rows become vectors by the schema alone, each by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column, Kind, Role
from expunge.learners import encoding

AGE = Column("age", Role.FEATURE, Kind.NUMERIC, "float64", low=0, high=100, nullable=True)
TIME = Column("time", Role.FEATURE, Kind.NUMERIC, "int64", low=1_700_000_000, high=1_700_000_100)
RAW = Column("raw", Role.FEATURE, Kind.NUMERIC, "float32")
POINT = Column("point", Role.FEATURE, Kind.NUMERIC, "float32", low=3, high=3)
PET = Column("pet", Role.FEATURE, Kind.CATEGORICAL, "int32", categories=("cat", "dog", "fish"))
PIXELS = Column("pixels", Role.FEATURE, Kind.TENSOR, "uint8", shape=(2, 3))
SIGNAL = Column("signal", Role.FEATURE, Kind.TENSOR, "float32", (2,), low=-1, high=1, nullable=True)
TEXT = Column("text", Role.FEATURE, Kind.TEXT, "str")
ALL = (AGE, TIME, RAW, POINT, PET, PIXELS, SIGNAL)


def table(rows, seed):
    rng = np.random.default_rng(seed)
    age = rng.uniform(0, 100, rows)
    age[rng.random(rows) < 0.3] = np.nan
    signal = rng.uniform(-1, 1, (rows, 2)).astype(np.float32)
    signal[rng.random(rows) < 0.3, 0] = np.nan
    return {
        "age": age,
        "time": rng.integers(1_700_000_000, 1_700_000_101, rows),
        "raw": rng.normal(size=rows).astype(np.float32),
        "point": np.full(rows, 3, np.float32),
        "pet": rng.integers(-1, 3, rows).astype(np.int32),
        "pixels": rng.integers(0, 256, (rows, 2, 3)).astype(np.uint8),
        "signal": signal,
    }


@given(rows=st.integers(0, 60), seed=st.integers(0, 99), block=st.sampled_from([1, 50, 1 << 18]))
def test_every_row_is_encoded_by_itself_to_the_bit(rows, seed, block):
    features = table(rows, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "_BLOCK_CELLS", block)
        together = encoding.dense(ALL, features)
    assert together.shape == (rows, encoding.width(ALL))
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    for row in range(rows):
        alone = encoding.dense(
            ALL, {name: cells[row : row + 1] for name, cells in features.items()}
        )
        assert alone.tobytes() == together[row].tobytes()


def test_known_answer():
    features = {
        "age": np.array([25.0, np.nan]),
        "time": np.array([1_700_000_025, 1_700_000_100]),
        "raw": np.array([-7, 7], np.float32),
        "point": np.array([3, 3], np.float32),
        "pet": np.array([1, -1], np.int32),
        "pixels": np.array([[[0, 51, 255]] * 2] * 2, np.uint8),
        "signal": np.array([[0, 1], [np.nan, -1]], np.float32),
    }
    pixels = [0, np.float32(0.2), 1] * 2
    np.testing.assert_array_equal(
        encoding.dense(ALL, features),
        np.array(
            [
                [0.25, 0, 0.25, -7, 0, 0, 1, 0, *pixels, 0.5, 1, 0],
                [0, 1, 1, 7, 0, 0, 0, 0, *pixels, 0, 0, 1],
            ],
            np.float32,
        ),
    )


def test_read_only_cells_are_left_as_they_are():
    features = table(5, seed=1)
    for cells in features.values():
        cells.flags.writeable = False
    assert encoding.dense(ALL, features).flags.writeable


@pytest.mark.parametrize(
    ("columns", "words"), [((AGE, TEXT), "HashingVectorizer"), ((), "no feature columns")]
)
def test_what_has_no_encoding_is_refused_with_advice(columns, words):
    with pytest.raises(RecipeInvalid, match=words):
        encoding.dense(columns, {"age": np.ones(1), "text": np.array(["secret"], object)})
