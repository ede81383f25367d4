"""Descent-to-Delete stays within its shift, update after update."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core.errors import GuaranteeUnproved, InputError
from expunge.learners.convex import accounting, descent
from expunge.learners.convex.losses import Huber, Logistic, Multinomial, Poisson, SquaredHinge
from expunge.learners.convex.objective import objective
from expunge.learners.convex.solve import minimise


def problem(loss, seed, n=30, d=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = rng.integers(0, 3, n) if isinstance(loss, Multinomial) else rng.choice([-1.0, 1.0], n)
    return objective(loss, x, y, penalty=2.0, weights=rng.uniform(0.5, 1.5, n))


@settings(max_examples=20)
@given(
    seed=st.integers(0, 999),
    which=st.integers(0, 2),
    iterations=st.sampled_from([1, 3, 10]),
    at_once=st.sampled_from([1, 4]),
)
def test_every_update_stays_within_the_shift(seed, which, iterations, at_once):
    whole = problem([Logistic(), Multinomial(3), Huber(0.5)][which], seed)
    plan = descent.plan(whole, iterations=iterations, epsilon=1.0, delta=1e-5, at_once=at_once)
    weights = descent.descend(whole, np.zeros(whole.shape), plan.rate, plan.training)
    for begin in range(0, 24, at_once):
        near = minimise(whole, within=1e-10)
        assert np.linalg.norm(weights - near.weights) <= plan.shift + near.alpha
        whole = whole.without(np.arange(begin, begin + at_once))
        weights = descent.descend(whole, weights, plan.rate, plan.iterations)


def test_the_noise_is_enough():
    plan = descent.plan(problem(Logistic(), 1), iterations=5, epsilon=1.0, delta=1e-5)
    assert accounting.gaussian_delta(1.0, 2 * plan.shift / plan.sigma) <= 1e-5
    assert accounting.gaussian_delta(1.0, 2 * plan.shift / plan.sigma_analytic) <= 1e-5
    assert plan.sigma_analytic < plan.sigma


@pytest.mark.parametrize("loss", [Poisson(), SquaredHinge()])
def test_losses_without_constants_are_refused(loss):
    whole = objective(loss, np.ones((2, 1)), np.ones(2), penalty=1.0)
    with pytest.raises(GuaranteeUnproved, match="finite bound"):
        descent.plan(whole, iterations=3, epsilon=1, delta=1e-5)


def test_numbers_that_are_none_are_refused():
    whole = problem(Logistic(), 0)
    for wrong in ({"iterations": 0}, {"epsilon": 0.0}, {"delta": 1.0}, {"at_once": 0}):
        with pytest.raises(InputError):
            descent.plan(whole, **{"iterations": 3, "epsilon": 1.0, "delta": 1e-5, **wrong})
