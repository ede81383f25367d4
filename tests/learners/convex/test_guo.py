"""Guo et al.'s removal: its bounds hold the gradient that is left, its budget ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core.errors import GuaranteeUnproved, InputError
from expunge.learners.convex import accounting, guo
from expunge.learners.convex.losses import Logistic, Multinomial, Poisson, SquaredHinge
from expunge.learners.convex.objective import evaluate


def data(n, d, models, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x, rng.choice([-1.0, 1.0], (n, models))


def trained(n=200, d=6, models=1, seed=0, sigma=10.0, penalty=2.0):
    x, y = data(n, d, models, seed)
    return guo.train(Logistic(), x, y, penalty=penalty, sigma=sigma, epsilon=1.0, delta=1e-4)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 999),
    models=st.integers(1, 3),
    bound=st.sampled_from([guo.tight_bound, guo.published_bound]),
    penalty=st.sampled_from([0.3, 3.0]),
)
def test_what_is_paid_holds_the_gradient_that_is_left(seed, models, bound, penalty):
    model = trained(seed=seed, models=models, penalty=penalty)
    for rows in (np.array([0]), np.array([1, 2, 3]), np.arange(10, 40)):
        model = guo.remove(model, rows, bound=bound)
        for k, whole in enumerate(model.objectives):
            assert evaluate(whole, model.weights[:, k]).residual <= model.spent[k]


def test_the_tight_bound_is_at_least_five_times_below_the_published():
    model = trained()
    paid = [
        guo.remove(model, np.array([0]), bound=bound).spent[0] - model.spent[0]
        for bound in (guo.tight_bound, guo.published_bound)
    ]
    assert paid[0] * 5.19 < paid[1]


def test_a_spent_budget_asks_for_a_new_training():
    model = trained(sigma=0.05)
    removed = 0
    while not model.exhausted:
        model = guo.remove(model, np.array([removed]), bound=guo.published_bound)
        removed += 1
    assert 0 < removed < 200
    assert np.linalg.norm(model.spent) > model.budget
    assert model.budget == accounting.guo_budget(0.05, 1.0, 1e-4)


def test_training_pays_for_what_it_leaves():
    model = trained()
    left = evaluate(model.objectives[0], model.weights[:, 0]).residual
    assert 0 < left <= model.spent[0]
    x, y = data(50, 3, 1, 0)
    with pytest.raises(GuaranteeUnproved, match="spends the budget"):
        guo.train(Logistic(), x, y, penalty=1, sigma=1e-12, epsilon=1, delta=1e-4, within=1e-3)


@given(seed=st.integers(0, 999), n=st.integers(1, 50), d=st.integers(1, 8))
def test_the_spectral_bound_is_from_above_and_near(seed, n, d):
    x = np.random.default_rng(seed).normal(size=(n, d))
    exact = np.linalg.norm(x, 2)
    assert exact <= guo.spectral_bound(x) <= exact * (1 + 1e-9) + 1e-9
    assert np.linalg.norm(x[1:], 2) <= guo.spectral_bound(x) if n > 1 else True


def test_perturbations_are_normal_and_fresh():
    drawn = guo._perturbation(4000, 3.0)
    assert np.std(drawn) == pytest.approx(3.0, rel=0.1)
    assert (drawn != guo._perturbation(4000, 3.0)).any()


@pytest.mark.parametrize("loss", [Poisson(), SquaredHinge()])
def test_losses_without_a_third_derivative_are_refused(loss):
    x, y = data(10, 2, 1, 0)
    with pytest.raises(GuaranteeUnproved, match="third derivative"):
        guo.train(loss, x, np.abs(y), penalty=1, sigma=1, epsilon=1, delta=1e-4)


def test_what_the_published_constant_does_not_cover_is_refused():
    one = np.ones(1)
    with pytest.raises(GuaranteeUnproved, match="1/4"):
        guo.published_bound(Multinomial(3), 1.0, one, one)


def test_labels_need_a_column_per_model():
    x, y = data(10, 2, 1, 0)
    with pytest.raises(InputError, match="labels of shape"):
        guo.train(Logistic(), x, y[:, 0], penalty=1, sigma=1, epsilon=1, delta=1e-4)
