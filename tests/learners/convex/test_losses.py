"""Slopes and curvatures by finite differences; constants that hold; targets that do not."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import InputError
from expunge.learners.convex.losses import (
    Huber,
    Logistic,
    Multinomial,
    Poisson,
    SquaredHinge,
)

LOSSES = [Logistic(), Multinomial(3), SquaredHinge(), Poisson(), Huber(0.7)]
by_name = {"ids": lambda loss: type(loss).__name__}


def some(loss, n, seed, size=2.0):
    """Scores and targets."""
    rng = np.random.default_rng(seed)
    scores = size * rng.normal(size=(n, *loss.outputs()))
    if isinstance(loss, Multinomial):
        return scores, rng.integers(0, loss.classes, n)
    if isinstance(loss, Poisson):
        return scores, rng.poisson(2, n).astype(float)
    if isinstance(loss, Huber):
        return scores, rng.normal(size=n)
    return scores, rng.choice([-1.0, 1.0], n)


def shifted(scores, k, by):
    moved = scores.copy()
    moved[(slice(None), k) if scores.ndim == 2 else slice(None)] += by
    return moved


@pytest.mark.parametrize("loss", LOSSES, **by_name)
def test_the_slope_is_the_difference_of_values(loss):
    scores, targets = some(loss, 400, 1)
    h = 1e-6
    slopes = loss.slope(scores, targets).reshape(400, -1)
    for k in range(slopes.shape[1]):
        above = loss.value(shifted(scores, k, h), targets)
        below = loss.value(shifted(scores, k, -h), targets)
        np.testing.assert_allclose(slopes[:, k], (above - below) / (2 * h), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES, **by_name)
def test_the_curvature_is_the_difference_of_slopes(loss):
    scores, targets = some(loss, 400, 2)
    h = 1e-6
    curved = loss.curvature(scores, targets).reshape(400, -1)
    wanted = []
    for k in range(scores[0].size):
        above = loss.slope(shifted(scores, k, h), targets)
        below = loss.slope(shifted(scores, k, -h), targets)
        wanted.append(((above - below) / (2 * h)).reshape(400, -1))
    off = np.abs(curved - np.concatenate(wanted, axis=1)).max(axis=1)
    # A kink falls between the two slopes in a few cases.
    assert (off > 1e-6 * (1 + np.abs(curved).max(axis=1))).mean() < 0.01


@pytest.mark.parametrize("loss", LOSSES, **by_name)
def test_the_declared_constants_hold(loss):
    scores, targets = some(loss, 4000, 3, size=3.0)
    other = scores + np.random.default_rng(4).normal(size=scores.shape) * 0.3
    flat = (len(scores), -1)
    apart = np.linalg.norm((scores - other).reshape(flat), axis=1)
    slopes = loss.slope(scores, targets).reshape(flat)
    changes = np.linalg.norm(slopes - loss.slope(other, targets).reshape(flat), axis=1)
    bends = loss.curvature(scores, targets) - loss.curvature(other, targets)
    if bends.ndim == 3:
        bends = np.abs(np.linalg.eigvalsh(bends)).max(axis=1)
    if loss.lipschitz is not None:
        assert np.linalg.norm(slopes, axis=1).max() <= loss.lipschitz + 1e-12
    if loss.smoothness is not None:
        assert (changes <= loss.smoothness * apart + 1e-12).all()
    if loss.third is not None:
        assert (np.abs(bends) <= loss.third * apart + 1e-12).all()


def test_the_constants_are_reached():
    z = np.linspace(-5, 5, 100_001)
    y = np.ones_like(z)
    assert Logistic().curvature(z, y).max() == pytest.approx(Logistic.smoothness, rel=1e-6)
    third = np.diff(Logistic().curvature(z, y)) / np.diff(z)
    assert np.abs(third).max() == pytest.approx(Logistic.third, rel=1e-4)
    # Two classes alike, and a third that has no chance: the curvature's largest eigenvalue is 1/2.
    even = Multinomial(3).curvature(np.array([[0.0, 0.0, -50.0]]), np.array([0]))
    assert np.linalg.eigvalsh(even[0])[-1] == pytest.approx(Multinomial.smoothness)


@given(
    seed=st.integers(0, 999),
    which=st.integers(0, len(LOSSES) - 1),
    size=st.sampled_from([1e-3, 1.0, 10.0, 100.0]),
    error=st.sampled_from([0.0, 1e-15, 1e-9, 1e-3]),
)
def test_slopes_err_by_no_more_than_is_said(seed, which, size, error):
    loss = LOSSES[which]
    scores, targets = some(loss, 3, seed, size)
    shift = np.random.default_rng(seed + 1).normal(size=scores.shape)
    shift *= error / np.maximum(np.linalg.norm(shift.reshape(3, -1), axis=1), 1e-300).reshape(
        -1, *(1,) * (scores.ndim - 1)
    )
    computed = loss.slope(scores, targets)
    errors = np.full(3, error * (1 + 1e-12))
    bound = loss.slope_error(scores, computed, errors)
    for i in range(3):
        with mpmath.workdps(60):
            exact = precise_slope(loss, scores[i], shift[i], targets[i])
            off = mpmath.sqrt(
                sum(
                    (a - mpmath.mpf(b)) ** 2
                    for a, b in zip(exact, np.ravel(computed[i]), strict=True)
                )
            )
            assert off <= bound[i]


def precise_slope(loss, score, shift, target):
    """The slope at ``score + shift`` to many digits."""
    mp = mpmath.mpf
    z = [mp(float(a)) + mp(float(b)) for a, b in zip(np.ravel(score), np.ravel(shift), strict=True)]
    y = mp(float(target))
    if isinstance(loss, Multinomial):
        total = sum(mpmath.exp(a) for a in z)
        return [mpmath.exp(a) / total - (k == int(target)) for k, a in enumerate(z)]
    if isinstance(loss, Logistic):
        return [-y / (1 + mpmath.exp(y * z[0]))]
    if isinstance(loss, SquaredHinge):
        return [-y * max(mp(0), 1 - y * z[0])]
    if isinstance(loss, Poisson):
        return [mpmath.exp(z[0]) - y]
    return [max(-mp(loss.knee), min(mp(loss.knee), z[0] - y))]


def test_what_is_unbounded_is_said_to_be_unknown():
    assert Poisson().smoothness is Poisson().lipschitz is Poisson().third is None
    assert SquaredHinge().lipschitz is SquaredHinge().third is None
    assert Huber().third is None


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (Logistic(), [0.0, 1.0]),
        (SquaredHinge(), [np.nan, 1.0]),
        (Multinomial(3), [0, 3]),
        (Poisson(), [-1.0, 0.0]),
        (Poisson(), [np.inf, 0.0]),
        (Huber(), [np.nan, 0.0]),
    ],
)
def test_targets_that_a_loss_cannot_have_are_refused_by_number(loss, targets):
    with pytest.raises(InputError, match=r"^1 of 2 targets|^2 of 2 targets"):
        loss.check(np.array(targets))


@pytest.mark.parametrize("knee", [0.0, -1.0, np.inf, np.nan])
def test_a_knee_is_a_positive_number(knee):
    with pytest.raises(InputError, match="knee"):
        Huber(knee)


def test_values_by_hand():
    one = np.array([2.0])
    assert Logistic().value(one, np.array([-1.0])) == pytest.approx(np.log1p(np.exp(2)))
    assert SquaredHinge().value(one, np.array([-1.0])) == pytest.approx(4.5)
    assert Poisson().value(one, np.array([3.0])) == pytest.approx(np.exp(2) - 6)
    assert Huber(1.0).value(one, np.array([0.0])) == pytest.approx(1.5)
    assert Multinomial(2).value(np.array([[2.0, 0.0]]), np.array([1])) == pytest.approx(
        np.log1p(np.exp(2))
    )
