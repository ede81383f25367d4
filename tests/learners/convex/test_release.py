"""What is released rounds as its delta says, and nothing is released unchecked."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from expunge.core.errors import ExpungeError, GuaranteeUnproved, RecipeInvalid
from expunge.learners.convex import accounting, chance, release, solve
from expunge.learners.convex.losses import Logistic
from expunge.learners.convex.objective import Point, objective
from expunge.learners.convex.preconditioner import Preconditioner


def solution(weights, alpha):
    """As the solver would have found it, with a bound that we choose."""
    weights = np.asarray(weights, np.float64)
    none = np.zeros(0)
    point = Point(weights, none, none, none, 0.0, 0.0, alpha)
    return solve.Solution(point, Preconditioner(np.eye(1), np.empty((1, 0))), 1, 0)


def rounded_many(weights, exponent, times, seed, monkeypatch):
    """Dithered roundings with words of our own: (times, d)."""
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(
        chance, "uniform_words", lambda number: rng.integers(0, 2**64, number, np.uint64)
    )
    tiled = np.broadcast_to(weights, (times, len(weights)))
    return release._dither(np.ascontiguousarray(tiled), exponent)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_dithered_delta_holds_over_a_hundred_thousand_releases(seed, monkeypatch):
    d, grid, times = 20, 2.0**-3, 100_000
    rng = np.random.default_rng(seed)
    w = rng.normal(size=d)
    away = rng.choice([-1, 1], d) / math.sqrt(d)  # the direction in which √d is attained
    distance = 1e-2 * grid / math.sqrt(d)
    delta = accounting.dithered_delta(distance, grid, d)
    assert delta == pytest.approx(1e-2, rel=1e-6)
    # The same dither for both: how often they differ at all.
    first = rounded_many(w, -3, times, seed, monkeypatch)
    second = rounded_many(w + distance * away, -3, times, seed, monkeypatch)
    differ = int((first != second).any(axis=1).sum())
    low, high = stats.binomtest(differ, times).proportion_ci(0.9999)
    assert low <= delta
    assert high >= 0.9 * delta  # Σ|wⱼ - w'ⱼ|/g, less what falls together


def test_roundings_are_multiples_of_the_grid_and_right_on_average(monkeypatch):
    w = np.array([0.3, -0.3, 0.0, 1.0, -1.0, 2.24, -1e-30])
    got = rounded_many(w, -1, 40_000, 4, monkeypatch)
    assert np.abs(got - w).max() < 0.5 + 1e-12
    np.testing.assert_array_equal(got * 2, np.rint(got * 2))
    np.testing.assert_allclose(got.mean(axis=0), w, atol=0.01)


@given(
    value=st.floats(-1e6, 1e6),
    exponent=st.integers(-20, 20),
    word=st.integers(0, 2**64 - 1),
)
@example(value=-1e-20, exponent=0, word=0)
@example(value=-0.5, exponent=0, word=2**63)
@example(value=0.5, exponent=0, word=2**63)
@example(value=1 - 2**-53, exponent=0, word=2**64 - 1)
def test_rounding_is_exact_integer_arithmetic(value, exponent, word):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chance, "uniform_words", lambda n: np.full(n, word, np.uint64))
        got = release._dither(np.array([value]), exponent)[0]
    # ⌊trunc(w/g·2⁶⁴)/2⁶⁴ + word/2⁶⁴⌋ in Python's integers.
    above, below = value.as_integer_ratio()
    shift = 64 - exponent
    scaled = abs(above) << shift if shift >= 0 else abs(above)
    size = scaled // (below if shift >= 0 else below << -shift)
    wanted = ((size if value > 0 else -size) + word) >> 64
    assert got == math.ldexp(wanted, exponent)


@pytest.mark.parametrize(("whole", "x"), [(0, 0.5), (0, 0.9), (1, 0.5), (4, 0.8)])
def test_coins_fall_with_their_exact_probability(whole, x):
    draw = iter(np.random.default_rng(1).integers(0, 2**64, 1_000_000, np.uint64).tolist())
    times = 20_000
    digit = int(x * 2**53) << 11
    heads = sum(chance._falls(whole, [digit], draw) for _ in range(times))
    wanted = math.exp(-x * (2 * whole + x) / (2 * whole + 2))
    assert stats.binomtest(heads, times, wanted).pvalue > 1e-4
    heads = sum(chance._half(draw) for _ in range(times))
    assert stats.binomtest(heads, times, math.exp(-0.5)).pvalue > 1e-4


def test_normal_deviates_are_normal():
    draw = chance.words()
    got = [chance.nearest(0.0, 1.0, -30, chance.normal(draw), draw) / 2**30 for _ in range(20_000)]
    assert stats.kstest(got, "norm").pvalue > 1e-6
    # Tails, which a test of the whole would miss.
    outside = int((np.abs(got) > 2.5).sum())
    assert stats.binomtest(outside, len(got), 2 * stats.norm.sf(2.5)).pvalue > 1e-6


@pytest.mark.parametrize(("centre", "sigma"), [(0.0, 0.4), (0.3, 1.0), (-7.6, 2.5)])
def test_the_rounded_gaussian_has_the_probabilities_of_a_rounded_gaussian(centre, sigma):
    draw, times = chance.words(), 20_000
    got = [chance.nearest(centre, sigma, 0, chance.normal(draw), draw) for _ in range(times)]
    values = np.arange(math.floor(centre - 3 * sigma), math.ceil(centre + 3 * sigma) + 1)
    edges = np.concatenate([[-np.inf], values[:-1] + 0.5, [np.inf]])
    wanted = np.diff(stats.norm.cdf(edges, centre, sigma)) * times
    counts = np.histogram(got, np.clip(edges, -1e9, 1e9))[0]
    enough = wanted > 5
    pooled = [*wanted[enough], wanted[~enough].sum()], [*counts[enough], counts[~enough].sum()]
    statistic = sum((c - w) ** 2 / w for w, c in zip(*pooled, strict=True) if w > 0)
    assert stats.chi2.sf(statistic, len(pooled[0]) - 1) > 1e-6


def test_nearest_is_exact_where_floats_are_not():
    # 2⁵¹ + 0.5 + tiny rounds up; in floating point the tiny part is lost.
    sign_up = chance.Normal(1, 0, [1])
    assert chance.nearest(2.0**51 + 0.5, 2.0**-60, 0, sign_up, iter([])) == 2**51 + 1
    below = chance.Normal(-1, 0, [1])
    assert chance.nearest(2.0**51 + 0.5, 2.0**-60, 0, below, iter([])) == 2**51
    assert chance.nearest(-1.5, 1.0, 1, chance.Normal(1, 1, [2**63]), iter([])) == 0


def test_undecided_digits_are_drawn():
    # One word says 1/2 - 2⁻⁶⁴ ≤ z < 1/2, and with it 0 or just not 0: more words decide.
    undecided = chance.Normal(1, 0, [2**63 - 1])
    assert chance.nearest(0.0, 1.0, 0, undecided, iter([2**64 - 1, 5])) == 0
    assert undecided.digits == [2**63 - 1, 2**64 - 1, 5]


def test_a_gaussian_release_is_noise_of_the_stated_size():
    w = np.linspace(-1, 1, 3000)
    got, said = release.gaussian(
        solution(w, 1e-4), within=1e-3, grid=2.0**-20, epsilon=1.0, delta=1e-5
    )
    assert said.sigma == pytest.approx(1e-3 * 3.730632, rel=1e-5)
    assert np.std(got - w) == pytest.approx(said.sigma, rel=0.1)
    np.testing.assert_array_equal(got * 2**20, np.rint(got * 2**20))
    assert accounting.gaussian_delta(1.0, said.within / said.sigma) <= 1e-5
    assert said.mu is not None
    assert accounting.gaussian_composed([said.mu] * 4) == pytest.approx(2 * said.mu)


def test_every_release_draws_anew():
    w = np.full(200, 0.3)
    first, _ = release.dithered(solution(w, 1e-9), within=1e-8, grid=0.5, most_delta=0.1)
    second, _ = release.dithered(solution(w, 1e-9), within=1e-8, grid=0.5, most_delta=0.1)
    assert (first != second).any()


def test_what_is_said_does_not_depend_on_what_was_measured():
    # The measured bound knows the data; only the declared one is published.
    w = np.zeros((3, 2))
    ways = [
        lambda found: release.dithered(found, within=1e-8, grid=0.5, most_delta=0.1),
        lambda found: release.gaussian(found, within=1e-8, grid=2.0**-40, epsilon=1, delta=1e-5),
    ]
    for way in ways:
        said = [way(solution(w, alpha))[1] for alpha in (0.0, 1e-12, 1e-8)]
        assert said[0] == said[1] == said[2]
        assert said[0].comparator == release.COMPARATOR
        assert said[0].assumptions
        assert said[0].adaptive
        assert said[0].adaptive_because


def test_a_release_by_hand():
    whole = objective(Logistic(), np.eye(3), np.ones(3), penalty=1.0)
    found = solve.minimise(whole, within=1e-10)
    got, said = release.dithered(found, within=1e-10, grid=2.0**-10, most_delta=1e-5)
    # w = 1/(1 + exp(w)): 0.4010581.
    assert np.abs(got - 0.4010581).max() < 2.0**-10
    assert got.shape == (3,)
    # √3·1e-10·2¹⁰
    assert said.delta == pytest.approx(1.7736e-7, rel=1e-3)
    assert (said.epsilon, said.mu, said.sigma) == (0.0, None, None)


GOOD = {"alpha": 1e-9, "within": 1e-8, "grid": 2.0**-8, "weight": 0.7}


@given(
    alpha=st.sampled_from([1e-9, 2e-8, math.nan, math.inf, -1.0]),
    within=st.sampled_from([1e-8, 0.0, -1.0, math.nan, math.inf, 1.0]),
    grid=st.sampled_from([2.0**-8, 0.3, 0.0, -0.5, math.nan, math.inf, 2.0**-101, 2.0**101]),
    weight=st.sampled_from([0.7, math.nan, math.inf, 1e15]),
    most_delta=st.sampled_from([1e-3, 1e-12, 0.0, 1.0, math.nan]),
)
def test_no_release_is_returned_whose_assumptions_do_not_hold(
    alpha, within, grid, weight, most_delta
):
    found = solution([weight, 0.2], alpha)
    fine = (alpha, within, grid, weight) == tuple(GOOD.values())
    try:
        got, said = release.dithered(found, within=within, grid=grid, most_delta=most_delta)
    except ExpungeError:
        assert not fine or most_delta != 1e-3
    else:
        assert fine or (within == 1.0 and grid == 2.0**100)
        assert most_delta == 1e-3
        assert said.delta <= most_delta
        assert np.isfinite(got).all()
    try:
        got, said = release.gaussian(found, within=within, grid=grid, epsilon=1, delta=1e-5)
    except ExpungeError:
        assert not fine
    else:
        assert alpha <= within
        assert grid == 2.0**-8
        assert weight == 0.7
        assert np.isfinite(got).all()


def test_a_bound_that_exceeds_the_grid_is_refused_with_the_next_best():
    with pytest.raises(GuaranteeUnproved, match="coarser grid") as caught:
        release.dithered(solution([1.0], 1e-3), within=1e-2, grid=2.0**-8, most_delta=0.5)
    assert "rebuild" in caught.value.instead
    with pytest.raises(GuaranteeUnproved) as caught:
        release.dithered(solution([1.0], 1.23e-3), within=1e-4, grid=0.5, most_delta=0.5)
    assert "1.23" not in str(caught.value)  # the measured bound is secret


def test_grids_too_fine_for_exact_integers_are_refused():
    with pytest.raises(RecipeInvalid, match="too fine"):
        release.dithered(solution([1.0], 0.0), within=1e-30, grid=2.0**-60, most_delta=0.5)
    with pytest.raises(RecipeInvalid, match="too fine"):
        release.gaussian(solution([0.0], 0.0), within=1.0, grid=2.0**-60, epsilon=1, delta=0.1)


def test_released_has_nothing_that_is_secret():
    names = {field.name for field in fields(release.Released)}
    assert not names & {"alpha", "residual", "rounding", "weights", "passes", "dither", "words"}


def test_a_solution_without_weights_is_refused():
    with pytest.raises(GuaranteeUnproved):
        release.dithered(solution([], 0.0), within=1e-9, grid=0.5, most_delta=0.5)
    found = solution([1.0], 0.0)
    assert replace(found, passes=3).alpha == 0
