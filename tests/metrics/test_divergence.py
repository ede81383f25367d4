"""Distances of answers and weights: by hand, and beside what two retrainings have."""

from __future__ import annotations

import math

import numpy as np
import pytest
from draws import normal, softmax
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import InputError
from expunge.metrics import divergence

LOGITS = st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), min_size=3, max_size=3)


@given(LOGITS, LOGITS)
def test_jensen_shannon_is_symmetric_bounded_and_zero_for_equals(
    first: list[list[float]], second: list[list[float]]
) -> None:
    a, b = softmax(np.array(first)), softmax(np.array(second))
    found = divergence.jensen_shannon(a, b)
    np.testing.assert_allclose(found, divergence.jensen_shannon(b, a), atol=1e-12)
    assert ((found >= 0) & (found <= math.log(2))).all()
    assert divergence.jensen_shannon(a, a) == pytest.approx(0)
    assert divergence.activation_distance(a, a) == 0


@given(LOGITS, LOGITS)
def test_scipy_agrees(first: list[list[float]], second: list[list[float]]) -> None:
    from scipy.spatial import distance

    a, b = softmax(np.array(first)), softmax(np.array(second))
    theirs = [distance.jensenshannon(x, y) ** 2 for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(divergence.jensen_shannon(a, b), theirs, atol=1e-7)


def test_known_answers() -> None:
    one, other = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert divergence.jensen_shannon(one, other) == pytest.approx([math.log(2)])
    assert divergence.activation_distance(one, other) == pytest.approx(math.sqrt(2))


def test_klom_by_hand() -> None:
    # Two bins: unlearned ¾ and ¼, oracle ½ and ½.
    unlearned, oracle = (
        np.array([[0.0], [0.0], [0.0], [1.0]]),
        np.array([[0.0], [1.0], [0.0], [1.0]]),
    )
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert divergence.klom(unlearned, oracle, bins=2) == pytest.approx([expected])
    apart = divergence.klom(np.zeros((4, 1)), np.ones((4, 1)))
    assert apart == pytest.approx([math.log(1e5)])


def test_klom_of_equals_is_zero_and_of_like_populations_is_its_null() -> None:
    oracle, unlearned = normal(64, 200, about=1), normal(32, 200, about=2)
    assert divergence.klom(oracle, oracle) == pytest.approx(0)
    found = divergence.klom(unlearned, oracle[:32]).mean()
    null = divergence.klom_null(oracle).mean()
    # Far from 0, although nothing is to be found: only its null tells.
    assert found > 1
    assert found == pytest.approx(null, rel=0.05)
    assert divergence.klom(unlearned + 3, oracle[:32]).mean() > 2 * null


def test_klom_of_a_row_without_width_is_zero() -> None:
    assert divergence.klom(np.full((4, 2), 3.0), np.full((5, 2), 3.0)).tolist() == [0.0, 0.0]


def test_far_margins_are_clipped() -> None:
    a, b = normal(8, 3), normal(8, 3, about=1)
    np.testing.assert_array_equal(
        divergence.klom(np.where(a > 1, 1e9, a), b), divergence.klom(np.where(a > 1, 100.0, a), b)
    )


def test_calibration_by_hand() -> None:
    # Confidence 0.8 four times, right three times: 0.05 in its bin, with 4 of 6 rows.
    shares = np.array([[0.8, 0.2]] * 4 + [[0.6, 0.4]] * 2)
    labels = np.array([0, 0, 0, 1, 0, 1])
    assert divergence.calibration_error(shares, labels, 5) == pytest.approx(
        (4 * 0.05 + 2 * 0.1) / 6
    )


def test_certain_and_right_is_calibrated() -> None:
    assert divergence.calibration_error(np.eye(3), np.arange(3)) == 0
    assert divergence.calibration_error(np.eye(3), (np.arange(3) + 1) % 3) == 1


def test_distances_of_parameters() -> None:
    first, second = (
        [np.array([1.0, 2.0]), np.array([[3.0]])],
        [np.array([1.0, 2.0]), np.array([[0.0]])],
    )
    moved = divergence.parameters(first, second)
    assert (moved.distance, moved.relative) == pytest.approx((3.0, 3 / math.sqrt(5)))
    for other in ([np.array([1.0, 2.0])], [np.ones(3), np.ones((1, 1))], []):
        with pytest.raises(InputError, match="shape"):
            divergence.parameters(first, other)
    with pytest.raises(InputError, match="positive"):
        divergence.parameters([np.ones(2)], [np.zeros(2)])


def test_predictions_about_other_rows_are_refused() -> None:
    with pytest.raises(InputError, match="same rows"):
        divergence.jensen_shannon(np.eye(2), np.eye(3))
    with pytest.raises(InputError, match="bins"):
        divergence.klom(normal(4, 2), normal(4, 2), bins=1)
