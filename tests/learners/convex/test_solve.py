"""The bound holds the distance to a far more exact minimiser, whatever the way that led there."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core.errors import ExpungeError, GuaranteeUnproved, InputError
from expunge.learners.convex import objective as objectives
from expunge.learners.convex import preconditioner, solve
from expunge.learners.convex.losses import (
    Huber,
    Logistic,
    Multinomial,
    Poisson,
    SquaredHinge,
)
from expunge.learners.convex.objective import curvature, evaluate, hessian, objective, value
from expunge.learners.convex.preconditioner import Preconditioner
from expunge.learners.convex.solve import forget, minimise, prepare

LOSSES = [Logistic(), Multinomial(3), SquaredHinge(), Poisson(), Huber(0.7)]


def problem(loss, n, d, seed, penalty=1.0, weighted=False):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(size=(n, d - 1)) * 0.5, np.ones((n, 1))], axis=1)
    if isinstance(loss, Multinomial):
        targets = rng.integers(0, loss.classes, n)
    elif isinstance(loss, Poisson):
        targets = rng.poisson(1.5, n).astype(float)
    elif isinstance(loss, Huber):
        targets = rng.normal(size=n)
    else:
        targets = rng.choice([-1.0, 1.0], n)
    weights = rng.uniform(0.2, 2, n) if weighted else None
    return objective(loss, x, targets, penalty=penalty, weights=weights)


def precise_gradient(whole, weights):
    """∇f to 40 digits, for losses of one score."""
    mp = mpmath.mpf
    with mpmath.workdps(40):
        w = [mp(float(a)) for a in weights]
        total = [mp(whole.penalty) * a for a in w]
        for row, y, s in zip(whole.x, whole.targets, whole.weights, strict=True):
            row = [mp(float(a)) for a in row]
            z = mpmath.fdot(row, w)
            slope = {
                "Logistic": lambda z, y: -y / (1 + mpmath.exp(y * z)),
                "SquaredHinge": lambda z, y: -y * max(mp(0), 1 - y * z),
                "Poisson": lambda z, y: mpmath.exp(z) - y,
                "Huber": lambda z, y: max(mp(-0.7), min(mp(0.7), z - y)),
            }[type(whole.loss).__name__](z, mp(float(y)))
            for j, a in enumerate(row):
                total[j] += mp(float(s)) * slope * a
        return total


@settings(max_examples=40)
@given(
    which=st.integers(0, len(LOSSES) - 1),
    n=st.integers(1, 60),
    d=st.integers(1, 7),
    seed=st.integers(0, 9999),
    how=st.tuples(st.sampled_from([1e-2, 1.0, 30.0]), st.booleans()),
    within=st.sampled_from([1e-2, 1e-5, 1e-9]),
)
def test_the_bound_holds_the_distance_before_and_after_forgetting(which, n, d, seed, how, within):
    whole = problem(LOSSES[which], n, d, seed, *how)
    first = minimise(whole, within=within)
    leaving = np.random.default_rng(seed).permutation(n)[: max(n // 3, 1)]
    rest, second = forget(whole, first, leaving, within=within)
    for problem_, found in ((whole, first), (rest, second)):
        exact = minimise(problem_, within=3e-10)
        assert found.alpha <= within
        assert np.linalg.norm(found.weights - exact.weights) <= found.alpha + exact.alpha


@settings(max_examples=25)
@given(
    which=st.sampled_from([0, 2, 3, 4]),
    n=st.integers(1, 30),
    d=st.integers(1, 6),
    seed=st.integers(0, 9999),
    size=st.sampled_from([1e-6, 1.0, 5.0]),
)
def test_the_gradient_errs_by_no_more_than_its_allowance(which, n, d, seed, size):
    whole = problem(LOSSES[which], n, d, seed, weighted=True)
    weights = size * np.random.default_rng(seed).normal(size=d)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objectives, "_ROWS", 4)
        patch.setattr(objectives, "_COLUMNS", 2)
        point = evaluate(whole, weights)
    with mpmath.workdps(40):
        exact = precise_gradient(whole, weights)
        off = mpmath.sqrt(
            sum((a - mpmath.mpf(float(b))) ** 2 for a, b in zip(exact, point.gradient, strict=True))
        )
        assert off <= point.rounding
        assert mpmath.sqrt(sum(a**2 for a in exact)) <= point.alpha * whole.penalty


def test_the_bound_is_tight_enough_at_the_scale_of_digits():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12_000, 784)) / 28
    y = np.where(x[:, 0] + 0.02 * rng.normal(size=len(x)) > 0, 1.0, -1.0)
    whole = objective(Logistic(), x, y, penalty=12.0)
    assert minimise(whole, within=1e-9).alpha < 1e-9


def test_a_case_by_hand():
    # One weight, x = (1, 2), y = (1, 3), λ = 1, Huber beyond its knee nowhere: least squares,
    # w = (1·1 + 2·3)/(1 + 4 + 1) = 7/6; without the second sample 1/2.
    x, y = np.array([[1.0], [2.0]]), np.array([1.0, 3.0])
    whole = objective(Huber(10.0), x, y, penalty=1.0)
    solution = minimise(whole, within=1e-12)
    assert solution.weights == pytest.approx([7 / 6], abs=1e-12)
    rest, solution = forget(whole, solution, np.array([1]), within=1e-12)
    assert solution.weights == pytest.approx([1 / 2], abs=1e-12)
    # f(1/2) = (1/2)²/2 + (1/2)²/2.
    assert value(rest, solution.weights) == pytest.approx(0.25)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_gradient_and_hessian_are_differences(loss):
    whole = problem(loss, 50, 4, 3, weighted=True)
    rng = np.random.default_rng(1)
    weights, along = 0.3 * rng.normal(size=whole.shape), rng.normal(size=whole.shape)
    h = 1e-6
    slope = (value(whole, weights + h * along) - value(whole, weights - h * along)) / (2 * h)
    assert np.vdot(evaluate(whole, weights).gradient, along) == pytest.approx(slope, rel=1e-6)
    above, below = (evaluate(whole, weights + sign * h * along).gradient for sign in (1, -1))
    bent = hessian(whole, curvature(whole, evaluate(whole, weights).scores)) @ along.ravel()
    np.testing.assert_allclose(bent, ((above - below) / (2 * h)).ravel(), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_samples_leave_the_factor_as_if_they_had_never_been_in_it(loss):
    whole = problem(loss, 80, 9, 5, weighted=True)
    point = evaluate(whole, np.full(whole.shape, 0.1))
    left = np.array([3])
    known = Preconditioner.at(whole, point).without(whole, left)
    fresh = Preconditioner.at(whole.without(left), point)
    np.testing.assert_allclose(
        known.inverse + known.added @ known.added.T, fresh.inverse, rtol=1e-9, atol=1e-12
    )


def test_many_who_leave_one_by_one_are_folded_into_the_inverse(monkeypatch):
    monkeypatch.setattr(preconditioner, "_APART", 3)
    whole = problem(Logistic(), 400, 5, 5)
    point = evaluate(whole, np.full(5, 0.1))
    known, widths = Preconditioner.at(whole, point), []
    for row in range(10):
        known = known.without(whole, np.array([row]))
        widths.append(known.added.shape[1])
    fresh = Preconditioner.at(whole.without(np.arange(10)), point)
    assert widths == [1, 2, 3, 0, 1, 2, 3, 0, 1, 2]
    gradient = np.arange(5.0)
    np.testing.assert_allclose(known.apply(gradient), fresh.apply(gradient), rtol=1e-9)


def test_one_sample_leaves_in_fewer_passes_than_a_cold_start():
    whole = problem(Logistic(), 3000, 20, 1)
    solution = prepare(whole, minimise(whole, within=1e-8))
    for row in range(20):
        whole, solution = forget(whole, solution, np.array([row]), within=1e-8)
        assert solution.passes <= 4
        assert solution.factorings == 0


def test_light_passes_leave_one_pass_in_float64():
    whole = problem(Multinomial(3), 4000, 10, 1)
    solution = prepare(whole, minimise(whole, within=1e-8))
    for row in range(10):
        whole, solution = forget(whole, solution, np.array([row]), within=1e-8)
        assert solution.passes == 1


def test_what_float32_cannot_hold_is_solved_all_the_same():
    rng = np.random.default_rng(0)
    x = 1e36 * rng.normal(size=(30, 2))
    whole = objective(Huber(1e30), x, rng.normal(size=30), penalty=1e70)
    assert whole.light is whole.x
    rest, found = forget(whole, minimise(whole, within=1e-40), np.array([0]), within=1e-40)
    exact = np.linalg.solve(x[1:].T @ x[1:] + 1e70 * np.eye(2), x[1:].T @ rest.targets[1:])
    np.testing.assert_allclose(found.weights, exact, rtol=1e-6)


def test_a_useless_preconditioner_costs_time_and_not_the_proof():
    whole = problem(Logistic(), 200, 5, 2)
    honest = minimise(whole, within=1e-9)
    for scale in (1e6, 1e-9, -1.0):
        wrong = Preconditioner(scale * np.eye(5), np.empty((5, 0)))
        found = minimise(whole, within=1e-9, preconditioner=wrong)
        assert np.linalg.norm(found.weights - honest.weights) <= found.alpha + honest.alpha
        bad = solve.Solution(honest.point, wrong, 0, 0)
        rest, found = forget(whole, bad, np.array([0, 1]), within=1e-9)
        exact = minimise(rest, within=1e-10)
        assert np.linalg.norm(found.weights - exact.weights) <= found.alpha + exact.alpha


def test_a_factor_of_other_rows_may_be_used():
    other = minimise(problem(Logistic(), 50, 5, 1), within=1e-9).preconditioner
    whole = problem(Logistic(), 80, 5, 2)
    found = minimise(whole, within=1e-9, preconditioner=other)
    rest, found = forget(whole, found, np.array([70]), within=1e-9)
    exact = minimise(rest, within=1e-10)
    assert np.linalg.norm(found.weights - exact.weights) <= found.alpha + exact.alpha
    with pytest.raises(InputError, match="5 weights"):
        minimise(whole, within=1e-9, preconditioner=Preconditioner(np.eye(4), np.empty((4, 0))))


def test_a_warm_start_needs_fewer_passes():
    whole = problem(Poisson(), 300, 6, 2)
    cold = minimise(whole, within=1e-9)
    warm = minimise(whole, within=1e-9, start=np.round(cold.weights, 6))
    assert warm.passes < cold.passes


def test_far_starts_come_back():
    for loss in (Poisson(), Logistic(), SquaredHinge()):
        whole = problem(loss, 100, 4, 7, penalty=0.1)
        found = minimise(whole, within=1e-8, start=np.full(4, 8.0))
        assert found.alpha <= 1e-8


def test_everybody_may_leave():
    whole = problem(Logistic(), 10, 3, 0)
    rest, found = forget(whole, minimise(whole, within=1e-9), np.arange(10), within=1e-9)
    assert np.abs(found.weights).max() <= 1e-9
    assert rest.weights.sum() == 0


def test_who_left_may_be_named_again():
    whole = problem(Logistic(), 40, 3, 0)
    rest, once = forget(whole, minimise(whole, within=1e-10), np.array([1, 2]), within=1e-10)
    again, twice = forget(rest, once, np.array([2]), within=1e-10)
    assert np.linalg.norm(once.weights - twice.weights) <= 2e-10
    np.testing.assert_array_equal(rest.weights, again.weights)


def test_a_linear_term_is_part_of_the_objective():
    x, y = np.zeros((2, 2)), np.ones(2)
    whole = objective(Logistic(), x, y, penalty=2.0, linear=np.array([1.0, -4.0]))
    assert minimise(whole, within=1e-12).weights == pytest.approx([-0.5, 2.0])


@pytest.mark.parametrize("penalty", [0.0, -1.0, math.nan, math.inf])
def test_without_a_penalty_nothing_is_bounded(penalty):
    with pytest.raises(GuaranteeUnproved, match="strongly convex"):
        problem(Logistic(), 5, 2, 0, penalty)


@pytest.mark.parametrize("within", [0.0, -1.0, math.nan, math.inf])
def test_a_bound_is_a_positive_number(within):
    with pytest.raises(InputError, match="within"):
        minimise(problem(Logistic(), 5, 2, 0), within=within)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e200])
def test_features_that_are_not_finite_are_refused(bad):
    x = np.ones((3, 2))
    x[1, 1] = bad
    with pytest.raises(InputError, match="not finite"):
        objective(Logistic(), x, np.ones(3), penalty=1.0)


@pytest.mark.parametrize(
    "change",
    [
        {"weights": np.array([1.0, -1.0])},
        {"weights": np.array([1.0, math.nan])},
        {"weights": np.ones(3)},
        {"linear": np.ones(5)},
        {"linear": np.array([math.nan, 0.0])},
    ],
)
def test_what_does_not_fit_is_refused(change):
    with pytest.raises(InputError):
        objective(Logistic(), np.ones((2, 2)), np.ones(2), penalty=1.0, **change)


def test_what_rounding_cannot_reach_is_refused():
    whole = problem(Logistic(), 100, 4, 1, penalty=1e-3)
    with pytest.raises(GuaranteeUnproved, match="out of reach"):
        minimise(whole, within=1e-17)


def test_what_overflows_is_refused():
    whole = objective(Poisson(), np.full((2, 1), 1e3), np.ones(2), penalty=1.0)
    with pytest.raises(ExpungeError):
        minimise(whole, within=1e-9, start=np.array([1e3]))


@pytest.mark.parametrize("start", [np.zeros(3), np.array([math.nan, 0.0])])
def test_a_start_that_does_not_fit_is_refused(start):
    with pytest.raises(InputError, match="start"):
        minimise(problem(Logistic(), 5, 2, 0), within=1e-3, start=start)
