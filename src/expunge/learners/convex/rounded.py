"""The exact minimiser, correctly rounded: a function of the samples alone.

A strongly convex objective has one minimiser w*. No machine computes it, but to know w* *rounded to
a grid* it is enough to know it well: where all points within the proven distance of ours round
alike, that is how w* rounds. So whoever minimises the same objective, from wherever, in whatever
order and on whatever machine, gets the same bits, and forgetting by going on from the old
weights is exact.

Where a coordinate is too near to a border for float64 to tell, digits are added until it can be
told (the table maker's dilemma of correctly rounded functions). Borders stand at places that
are drawn from the seed, because a minimiser may be a simple fraction, and 0 is never near one.

References:
    Muller et al., "Handbook of Floating-Point Arithmetic", 2nd edition, 2018, chapter 10
    (correct rounding); ``docs/certified.md``, section 1 (the distance).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from expunge.core import rng
from expunge.core.errors import GuaranteeUnproved
from expunge.learners.convex import precise
from expunge.learners.convex.losses import UNIT, Floats
from expunge.learners.convex.objective import Objective, norm
from expunge.learners.convex.solve import Solution, minimise

_WITHIN: Final = tuple(2.0**power for power in range(-22, 60, 6))
"""Distances that are tried in float64, as parts of the grid; the nearer, the rarer a doubt."""

_STEPS: Final = 60
_OFFSET_BITS: Final = 32


def rounded_minimiser(
    whole: Objective, exponent: int, seed: int, start: Floats | None = None
) -> NDArray[np.int64]:
    """The minimiser of ``whole`` in units of 2^exponent, each coordinate rounded.

    Costs what :func:`minimise` costs; where float64 leaves a doubt (with probability about
    2·α·parameters/grid), some ten passes and 30 µs a sample more.

    Args:
        whole: The objective.
        exponent: Of the grid. Unit: weight.
        seed: Of the borders between cells; part of the recipe.
        start: Weights to begin at. The result does not depend on them.

    Raises:
        GuaranteeUnproved: No distance could be proved, or a coordinate is nearer to a border
            than 2⁻¹⁰⁰ of the grid.
    """
    solution = _solved(whole, 2.0**exponent, start)
    borders = offsets(solution.weights.shape, seed)
    found = decided(solution.weights, solution.alpha, exponent, borders)
    return _told_apart(whole, solution, exponent, borders) if found is None else found


def offsets(shape: tuple[int, ...], seed: int) -> NDArray[np.int64]:
    """Where cells end, in units of 2⁻³² of the grid: between 1/4 and 3/4."""
    drawn = rng.mix(np.arange(math.prod(shape), dtype=np.uint64), rng.seed("borders", seed))
    quarter = 1 << (_OFFSET_BITS - 2)
    kept = (drawn >> np.uint64(64 - _OFFSET_BITS + 1)).astype(np.int64)
    return (quarter + kept).reshape(shape)


def _solved(whole: Objective, grid: float, start: Floats | None) -> Solution:
    for part in _WITHIN[:-1]:
        try:
            return minimise(whole, within=part * grid, start=start)
        except GuaranteeUnproved:  # nearer than rounding allows: a coarser answer will do
            continue
    return minimise(whole, within=_WITHIN[-1] * grid, start=start)


def decided(
    weights: Floats, alpha: float, exponent: int, borders: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """How all points within ``alpha`` of ``weights`` round; None where they do not round alike.

    Args:
        weights: Of any shape.
        alpha: Bound on the distance of the exact minimiser. Unit: weight.
        exponent: Of the grid, a power of two.
        borders: As :func:`offsets` draws them, of the same shape.
    """
    scaled = np.ldexp(weights, -exponent)
    if np.abs(scaled).max(initial=0) >= 1 << 50:
        raise GuaranteeUnproved("weights are too large for the grid", "a coarser grid")
    places = scaled + np.ldexp(borders.astype(np.float64), -_OFFSET_BITS)
    # Two roundings above, of numbers that are at most this large; and those of the next lines.
    slack = math.ldexp(alpha, -exponent) * (1 + 8 * UNIT) + 8 * UNIT * (np.abs(places) + 1)
    low, high = np.floor(places - slack), np.floor(places + slack)
    return low.astype(np.int64) if (low == high).all() else None


def _told_apart(
    whole: Objective, solution: Solution, exponent: int, borders: NDArray[np.int64]
) -> NDArray[np.int64]:
    """With more digits, until all points within the distance round alike."""
    weights = precise.fixed(solution.weights)
    for _ in range(_STEPS):
        gradient, error = precise.gradient(whole, weights)
        found = _decided_exactly(whole, (weights, gradient, error), exponent, borders)
        if found is not None:
            return found
        step = solution.preconditioner.apply(precise.floats(gradient))
        weights = weights - precise.fixed(step)
    raise GuaranteeUnproved(
        "a coordinate of the minimiser lies too near to a border of the grid to be rounded",
        "another `seed` or `grid` in the recipe",
    )


def _decided_exactly(
    whole: Objective,
    point: tuple[precise.Fixed, precise.Fixed, float],
    exponent: int,
    borders: NDArray[np.int64],
) -> NDArray[np.int64] | None:
    weights, gradient, error = point
    residual = norm(precise.floats(gradient)) * (1 + 4 * UNIT)
    alpha = Fraction((residual + error) / whole.penalty * (1 + 8 * UNIT))
    reach = math.ceil(alpha * (1 << precise.BITS)) + 1
    shift = precise.BITS + exponent
    ends = [_cell(weights, sign * reach, shift, borders) for sign in (-1, 1)]
    return ends[0] if (ends[0] == ends[1]).all() else None


def _cell(
    weights: precise.Fixed, reach: int, shift: int, borders: NDArray[np.int64]
) -> NDArray[np.int64]:
    """In which cell of the grid each coordinate is once ``reach`` is added; all exact."""
    offset = [int(border) << shift >> _OFFSET_BITS for border in borders.ravel().tolist()]
    flat = [(w + reach + o) >> shift for w, o in zip(weights.ravel().tolist(), offset, strict=True)]
    return np.array(flat, np.int64).reshape(weights.shape)


def weights_of(found: NDArray[Any], exponent: int) -> Floats:
    """Cells of the grid as weights."""
    return np.asarray(np.ldexp(found.astype(np.float64), exponent))
