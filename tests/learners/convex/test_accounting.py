"""Accountants against integrals to many digits, published values and simulated releases."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core.errors import GuaranteeUnproved, InputError
from expunge.learners.convex import accounting

EPSILONS = (0, 1e-6, 1e-3, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30)
MUS = (1e-6, 1e-3, 0.01, 0.03, 0.1, 0.3, 1, 2, 3, 4, 4.5, 5, 8, 20, 50)


def integrated(epsilon, mu):
    """The hockey stick of N(mu, 1) over N(0, 1), integrated where it is positive."""
    cut = mpmath.mpf(epsilon) / mu + mpmath.mpf(mu) / 2

    def above(x):
        return mpmath.npdf(x, mu) - mpmath.exp(epsilon) * mpmath.npdf(x)

    width = 1 / max(mpmath.mpf(1), cut - mu)
    marks = [cut + width * step for step in (0, 1, 4, 12, 40)]
    far = max(marks[-1], mpmath.mpf(mu) + 40)
    return mpmath.quad(above, sorted([*marks, *mpmath.linspace(marks[-1], far, 8)[1:]]))


@pytest.mark.parametrize(
    ("epsilon", "mu"),
    [
        (epsilon, mu)
        for epsilon in EPSILONS
        for mu in (0.01, 0.1, 0.3, 1, 3, 5, 20)
        if abs(epsilon / mu - mu / 2) <= 30  # beyond, δ or 1 - δ is below e^-450
    ],
)
def test_the_gaussian_delta_is_the_integral_of_the_hockey_stick(epsilon, mu):
    with mpmath.workdps(40):
        wanted = integrated(epsilon, mu)
        ours = mpmath.exp(accounting.gaussian_log_delta(epsilon, mu))
        assert abs(ours / wanted - 1) < 1e-6


def test_the_gaussian_delta_holds_deep_in_the_tail_where_both_terms_are_equal():
    for epsilon in EPSILONS:
        for mu in MUS:
            a = epsilon / mu - mu / 2
            if abs(a) > 30:
                continue
            with mpmath.workdps(60 + int(a * a)):
                m = mpmath.mpf(mu)
                first = mpmath.ncdf(m / 2 - epsilon / m)
                wanted = first - mpmath.exp(epsilon) * mpmath.ncdf(-m / 2 - epsilon / m)
                log = accounting.gaussian_log_delta(epsilon, mu)
                assert abs(log - mpmath.log(wanted)) < 1e-9


def test_published_values():
    # Balle and Wang: 3.7306 standard deviations per unit of sensitivity at (1, 1e-5), where
    # the classical constant √(2 ln(1.25/δ)) is 4.8448.
    assert 1 / accounting.gaussian_mu(1, 1e-5) == pytest.approx(3.730632, rel=1e-6)
    assert 2 / accounting.gaussian_mu(1, 1e-5) == pytest.approx(7.461263, rel=1e-6)
    # Dong, Roth and Su: 1-GDP is (1, 0.126936737)-DP.
    assert accounting.gaussian_delta(1, 1) == pytest.approx(0.126936737, rel=1e-8)
    # At ε = 0, δ is the total variation distance, Φ(μ/2) - Φ(-μ/2).
    assert accounting.gaussian_delta(0, 2) == pytest.approx(math.erf(1 / math.sqrt(2)), rel=1e-12)
    assert accounting.guo_constant(1e-4) == pytest.approx(4.385386, rel=1e-6)
    assert accounting.guo_budget(10, 1, 1e-4) == pytest.approx(2.280301, rel=1e-6)


@settings(max_examples=30)
@given(epsilon=st.floats(0, 20), log=st.floats(-200, -1e-3))
def test_the_inverses_meet_their_delta_from_the_safe_side(epsilon, log):
    delta = math.exp(log)
    mu = accounting.gaussian_mu(epsilon, delta)
    assert accounting.gaussian_log_delta(epsilon, mu) <= math.log(delta)
    assert accounting.gaussian_log_delta(epsilon, mu * (1 + 1e-8)) > math.log(delta)
    back = accounting.gaussian_epsilon(mu, delta)
    assert back == pytest.approx(epsilon, rel=1e-5, abs=1e-6)
    assert accounting.gaussian_log_delta(back, mu) <= math.log(delta)


@given(epsilon=st.floats(0, 50), more=st.floats(1e-3, 1), mu=st.floats(1e-6, 50))
def test_delta_falls_with_epsilon_and_grows_with_mu(epsilon, more, mu):
    delta = accounting.gaussian_log_delta(epsilon, mu)
    assert delta <= 0
    assert accounting.gaussian_log_delta(epsilon + more, mu) <= delta
    assert accounting.gaussian_log_delta(epsilon, mu * (1 + more)) >= delta


def test_releases_compose():
    assert accounting.gaussian_composed([3, 4]) == pytest.approx(5)
    assert accounting.gaussian_composed([]) == 0
    assert accounting.dithered_composed([1e-5] * 10) == pytest.approx(1e-4)
    assert accounting.dithered_composed([0.7, 0.7]) == 1


def test_no_shift_costs_nothing_and_a_hopeless_one_everything():
    assert accounting.gaussian_delta(0, 0) == 0
    assert accounting.gaussian_log_delta(1, 1e-200) == -math.inf
    assert accounting.gaussian_epsilon(0, 1e-5) == 0
    assert accounting.gaussian_delta(0, 100) == 1
    assert accounting.dithered_delta(10, 0.5, 3) == 1


def test_the_dithered_delta_is_the_sum_of_what_coordinates_may_move():
    # √4·0.001/0.5, and 4·2⁻⁶⁴.
    assert accounting.dithered_delta(0.001, 0.5, 4) == pytest.approx(0.004, rel=1e-8)
    assert accounting.dithered_delta(0, 0.5, 4) == pytest.approx(4 * 2.0**-64)


def test_guos_constant_is_refused_where_it_does_not_hold():
    with pytest.raises(GuaranteeUnproved, match="too small for epsilon = 10"):
        accounting.guo_budget(10, 10, 1e-4)


def test_the_noise_of_descent_is_the_published_formula():
    # Neel et al.: σ = 4√2 M γᴵ/(m n (1 - γᴵ)(√(ln(1/δ) + ε) - √ln(1/δ))), half may leave.
    big, m, n, gamma, steps, epsilon, delta = 2.0, 0.1, 1000, 0.9, 20, 1.5, 1e-6
    root = math.sqrt(math.log(1 / delta) + epsilon) - math.sqrt(math.log(1 / delta))
    kept = gamma**steps
    published = 4 * math.sqrt(2) * big * kept / (m * n * (1 - kept) * root)
    shift = accounting.descent_shift(gamma, steps, 4 * big / (m * n))
    assert accounting.descent_sigma(shift, epsilon, delta) == pytest.approx(published)
    # It is enough by the exact accountant, too.
    sigma = accounting.descent_sigma(shift, epsilon, delta)
    assert accounting.gaussian_delta(epsilon, 2 * shift / sigma) <= delta


def test_descent_stays_where_its_bound_says():
    # s = γᴵ(s + moved) is the fixed point.
    shift = accounting.descent_shift(0.8, 7, 3.0)
    assert 0.8**7 * (shift + 3.0) == pytest.approx(shift)
    assert accounting.descent_shift(0.0, 1, 3.0) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: accounting.gaussian_delta(-1, 1),
        lambda: accounting.gaussian_delta(1, math.nan),
        lambda: accounting.gaussian_delta(math.inf, 1),
        lambda: accounting.gaussian_mu(1, 0),
        lambda: accounting.gaussian_mu(1, 1),
        lambda: accounting.gaussian_epsilon(1, math.nan),
        lambda: accounting.dithered_delta(math.nan, 1, 1),
        lambda: accounting.dithered_delta(1, 0, 1),
        lambda: accounting.dithered_delta(1, 1, 0),
        lambda: accounting.guo_constant(2),
        lambda: accounting.guo_budget(0, 1, 0.1),
        lambda: accounting.guo_budget(1, math.inf, 0.1),
        lambda: accounting.descent_shift(1, 1, 1),
        lambda: accounting.descent_shift(0.5, 0, 1),
        lambda: accounting.descent_sigma(1, 0, 0.1),
        lambda: accounting.descent_sigma(1, 1, 0),
    ],
)
def test_what_is_no_probability_or_no_size_is_refused(call):
    with pytest.raises(InputError):
        call()


def test_numpy_numbers_are_numbers():
    assert accounting.gaussian_delta(np.float64(1), np.float64(1)) == pytest.approx(0.126936737)
