"""ROC, AUC and low-FPR rates: against scikit-learn, by hand, and on groups that are alike."""

from __future__ import annotations

import numpy as np
import pytest
from draws import normal
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import InputError
from expunge.metrics import roc

SCORES = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=30)


@given(SCORES, SCORES)
def test_auc_is_the_chance_of_a_higher_score(positive: list[float], negative: list[float]) -> None:
    above, below = np.array(positive)[:, None], np.array(negative)
    expected = ((above > below) + 0.5 * (above == below)).mean()
    assert roc.auc(positive, negative) == pytest.approx(expected)
    assert roc.auc(negative, positive) == pytest.approx(1 - expected)
    assert roc.two_sided(expected) == pytest.approx(roc.two_sided(1 - expected))


@given(SCORES, SCORES)
def test_the_area_under_the_curve_is_the_auc(positive: list[float], negative: list[float]) -> None:
    curve = roc.roc(positive, negative)
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(roc.auc(positive, negative))
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)


@given(SCORES, SCORES)
def test_scikit_learn_agrees(positive: list[float], negative: list[float]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth = np.repeat([1, 0], [len(positive), len(negative)])
    theirs = metrics.roc_auc_score(truth, positive + negative)
    assert roc.auc(positive, negative) == pytest.approx(theirs)
    fpr, tpr, _ = metrics.roc_curve(truth, positive + negative, drop_intermediate=False)
    curve = roc.roc(positive, negative)
    np.testing.assert_allclose([curve.fpr, curve.tpr], [fpr, tpr])
    at = tpr[np.flatnonzero(fpr <= 0.1 + 1e-9)[-1]]
    assert roc.tpr_at(positive, negative, 0.1).value == pytest.approx(at)


@given(SCORES, SCORES)
def test_an_area_lies_in_its_interval(positive: list[float], negative: list[float]) -> None:
    area = roc.auc(positive, negative)
    low, high = roc.auc_interval(area, len(positive), len(negative))
    assert 0 <= low <= area <= high <= 1
    turned = roc.auc_interval(1 - area, len(positive), len(negative))
    assert turned == pytest.approx((1 - high, 1 - low), abs=1e-6)


def test_a_perfect_attack_on_few_rows_is_still_uncertain() -> None:
    low, high = roc.auc_interval(1.0, 10, 10)
    assert 0.6 < low < 0.95
    assert high == 1


def test_groups_that_are_alike_hold_half_in_their_interval() -> None:
    ends = [
        roc.auc_interval(roc.auc(row[:60], row[60:]), 60, 100) for row in normal(2000, 160, about=1)
    ]
    assert np.mean([low <= 0.5 <= high for low, high in ends]) == pytest.approx(0.95, abs=0.012)


def test_the_null_standard_error_is_that_of_the_power_notes() -> None:
    errors = [roc.null_standard_error(n, n) for n in (64, 128, 512)]
    assert errors == pytest.approx([0.051, 0.036, 0.018], abs=5e-4)
    areas = [roc.auc(row[:64], row[64:]) for row in normal(3000, 128, about=2)]
    assert np.std(areas) == pytest.approx(errors[0], rel=0.05)


def test_the_rate_under_chance_is_the_exact_null() -> None:
    rates = [roc.tpr_at(row[:50], row[50:], 0.05) for row in normal(3000, 150, about=3)]
    low, high = roc.tpr_null(50, 100, 0.05)
    inside = [low <= rate.value <= high for rate in rates]
    assert np.mean(inside) >= 0.95
    # Six of the negatives and the positives above the sixth share the order: mean 50 · 6 / 101.
    assert np.mean([rate.successes for rate in rates]) == pytest.approx(50 * 6 / 101, rel=0.05)


def test_over_forgetting_is_a_leak_as_well() -> None:
    unseen = normal(400, about=4)
    pushed_away = normal(400, about=5) - 4
    area = roc.auc(pushed_away, unseen)
    assert area < 0.02
    assert roc.two_sided(area) > 0.98
    upwards, downwards = roc.tpr_both_ways(pushed_away, unseen, 0.01)
    assert upwards.value < 0.01
    assert downwards.value > 0.5


def test_a_threshold_by_hand() -> None:
    rate = roc.tpr_at([3.0, 2.0, 1.0], [2.5, 0.5, 0.0, -1.0], 0.25)
    # One false positive is allowed: the threshold is the second negative, 0.5.
    assert (rate.successes, rate.trials, rate.allowed) == (3, 3, 1)
    strict = roc.tpr_at([3.0, 2.0, 1.0], [2.5, 0.5, 0.0, -1.0], 0.001)
    assert (strict.successes, strict.allowed) == (1, 0)


def test_tied_scores_are_no_hits() -> None:
    assert roc.tpr_at([1.0] * 5, [1.0] * 5, 0.1).value == 0
    assert roc.auc([1.0] * 5, [1.0] * 5) == 0.5


def test_no_scores_are_refused() -> None:
    with pytest.raises(InputError, match="positive"):
        roc.auc([], [1.0])
    with pytest.raises(InputError, match="AUC"):
        roc.auc_interval(1.2, 3, 3)


def test_the_adversarial_robustness_toolbox_agrees() -> None:
    theirs = pytest.importorskip("art.metrics.privacy.worst_case_mia_score")
    members, others = normal(300, about=8) + 1, normal(500, about=9)
    truth = np.repeat([1, 0], [300, 500])
    for fpr in (0.001, 0.01, 0.1):
        [(_, expected, _)] = theirs.get_roc_for_fpr(
            np.concatenate([members, others]), truth, targeted_fpr=fpr
        )
        assert roc.tpr_at(members, others, fpr).value == pytest.approx(expected)
