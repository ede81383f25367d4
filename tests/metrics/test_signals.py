"""What models say, as one number: by hand, against each other, and at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import InputError
from expunge.metrics import signals, thresholds

LOGITS = st.lists(st.lists(st.floats(-30, 30), min_size=3, max_size=3), min_size=1, max_size=8)


@given(LOGITS)
def test_phi_of_a_softmax_is_the_margin_of_its_logits(rows: list[list[float]]) -> None:
    logits, labels = np.array(rows), np.arange(len(rows)) % 3
    np.testing.assert_allclose(
        signals.phi(signals.softmax(logits), labels), signals.margin(logits, labels), atol=1e-6
    )


@given(LOGITS)
def test_every_signal_is_finite_and_within_its_range(rows: list[list[float]]) -> None:
    shares, labels = signals.softmax(np.array(rows)), np.zeros(len(rows), dtype=np.int64)
    for score in thresholds.SCORES.values():
        assert np.isfinite(score(shares, labels)).all()
    assert (signals.loss(shares, labels) >= 0).all()
    assert (signals.entropy(shares) <= math.log(3) + 1e-9).all()
    assert (signals.modified_entropy(shares, labels) >= 0).all()


def test_known_answers() -> None:
    shares, labels = np.array([[0.5, 0.25, 0.25]]), np.array([1])
    assert signals.confidence(shares, labels) == pytest.approx([0.25])
    assert signals.loss(shares, labels) == pytest.approx([math.log(4)])
    assert signals.entropy(shares) == pytest.approx([1.5 * math.log(2)])
    assert signals.phi(shares, labels) == pytest.approx([math.log(0.25 / 0.75)])
    by_hand = -(0.75 * math.log(0.25) + 0.5 * math.log(0.5) + 0.25 * math.log(0.75))
    assert signals.modified_entropy(shares, labels) == pytest.approx([by_hand])
    assert signals.correctness(shares, labels).tolist() == [0.0]
    assert signals.correctness(np.array([[0.4, 0.4, 0.2]]), labels).tolist() == [0.5]


def test_a_certain_mistake_does_not_look_like_a_certain_hit() -> None:
    certain = np.array([[1.0, 0.0], [1.0, 0.0]])
    hit, mistake = signals.modified_entropy(certain, np.array([0, 1]))
    assert hit == 0
    assert mistake > 100


def test_phi_is_not_lost_where_the_true_class_is_almost_certain() -> None:
    # 1 − p_y would be 0 here; the sum over the others is not.
    shares = np.array([[1.0, 1e-20, 1e-20]])
    assert signals.phi(shares, np.array([0])) == pytest.approx([-math.log(2e-20)])


def test_certainty_has_finite_signals() -> None:
    both = signals.phi(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
    assert both == pytest.approx([103.62, -103.62], abs=0.01)


@pytest.mark.parametrize(
    ("shares", "labels"),
    [
        ([[0.5, 0.6]], [0]),
        ([[1.5, -0.5]], [0]),
        ([[0.5, 0.5]], [2]),
        ([[0.5, 0.5]], [-1]),
        ([[0.5, 0.5]], [0, 1]),
        ([[0.5, 0.5]], [0.0]),
        ([[float("nan"), 1.0]], [0]),
        ([[1.0]], [0]),
        ([0.5, 0.5], [0]),
    ],
)
def test_what_is_no_prediction_is_refused(shares: object, labels: object) -> None:
    with pytest.raises(InputError):
        signals.phi(np.array(shares), np.array(labels))


def test_hits_and_misses_are_recognised() -> None:
    with pytest.raises(InputError, match="hits and misses"):
        signals.need_spread(np.array([0.0, 1.0, 1.0]), "signals")
    signals.need_spread(np.array([0.0, 1.0, 0.5]), "signals")
    signals.need_spread(np.array([2.0, 3.0]), "signals")
