"""Intervals cover as often as they say, and are what the books print."""

from __future__ import annotations

import numpy as np
import pytest
from draws import normal
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from expunge.core.errors import InputError
from expunge.metrics import intervals


@given(st.integers(1, 400), st.data())
def test_a_proportion_lies_in_its_interval_as_scipy_has_it(
    trials: int, data: st.DataObject
) -> None:
    successes = data.draw(st.integers(0, trials))
    low, high = intervals.clopper_pearson(successes, trials)
    theirs = stats.binomtest(successes, trials).proportion_ci(0.95, "exact")
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert low <= successes / trials <= high


def test_coverage_is_at_least_what_it_says() -> None:
    for truth in (0.01, 0.3, 0.5):
        chances = stats.binom.pmf(np.arange(41), 40, truth)
        ends = [intervals.clopper_pearson(k, 40) for k in range(41)]
        assert sum(p for p, (a, b) in zip(chances, ends, strict=True) if a <= truth <= b) >= 0.95


def test_known_answers() -> None:
    assert intervals.clopper_pearson(0, 10)[1] == pytest.approx(1 - 0.025 ** (1 / 10))
    # t of 2 degrees at 97.5 % is 4.3027; the standard error of 1, 2, 3 is 1 / √3.
    assert intervals.mean([1.0, 2.0, 3.0]) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)
    half = 4.3027 * np.sqrt(4 / 3)
    assert intervals.one_more([1.0, 2.0, 3.0]) == pytest.approx((2 - half, 2 + half), abs=1e-3)


def test_one_more_run_lies_where_it_is_said_to() -> None:
    runs = normal(4000, 9)
    inside = [a <= run[-1] <= b for run in runs for a, b in [intervals.one_more(run[:-1])]]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)


def test_newcombes_own_example() -> None:
    # Statistics in Medicine 17 (1998), table II, example (a), method 10: 56/70 − 48/80.
    assert intervals.difference((56, 70), (48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@given(st.integers(0, 20), st.integers(0, 30))
def test_a_difference_turns_round_with_its_sides(first: int, second: int) -> None:
    low, high = intervals.difference((first, 20), (second, 30))
    assert intervals.difference((second, 30), (first, 20)) == pytest.approx((-high, -low))
    assert -1 <= low <= first / 20 - second / 30 <= high <= 1


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (2, 1), (-1, 3)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(InputError, match="trials"):
        intervals.clopper_pearson(successes, trials)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(InputError, match="confidence"):
        intervals.clopper_pearson(1, 2, confidence)


def test_one_run_says_nothing_about_the_next() -> None:
    with pytest.raises(InputError, match="values"):
        intervals.one_more([1.0])
