"""Lower bounds of ε hold as often as they say, and are what the paper's own code computes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from draws import normal
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from expunge.core.errors import InputError
from expunge.metrics import chance, one_run


def test_error_rates_by_hand() -> None:
    worst = 1 - 0.025 ** (1 / 16)
    assert one_run.from_errors((0, 16), (0, 16)) == pytest.approx(math.log((1 - worst) / worst))
    assert one_run.from_errors((0, 16), (0, 16), delta=0.1) == pytest.approx(
        math.log((0.9 - worst) / worst)
    )
    assert one_run.from_errors((8, 16), (8, 16)) == 0


def test_a_retrained_model_has_no_epsilon() -> None:
    # Guesses about models that are alike are right with a chance of one half.
    rights = stats.binom.ppf(np.linspace(0.001, 0.999, 500), 400, 0.5).astype(int)
    bounds = [one_run.epsilon(int(right), 400, 1000) for right in rights]
    assert np.mean(np.array(bounds) > 0) <= 0.05


@given(st.integers(1, 60), st.data())
def test_a_bound_is_where_the_p_value_crosses(guesses: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, guesses))
    bound = one_run.epsilon(correct, guesses, 100, delta=1e-5)
    at_zero = one_run.p_value(correct, guesses, 100, 0.0, 1e-5)
    if at_zero >= 0.05:
        assert bound == 0
    else:
        assert one_run.p_value(correct, guesses, 100, bound, 1e-5) == pytest.approx(0.05, abs=1e-6)


def test_all_right_by_hand() -> None:
    # qⁿ = 0.05 with q = e^ε / (1 + e^ε).
    q = 0.05 ** (1 / 100)
    assert one_run.epsilon(100, 100, 100) == pytest.approx(math.log(q / (1 - q)))


def test_delta_costs() -> None:
    law = stats.binom(10, 1 / (1 + math.exp(-1.0)))
    alpha = max(sum(law.pmf(8 - j) for j in range(1, i + 1)) / i for i in range(1, 9))
    expected = law.sf(7) + 2 * 50 * 0.001 * alpha
    assert one_run.p_value(8, 10, 50, 1.0, 0.001) == pytest.approx(expected)
    assert one_run.p_value(8, 10, 50, 1.0, 0.9) == 1.0


def test_randomised_response_is_bounded_below_its_epsilon() -> None:
    # Each canary's bit is told rightly with a chance of e / (1 + e): ε is 1, exactly.
    above = []
    for key in range(400):
        right = int((chance.uniform((1000,), key) < math.e / (1 + math.e)).sum())
        above.append(one_run.epsilon(right, 1000, 1000) > 1)
    assert np.mean(above) <= 0.08


def test_guesses_are_counted_at_both_ends() -> None:
    scores, member = [5.0, 4.0, 3.0, 2.0, 1.0, 0.0], [True, False, True, False, True, False]
    assert one_run.correct_guesses(scores, member, 2) == 2
    assert one_run.correct_guesses(scores, member, 4) == 2
    signal = normal(400) + 3 * (np.arange(400) < 200)
    assert one_run.correct_guesses(signal, np.arange(400) < 200, 100) == 100


def test_ties_know_no_truth() -> None:
    member = np.arange(1000) < 500
    assert one_run.correct_guesses(np.zeros(1000), member, 400) == pytest.approx(200, abs=40)


@pytest.mark.parametrize(("correct", "guesses", "canaries"), [(3, 2, 5), (1, 0, 5), (1, 6, 5)])
def test_impossible_counts_are_refused(correct: int, guesses: int, canaries: int) -> None:
    with pytest.raises(InputError, match="guesses"):
        one_run.epsilon(correct, guesses, canaries)


def test_odd_guesses_and_impossible_deltas_are_refused() -> None:
    with pytest.raises(InputError, match="even"):
        one_run.correct_guesses([1.0, 2.0, 3.0], [True, False, True], 3)
    with pytest.raises(InputError, match="delta"):
        one_run.from_errors((0, 1), (0, 1), delta=1.0)
