"""Cosines of random projections, counted in whole phases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column, Kind, Role
from expunge.learners.features import draws, fourier
from expunge.learners.features.columns import Columns
from expunge.learners.features.fourier import Fourier

POINT = Column("x", Role.FEATURE, Kind.TENSOR, "float32", shape=(3,), low=-1, high=1)
PIXELS = Column("x", Role.FEATURE, Kind.TENSOR, "uint8", shape=(28, 28))


def test_known_answer():
    """Phases by Python's own integers, of any length."""
    features = Fourier(features=6, bits=10, seed=2)
    points = np.random.default_rng(0).uniform(-1, 1, (8, 3)).astype(np.float32)
    inputs = Columns(bits=12).integers((POINT,), {"x": points})
    directions = fourier._directions(2, 3, 6, 0.25)
    begins = draws.uniforms((6,), "fourier", "phases", 2)
    expected = [
        [
            sum(int(a) * int(b) for a, b in zip(row, directions[:, k], strict=True))
            + (int(begins[k]) << 16)
            for k in range(6)
        ]
        for row in inputs
    ]
    turns = [[(phase >> 16) % 65536 / 65536 for phase in row] for row in expected]
    cosines = [[round(511 * math.cos(2 * math.pi * turn)) for turn in row] for row in turns]
    assert features.integers((POINT,), {"x": points}).tolist() == cosines


def test_products_are_the_gaussian_kernel():
    features = Fourier(features=20_000, bits=10, bandwidth=0.5)
    points = np.random.default_rng(0).uniform(-1, 1, (30, 3)).astype(np.float32)
    values = features.integers((POINT,), {"x": points}) * features.scale((POINT,))
    gaps = np.sum(((points[:, None] - points) / 2) ** 2, axis=2)
    kernel = np.exp(-gaps / (2 * (0.5**2 * 3)))
    np.testing.assert_allclose(values @ values.T, kernel, atol=0.03)


def test_the_brightest_image_is_exact_in_float64():
    bright = np.full((1, 28, 28), 255, np.uint8)
    directions = fourier._directions(0, 784, 64, 0.01)
    sums = directions.astype(np.int64).sum(axis=0) * 4095
    assert np.abs(directions).sum(axis=0).max() * 4095 < 1 << 53
    begins = draws.uniforms((64,), "fourier", "phases", 0)
    phases = ((sums >> 16) + begins) % 65536
    features = Fourier(features=64, bandwidth=0.01)
    expected = fourier._cosines(127)[phases]
    np.testing.assert_array_equal(features.integers((PIXELS,), {"x": bright})[0], expected)


@pytest.mark.parametrize("bits", range(2, 16))
def test_no_cosine_lies_so_near_to_a_half_that_libraries_could_disagree(bits):
    top = (1 << bits - 1) - 1
    exact = top * np.cos(2 * np.pi * np.arange(65536) / 65536)
    assert np.abs(exact - np.floor(exact) - 0.5).min() > 1e-9
    table = fourier._cosines(top)
    assert table[0] == top
    assert table[32768] == -top
    assert table[16384] == 0
    np.testing.assert_array_equal(table[1:], table[:0:-1])


def test_more_features_leave_the_first_ones_as_they_are():
    few, many = fourier._directions(0, 5, 4, 0.25), fourier._directions(0, 5, 40, 0.25)
    np.testing.assert_array_equal(few, many[:, :4])


def test_directions_are_whole_and_gaussian():
    directions = fourier._directions(1, 50, 2000, 0.25)
    assert (directions == np.rint(directions)).all()
    turn = 2 * math.pi * 4095 * 0.25 * math.sqrt(50)
    standard = directions / (2**32 / turn)
    assert abs(standard.mean()) < 0.01
    assert abs(standard.std() - 1) < 0.01
    assert abs((standard**4).mean() - 2.9) < 0.05  # twelve uniform parts: 3 - 1.2 / 12


def test_a_bandwidth_that_float64_cannot_count_is_refused():
    with pytest.raises(RecipeInvalid, match="greater `bandwidth`"):
        Fourier(features=4, bandwidth=1e-9).integers((POINT,), {"x": np.ones((1, 3), np.float32)})


@pytest.mark.parametrize(
    "fields",
    [{"features": 0}, {"bits": 1}, {"bits": 16}, {"bandwidth": 0}, {"bandwidth": float("inf")}],
)
def test_fields_that_make_no_sense_are_refused(fields):
    with pytest.raises(RecipeInvalid, match=next(iter(fields))):
        Fourier(**fields)


def test_text_is_refused_with_advice():
    with pytest.raises(RecipeInvalid, match="ngrams"):
        Fourier().width((Column("t", Role.FEATURE, Kind.TEXT, "str"),))
