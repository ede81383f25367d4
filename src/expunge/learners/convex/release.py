"""From secret weights to what may be published, with the part of a certificate that says why.

Two ways. *Dithered*: every weight is rounded to a grid after a secret uniform shift of its own. Two
weight vectors that are near give the very same bits, except with probability delta; epsilon
is 0. *Gaussian*: normal noise is added and the sum rounded to a grid, in exact arithmetic.
Rounding is post-processing, so the price is that of the noise alone, by the analytic
Gaussian mechanism, and no floating-point sampling stands between proof and code.

The comparator of both: the exact minimiser over the samples that stay, released the same way.

What is published, the certificate included, depends on ``within``, a bound that was declared
beforehand, and never on the measured bound alpha, which knows the data.

References:
    Balle and Wang 2018, arXiv:1805.06530. Mironov, CCS 2012. ``docs/certified.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from expunge.core.errors import GuaranteeUnproved, RecipeInvalid
from expunge.learners.convex import accounting, chance
from expunge.learners.convex.losses import Floats
from expunge.learners.convex.solve import Solution

COMPARATOR: Final = "exact-minimiser-over-remaining-samples-released-the-same-way"

ASSUMPTIONS: Final = (
    "arithmetic-is-ieee754-and-matrix-products-add-up-products",
    "exp-and-log-err-by-at-most-8-units-in-the-last-place",
    "random-words-of-the-operating-system-are-uniform-independent-and-secret",
    "solver-and-requests-see-no-random-words-of-releases-to-come",
    "nothing-else-that-depends-on-unreleased-weights-is-published",
)
"""What neither release can check by itself."""

_ADAPTIVE_DITHERED: Final = (
    "each release draws a fresh dither after its request is fixed: runs that published the same "
    "so far have the same request next, and differ then with probability delta at most"
)
_ADAPTIVE_GAUSSIAN: Final = (
    "each release draws fresh noise after its request is fixed, and Gaussian releases compose "
    "adaptively by the root of the sum of squares"
)
_EXPONENTS: Final = range(-100, 101)
_LARGEST: Final = 2**52
_REBUILD: Final = "`exact`, by a rebuild without the samples"


@dataclass(frozen=True, slots=True)
class Released:
    """What may be said of one release. Everything in it may be published.

    Attributes:
        mechanism: ``dithered-rounding`` or ``rounded-gaussian``.
        epsilon: For all sets T of outcomes: P(ours in T) ≤ e^epsilon·P(comparator in T) + delta,
            and the other way round.
        delta: See ``epsilon``.
        mu: Of the Gaussian release, to compose by; None where there is no noise.
        comparator: What ours is close to.
        assumptions: What was not checked here, as stable names.
        within: Declared bound on the distance to the exact minimiser. Unit: weight.
        grid: Distance between two published values. Unit: weight.
        sigma: Standard deviation of the noise; None where there is none. Unit: weight.
        slack: Part of delta that is due to a dither of finitely many bits.
        adaptive: Whether requests may depend on earlier releases.
        adaptive_because: Why, or why not.
    """

    mechanism: str
    epsilon: float
    delta: float
    mu: float | None
    comparator: str
    assumptions: tuple[str, ...]
    within: float
    grid: float
    sigma: float | None
    slack: float
    adaptive: bool
    adaptive_because: str


def dithered(
    solution: Solution, *, within: float, grid: float, most_delta: float
) -> tuple[Floats, Released]:
    """Round each weight to the grid after a secret shift. Epsilon is 0.

    Args:
        solution: What to release.
        within: Declared bound on its distance to the exact minimiser, not chosen by looking
            at this solution.
        grid: A power of two. Unit: weight.
        most_delta: The largest delta that is accepted.

    Returns:
        The rounded weights, and what may be said of them.

    Raises:
        GuaranteeUnproved: The solution is not within the bound, or delta would be larger.
        RecipeInvalid: The grid is not a power of two from 2⁻¹⁰⁰ to 2¹⁰⁰, or ``most_delta`` is no
            probability.
    """
    exponent = _exponent(grid)
    _check(solution, within, grid)
    said = dithered_terms(solution.weights.size, within=within, grid=grid, most_delta=most_delta)
    return _dither(solution.weights, exponent), said


def gaussian(
    solution: Solution, *, within: float, grid: float, epsilon: float, delta: float
) -> tuple[Floats, Released]:
    """Add the normal noise that ``epsilon`` and ``delta`` ask for, and round to the grid.

    Costs about 20 µs per weight. The grid does not enter the guarantee; one that is much finer
    than the noise keeps the rounding small beside it.

    Args:
        solution: What to release.
        within: As in :func:`dithered`.
        grid: A power of two. Unit: weight.
        epsilon: Of the guarantee, at least 0.
        delta: Of the guarantee, within (0, 1).

    Returns:
        The noised and rounded weights, and what may be said of them.

    Raises:
        GuaranteeUnproved: The solution is not within the bound.
        RecipeInvalid: The grid is not a power of two from 2⁻¹⁰⁰ to 2¹⁰⁰, or too fine.
        InputError: ``epsilon`` or ``delta`` is none.
    """
    exponent = _exponent(grid)
    _check(solution, within, grid)
    said = gaussian_terms(within=within, grid=grid, epsilon=epsilon, delta=delta)
    assert said.sigma is not None
    return _noise(solution.weights, said.sigma, exponent), said


def dithered_terms(parameters: int, *, within: float, grid: float, most_delta: float) -> Released:
    """What can be said of every dithered release of so many weights, before there is any.

    Raises:
        GuaranteeUnproved: Delta would be larger than ``most_delta``.
        RecipeInvalid: ``most_delta`` is no probability.
    """
    if not 0 < most_delta < 1:
        raise RecipeInvalid(f"`most_delta` must lie between 0 and 1, got {most_delta}.")
    delta = accounting.dithered_delta(within, grid, parameters)
    if delta > most_delta:
        raise GuaranteeUnproved(
            f"{parameters:,} weights within {within:.2g} of the minimiser round differently on a "
            f"grid of {grid:.2g} with probability up to {delta:.2g}, more than {most_delta:.2g}",
            f"a coarser grid, a smaller `within`, the Gaussian release, or {_REBUILD}",
        )
    return Released(
        mechanism="dithered-rounding",
        epsilon=0.0,
        delta=delta,
        mu=None,
        comparator=COMPARATOR,
        assumptions=ASSUMPTIONS,
        within=within,
        grid=grid,
        sigma=None,
        slack=parameters * 2.0**-accounting.DITHER_BITS,
        adaptive=True,
        adaptive_because=_ADAPTIVE_DITHERED,
    )


def gaussian_terms(*, within: float, grid: float, epsilon: float, delta: float) -> Released:
    """What can be said of every Gaussian release, before there is any.

    Raises:
        RecipeInvalid: The grid is too fine for the noise.
        InputError: ``epsilon`` or ``delta`` is none.
    """
    mu = accounting.gaussian_mu(epsilon, delta)
    sigma = within / mu * (1 + 1e-12)  # over the rounding of this division
    if not sigma / grid < _LARGEST:
        raise RecipeInvalid(f"A grid of {grid:.2g} is too fine for noise of {sigma:.2g}.")
    return Released(
        mechanism="rounded-gaussian",
        epsilon=epsilon,
        delta=delta,
        mu=mu,
        comparator=COMPARATOR,
        assumptions=ASSUMPTIONS,
        within=within,
        grid=grid,
        sigma=sigma,
        slack=0.0,
        adaptive=True,
        adaptive_because=_ADAPTIVE_GAUSSIAN,
    )


def _dither(weights: Floats, exponent: int) -> Floats:
    """⌊w/g + U⌋·g with U uniform on the multiples of 2⁻⁶⁴ in [0, 1), in exact arithmetic.

    w/g is cut to a multiple of 2⁻⁶⁴ towards 0, ±(whole + part·2⁻⁶⁴). From 0 upward, U carries
    into the integer where part + U·2⁶⁴ reaches 2⁶⁴; below 0, it borrows where U·2⁶⁴ < part.
    """
    scaled = np.ldexp(weights, -exponent)
    size = np.abs(scaled)
    whole = np.floor(size)
    part = np.ldexp(size - whole, 64).astype(np.uint64)  # exact: the bits behind the point
    words = chance.uniform_words(weights.size).reshape(weights.shape)
    carried = words > ~part  # part + word ≥ 2⁶⁴
    up, down = whole + carried, -whole - (words < part)
    return np.asarray(np.ldexp(np.where(scaled < 0, down, up), exponent))


def _noise(weights: Floats, sigma: float, exponent: int) -> Floats:
    draw = chance.words()
    rounded = [
        chance.nearest(weight, sigma, exponent, chance.normal(draw), draw)
        for weight in weights.ravel().tolist()
    ]
    # Cut where float64 has no integers any more: post-processing, and it never happens.
    cut = [min(max(value, -_LARGEST * 2), _LARGEST * 2) for value in rounded]
    return np.ldexp(np.array(cut, np.float64), exponent).reshape(weights.shape)


def _exponent(grid: float) -> int:
    mantissa, exponent = math.frexp(grid)
    if mantissa != 0.5 or exponent - 1 not in _EXPONENTS:
        raise RecipeInvalid(
            f"`grid` must be a power of two from 2⁻¹⁰⁰ to 2¹⁰⁰, so that rounding is exact, got {grid}."
        )
    return exponent - 1


def _check(solution: Solution, within: float, grid: float) -> None:
    weights = solution.weights
    if not 0 < within < math.inf:
        raise RecipeInvalid(f"`within` must be positive and finite, got {within}.")
    if not weights.size or not np.isfinite(weights).all():
        raise GuaranteeUnproved("there are no weights, or some are not finite", _REBUILD)
    if not 0 <= solution.alpha <= within:
        # Not by how much: that depends on the data.
        raise GuaranteeUnproved(
            f"the solution is not known to be within {within:.2g} of the exact minimiser",
            "more passes of `minimise` with this `within`, or " + _REBUILD,
        )
    if not np.abs(weights).max() / grid < _LARGEST:
        raise RecipeInvalid(f"A grid of {grid:.2g} is too fine for weights of this size.")
