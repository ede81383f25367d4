"""How much is needed: the figures of the notes, and simulations that agree with the formulas."""

from __future__ import annotations

import numpy as np
import pytest
from draws import normal
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from expunge.core.errors import InputError
from expunge.metrics import equivalence, intervals, one_run, power, roc


def test_ceilings_of_epsilon_are_those_of_the_notes() -> None:
    sizes = (16, 32, 64, 100, 128, 256, 512, 1000, 4096)
    known = (1.35, 2.10, 2.82, 3.28, 3.53, 4.23, 4.93, 5.60, 7.01)
    assert [round(power.epsilon_ceiling(n), 2) for n in sizes] == pytest.approx(known)
    for n in sizes:
        assert one_run.from_errors((0, n), (0, n)) == pytest.approx(power.epsilon_ceiling(n))


def test_rows_for_equivalence_are_those_of_the_notes() -> None:
    known = {0.1: (143, 181), 0.05: (571, 722), 0.02: (3569, 4510)}
    for margin, sizes in known.items():
        assert (power.auc_rows(margin, 0.8), power.auc_rows(margin, 0.9)) == sizes


def test_critical_distances_are_those_of_the_notes() -> None:
    found = [power.smirnov_critical(n, n) for n in (128, 512, 1000)]
    assert found == pytest.approx([0.170, 0.085, 0.060], abs=1e-3)


@given(st.floats(0.2, 6), st.sampled_from([0.9, 0.95]))
def test_trials_for_epsilon_are_the_least_that_reach_it(epsilon: float, confidence: float) -> None:
    trials = power.epsilon_trials(epsilon, confidence)
    assert power.epsilon_ceiling(trials, confidence) >= epsilon - 1e-9
    if trials > 1:
        assert power.epsilon_ceiling(trials - 1, confidence) < epsilon


def shown_equivalent(rows: int, margin: float, shift: float = 0.0) -> float:
    drawn = normal(1500, 2 * rows, about=f"{rows} {margin}")
    shown = 0
    for row in drawn:
        area = roc.auc(row[:rows] + shift, row[rows:])
        narrow = roc.auc_interval(area, rows, rows, 0.90)
        shown += 0.5 - margin <= narrow[0] and narrow[1] <= 0.5 + margin
    return shown / len(drawn)


def test_so_many_rows_show_equivalence_as_often_as_was_asked() -> None:
    assert shown_equivalent(power.auc_rows(0.1, 0.8), 0.1) == pytest.approx(0.8, abs=0.04)


def test_too_few_rows_show_nothing() -> None:
    # Where the least margin is above the one that was fixed, an audit cannot pass.
    assert power.auc_margin(40, 40) > 0.1
    assert shown_equivalent(40, 0.1) < 0.15


def test_a_model_at_the_margin_passes_no_oftener_than_alpha() -> None:
    # Two normal distributions d apart have an AUC of Φ(d / √2).
    shift = np.sqrt(2) * stats.norm.ppf(0.6)
    assert shown_equivalent(143, 0.1, shift) < 0.07


def test_the_least_effect_is_seen_as_often_as_was_said() -> None:
    rows = 80
    shift = np.sqrt(2) * stats.norm.ppf(0.5 + power.auc_effect(rows, rows, 0.8))
    drawn = normal(1500, 2 * rows, about="effect")
    ends = [roc.auc_interval(roc.auc(row[:rows] + shift, row[rows:]), rows, rows) for row in drawn]
    assert np.mean([low > 0.5 or high < 0.5 for low, high in ends]) == pytest.approx(0.8, abs=0.05)


def test_so_many_runs_show_equal_means() -> None:
    runs = power.runs(1.0, 1.0, 0.8)
    drawn = normal(1500, 2 * runs, about="runs")
    effects = [equivalence.means(row[:runs], row[runs:]) for row in drawn]
    shown = np.mean([effect.verdict(1.0) == "passed" for effect in effects])
    assert shown == pytest.approx(0.8, abs=0.06)


def test_the_least_difference_of_means_is_seen() -> None:
    least = power.mean_effect(1.0, 8, 8, 0.8)
    drawn = normal(1500, 16, about="means")
    effects = [equivalence.means(row[:8] + least, row[8:]) for row in drawn]
    assert np.mean([effect.wide[0] > 0 for effect in effects]) == pytest.approx(0.8, abs=0.05)


def test_proportions_by_hand() -> None:
    # 2 · ¼ · 8.564 / 0.01 = 428.2
    assert power.proportion_rows(0.1) == 429
    z = intervals.normal(0.95) + stats.norm.ppf(0.8)
    assert power.proportion_effect(0.5, 100, 100) == pytest.approx(z * np.sqrt(0.005))


def test_rows_for_a_low_rate() -> None:
    assert power.rate_rows(0.001) == 1000
    assert power.rate_rows(0.01, least=3) == 300


@pytest.mark.parametrize("margin", [0.0, -1.0, float("inf")])
def test_no_margin_is_no_plan(margin: float) -> None:
    with pytest.raises(InputError, match="margin"):
        power.auc_rows(margin)
