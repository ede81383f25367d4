"""The rounded minimiser is a function of the samples: of nothing that found it."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core.errors import GuaranteeUnproved
from expunge.learners.convex import precise, rounded
from expunge.learners.convex.losses import Huber, Logistic, Multinomial, Poisson, SquaredHinge
from expunge.learners.convex.objective import objective
from expunge.learners.convex.rounded import offsets, rounded_minimiser, weights_of

LOSSES = {
    "logistic": Logistic(),
    "multinomial": Multinomial(3),
    "squared hinge": SquaredHinge(),
    "poisson": Poisson(),
    "huber": Huber(0.5),
}
every = pytest.mark.parametrize("name", LOSSES)


def problem(name, rows=40, width=3, seed=0, penalty=2.0, top=9):
    rng = np.random.default_rng(seed)
    x = rng.integers(-top, top + 1, (rows, width)).astype(float)
    loss = LOSSES[name]
    targets = {
        "logistic": np.where(x[:, 0] + rng.normal(size=rows) > 0, 1.0, -1.0),
        "squared hinge": np.where(x[:, 0] + rng.normal(size=rows) > 0, 1.0, -1.0),
        "multinomial": rng.integers(0, 3, rows),
        "poisson": rng.poisson(2, rows).astype(float),
        "huber": x[:, 0] / 4 + rng.normal(size=rows),
    }[name]
    return objective(loss, x, targets, penalty=penalty, weights=rng.integers(0, 9, rows) / 4)


@every
@settings(max_examples=12)
@given(seed=st.integers(0, 99), exponent=st.sampled_from([-6, -12, -30, -50, -80]))
def test_neither_beginning_nor_order_counts(name, seed, exponent):
    whole = problem(name, seed=seed)
    found = rounded_minimiser(whole, max(exponent, -46), 1)
    rng = np.random.default_rng(seed)
    order = rng.permutation(40)
    other = objective(
        whole.loss,
        whole.x[order],
        whole.targets[order],
        penalty=whole.penalty,
        weights=whole.weights[order],
    )
    start = rng.normal(size=whole.shape) / 10
    np.testing.assert_array_equal(rounded_minimiser(other, max(exponent, -46), 1, start), found)


@every
def test_a_sample_of_no_weight_was_never_there(name):
    whole = problem(name)
    gone = np.arange(0, 40, 3)
    stay = np.setdiff1d(np.arange(40), gone)
    fresh = objective(
        whole.loss,
        whole.x[stay],
        whole.targets[stay],
        penalty=whole.penalty,
        weights=whole.weights[stay],
    )
    left = rounded_minimiser(whole.without(gone), -40, 2, np.full(whole.shape, 0.01))
    np.testing.assert_array_equal(left, rounded_minimiser(fresh, -40, 2))


def rational(whole):
    """Minimiser of Σ w(x·v - y)²/2 + λ/2 ‖v‖² for two weights, by Cramer's rule in fractions."""
    a = [[Fraction(0)] * 2 for _ in range(2)]
    b = [Fraction(0)] * 2
    for row, target, weight in zip(whole.x, whole.targets, whole.weights, strict=True):
        for i in range(2):
            b[i] += Fraction(weight) * Fraction(row[i]) * Fraction(target)
            for j in range(2):
                a[i][j] += Fraction(weight) * Fraction(row[i]) * Fraction(row[j])
    for i in range(2):
        a[i][i] += Fraction(whole.penalty)
    det = a[0][0] * a[1][1] - a[0][1] * a[1][0]
    return [
        (b[0] * a[1][1] - b[1] * a[0][1]) / det,
        (b[1] * a[0][0] - b[0] * a[1][0]) / det,
    ]


@given(seed=st.integers(0, 200), exponent=st.integers(-45, -4))
def test_it_is_the_minimiser_that_is_rounded(seed, exponent):
    # Below its knee, Huber's loss is a parabola: the minimiser is a fraction that we know.
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 10, (12, 2)).astype(float)
    y = rng.integers(-40, 41, 12) / 8
    whole = objective(Huber(1e9), x, y, penalty=float(rng.integers(1, 50)) / 4)
    borders = offsets((2,), seed)
    grid = Fraction(2) ** exponent
    expected = [
        (w / grid + Fraction(int(border), 1 << 32)).__floor__()
        for w, border in zip(rational(whole), borders, strict=True)
    ]
    assert rounded_minimiser(whole, exponent, seed).tolist() == expected


@every
@given(seed=st.integers(0, 99), scale=st.integers(-3, 3))
@settings(max_examples=5)
def test_the_gradient_has_as_many_digits_as_it_says(name, seed, scale):
    whole = problem(name, rows=30, seed=seed, top=9 if name == "poisson" else 900)
    weights = np.random.default_rng(seed).normal(size=whole.shape) * 10.0**scale
    if name == "poisson":
        weights = np.clip(weights, -2, 2)
    found, error = precise.gradient(whole, precise.fixed(weights))
    with mpmath.workdps(90):
        expected = _gradient(whole, weights)
        unit = mpmath.mpf(2) ** -precise.BITS
        off = [mpmath.mpf(int(a)) * unit - b for a, b in zip(found.ravel(), expected, strict=True)]
        assert mpmath.sqrt(sum(one**2 for one in off)) <= error
    largest = max(1.0, float(np.abs(precise.floats(found)).max()))
    assert error < 1e-35 * largest


