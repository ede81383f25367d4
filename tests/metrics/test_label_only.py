"""Labels alone: hits tell a gap, noise tells how far the boundary is."""

from __future__ import annotations

import numpy as np
import pytest
from draws import normal

from expunge.core.errors import InputError
from expunge.metrics import intervals, label_only, roc
from expunge.metrics.arrays import Numbers


def positive(rows: Numbers) -> object:
    return (rows[:, 0] > 0).astype(np.int64)


def test_a_gap_by_hand() -> None:
    found = label_only.gap([1, 1, 1, 0], [1, 0])
    assert found.value == pytest.approx(0.25)
    assert found.accuracy == pytest.approx(0.625)
    assert (found.low, found.high) == intervals.difference((3, 4), (1, 2))


def test_a_retrained_model_has_no_gap_and_over_forgetting_has_one_below() -> None:
    unseen, forgotten = normal(800) < 0.8, normal(800, about=1) < 0.8
    fair = label_only.gap(forgotten, unseen)
    assert fair.low <= 0 <= fair.high
    assert label_only.gap(normal(800, about=2) < -1, unseen).high < 0


def test_robustness_follows_the_distance_to_the_boundary() -> None:
    rows = np.array([[0.01, 0.0], [0.5, 0.0], [3.0, 0.0], [-3.0, 0.0]])
    found = label_only.robustness(positive, rows, np.ones(4, dtype=np.int64), [0.3, 1.0])
    assert found[0] < found[1] < found[2] == 1
    assert found[3] == 0


def test_robustness_is_the_share_that_a_normal_has_beyond_the_boundary() -> None:
    found = label_only.robustness(
        positive, np.array([[1.0, 5.0]]), np.array([1]), [1.0], repeats=4000
    )
    assert found == pytest.approx([0.8413], abs=0.02)


def test_robustness_is_fair_to_a_model_that_never_saw_the_rows() -> None:
    rows = normal(600, 2, about=3)
    scores = label_only.robustness(positive, rows, positive(rows), [0.5])
    low, high = roc.auc_interval(roc.auc(scores[:300], scores[300:]), 300, 300, 0.99)
    assert low <= 0.5 <= high


def test_what_is_no_hit_is_refused() -> None:
    with pytest.raises(InputError, match="hits"):
        label_only.gap([0.5], [1.0])
    with pytest.raises(InputError, match="scales"):
        label_only.robustness(positive, np.ones((2, 2)), np.ones(2), [])
    with pytest.raises(InputError, match="scales"):
        label_only.robustness(positive, np.ones((2, 2)), np.ones(3), [1.0])
