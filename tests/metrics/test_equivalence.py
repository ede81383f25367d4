"""Three verdicts: only a narrow interval inside the margin passes, only a wide one outside fails."""

from __future__ import annotations

import numpy as np
import pytest
from draws import normal
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from expunge.core.errors import InputError
from expunge.metrics import equivalence


@given(st.floats(-2, 2), st.floats(0.01, 2), st.floats(0.01, 1))
def test_a_verdict_is_what_the_intervals_say(value: float, error: float, margin: float) -> None:
    effect = equivalence.effect(value, error)
    verdict = effect.verdict(margin)
    assert (verdict == "passed") == (max(abs(end) for end in effect.narrow) <= margin)
    assert (verdict == "failed") == (
        min(abs(end) for end in effect.wide) > margin and (effect.wide[0] * effect.wide[1] > 0)
    )


def test_no_difference_found_is_no_pass() -> None:
    # The interval holds 0, so a test would find nothing; it holds large differences as well.
    assert equivalence.effect(0.0, 1.0).verdict(0.1) == "inconclusive"
    assert equivalence.effect(0.0, 0.01).verdict(0.1) == "passed"
    assert equivalence.effect(1.0, 0.01).verdict(0.1) == "failed"


def test_welch_as_scipy_has_it() -> None:
    first, second = normal(9, about=1) + 0.4, 2 * normal(14, about=2)
    theirs = stats.ttest_ind(first, second, equal_var=False)
    effect = equivalence.means(first, second)
    assert effect.narrow == pytest.approx(tuple(theirs.confidence_interval(0.90)))
    assert effect.wide == pytest.approx(tuple(theirs.confidence_interval(0.95)))


def test_two_one_sided_tests_agree_with_the_interval() -> None:
    first, second = normal(40, about=3), normal(40, about=4)
    for margin in np.linspace(0.05, 1, 20):
        below = stats.ttest_ind(first, second - margin, equal_var=False, alternative="greater")
        above = stats.ttest_ind(first, second + margin, equal_var=False, alternative="less")
        passed = equivalence.means(first, second).verdict(margin) == "passed"
        assert passed == (max(below.pvalue, above.pvalue) <= 0.05)


def test_a_retrained_model_is_within_the_band_of_others_at_the_stated_rate() -> None:
    effects = [equivalence.one_against(row[0], row[1:]) for row in normal(3000, 9, about=5)]
    outside = np.mean([effect.wide[0] > 0 or effect.wide[1] < 0 for effect in effects])
    assert outside == pytest.approx(0.05, abs=0.012)


def test_power_is_what_a_simulation_finds() -> None:
    error, margin = 0.3, 1.0
    for shift in (0.0, 0.4):
        seen = normal(4000, about=6) * error + shift
        shown = [equivalence.effect(each, error).verdict(margin) == "passed" for each in seen]
        assert np.mean(shown) == pytest.approx(equivalence.power(margin, error, shift), abs=0.025)
    assert equivalence.power(0.1, 1.0) == 0


def test_proportions() -> None:
    assert equivalence.proportions((90, 100), (90, 100)).verdict(0.01) == "inconclusive"
    assert equivalence.proportions((9000, 10_000), (9000, 10_000)).verdict(0.01) == "passed"
    assert equivalence.proportions((9000, 10_000), (5000, 10_000)).verdict(0.01) == "failed"


def test_runs_that_do_not_vary_show_nothing_about_how_they_vary() -> None:
    with pytest.raises(InputError, match="Neither group varies"):
        equivalence.means([1.0, 1.0], [1.0, 1.0])
    with pytest.raises(InputError, match="error"):
        equivalence.one_against(1.0, [1.0, 1.0])


def test_intervals_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InputError, match="within the second"):
        equivalence.judge((-1, 1), (-0.5, 0.5), (-2, 2))