def _gradient(whole, weights):
    unit = mpmath.mpf(2) ** -precise.BITS
    w = np.array([mpmath.mpf(int(v)) * unit for v in precise.fixed(weights).ravel()], object)
    w = w.reshape(len(weights), -1)
    total = mpmath.mpf(whole.penalty) * w
    for row, target, weight in zip(whole.x, whole.targets.tolist(), whole.weights, strict=True):
        exact = np.array([mpmath.mpf(v) for v in row], object)
        slopes = _slope(whole.loss, [sum(exact * w[:, k]) for k in range(w.shape[1])], target)
        for k, slope in enumerate(slopes):
            total[:, k] += exact * slope * mpmath.mpf(weight)
    return total.ravel()


def _slope(loss, z, y):
    if isinstance(loss, Multinomial):
        total = sum(mpmath.exp(one) for one in z)
        return [mpmath.exp(one) / total - (k == y) for k, one in enumerate(z)]
    return [
        {
            Logistic: lambda: -y / (1 + mpmath.exp(y * z[0])),
            SquaredHinge: lambda: -y * max(0, 1 - y * z[0]),
            Poisson: lambda: mpmath.exp(z[0]) - y,
            Huber: lambda: min(max(z[0] - y, -0.5), 0.5),
        }[type(loss)]()
    ]


def test_what_float64_cannot_tell_is_told_with_more_digits(monkeypatch):
    whole = problem("logistic")
    asked = []
    real = precise.gradient
    monkeypatch.setattr(precise, "gradient", lambda *a: asked.append(1) or real(*a))
    coarse = rounded_minimiser(whole, -12, 0)
    assert not asked
    fine = rounded_minimiser(whole, -46, 0)
    assert asked
    apart = np.abs(weights_of(coarse, -12) - weights_of(fine, -46))
    assert (apart <= 2.0**-12).all()


def test_a_doubt_in_float64_changes_nothing(monkeypatch):
    whole = problem("logistic")
    sure = rounded_minimiser(whole, -12, 0)
    monkeypatch.setattr(rounded, "decided", lambda *_: None)
    np.testing.assert_array_equal(rounded_minimiser(whole, -12, 0), sure)


def test_features_that_nobody_has_weigh_nothing():
    whole = problem("logistic")
    x = np.concatenate([whole.x, np.zeros((40, 5))], axis=1)
    wide = objective(whole.loss, x, whole.targets, penalty=whole.penalty, weights=whole.weights)
    found = rounded_minimiser(wide, -12, 3)
    assert (found[-5:] == 0).all()
    np.testing.assert_array_equal(found[:3], rounded_minimiser(whole, -12, 3))


def test_a_minimiser_on_a_border_is_refused(monkeypatch):
    # One sample with x = y = 1 and a penalty of 1: w = 1/2, where we put a border.
    whole = objective(Huber(9.0), np.ones((1, 1)), np.ones(1), penalty=1.0)
    assert weights_of(rounded_minimiser(whole, -12, 0), -12) == pytest.approx([0.5])
    monkeypatch.setattr(rounded, "offsets", lambda shape, _: np.zeros(shape, np.int64))
    with pytest.raises(GuaranteeUnproved, match="border"):
        rounded_minimiser(whole, -12, 0)


def test_borders_stand_apart_from_zero_and_come_from_the_seed():
    some = offsets((1000, 2), 4)
    assert (some >= 1 << 30).all()
    assert (some < 3 << 30).all()
    assert len(np.unique(some)) > 1990
    np.testing.assert_array_equal(some, offsets((1000, 2), 4))
    assert (some != offsets((1000, 2), 5)).mean() > 0.99


def test_what_cannot_be_proved_is_refused():
    whole = problem("logistic")
    half = objective(whole.loss, whole.x + 0.5, whole.targets, penalty=2.0)
    with pytest.raises(GuaranteeUnproved, match="integers"):
        precise.gradient(half, precise.fixed(np.zeros(3)))
    with pytest.raises(GuaranteeUnproved, match="scores are too large"):
        precise.gradient(whole, precise.fixed(np.full(3, 1e9)))
    with pytest.raises(GuaranteeUnproved, match="slopes are too large"):
        precise.gradient(problem("poisson"), precise.fixed(np.full(3, 1e4)))
    with pytest.raises(GuaranteeUnproved, match="grid"):
        rounded_minimiser(whole, -90, 0)
    with pytest.raises(GuaranteeUnproved, match="no slope"):
        precise.slope_of(object())  # type: ignore[arg-type]
