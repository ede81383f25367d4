"""The gradient of a convex objective to as many digits as one likes.

Float64 leaves a rounding allowance, and so a bound on the distance to the minimiser that cannot
be made smaller. Here products and sums are of whole numbers, exact in any order: features are
integers (``expunge.learners.features``), and weights and slopes are cut into limbs so short that
no partial sum of float64 leaves 2⁵³. Only the slopes are rounded, at eighty decimal digits.

References:
    Ozaki, Ogita, Oishi and Rump, "Error-free transformations of matrix multiplication by using
    fast routines of matrix multiplication", Numerical Algorithms 2012,
    doi:10.1007/s11075-011-9478-1 (limbs; ours are of integers).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import singledispatch
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import GuaranteeUnproved
from expunge.learners.convex.losses import (
    Floats,
    Huber,
    Logistic,
    Loss,
    Multinomial,
    Poisson,
    SquaredHinge,
)
from expunge.learners.convex.objective import Objective

BITS: Final = 160
"""Behind the binary point, of weights, slopes and gradients."""

_ONE: Final = 1 << BITS
_LIMB: Final = 20
_EXACT: Final = 1 << 53
_DIGITS: Final = Context(prec=80, Emax=10**12, Emin=-(10**12))
# Scores and targets below 2³⁰ and 2⁵³, rounded to 80 digits, move an exponential by less than
# 10⁻⁶⁹ of itself; a slope takes some ten operations more. Relative to 1 + |slope|:
_SLOPE_ERROR: Final = 1e-45
_MOST: Final = Decimal(2) ** 30
_LARGEST: Final = Decimal(10) ** 200  # with the weight, float64 still holds it

Fixed: TypeAlias = NDArray[Any]
"""Python integers, in units of 2^-BITS."""


def fixed(values: Floats) -> Fixed:
    """Floats as fixed-point integers; exact but for bits below the unit, which are cut."""
    flat = [math.floor(Fraction(value) * _ONE) for value in values.ravel().tolist()]
    return _objects(flat).reshape(values.shape)


def floats(values: Fixed) -> Floats:
    """Fixed-point integers as floats."""
    flat = [float(Fraction(value, _ONE)) for value in values.ravel().tolist()]
    return np.array(flat).reshape(values.shape)


def gradient(whole: Objective, weights: Fixed) -> tuple[Fixed, float]:
    """The gradient at ``weights``, and a bound on the 2-norm of its error.

    Costs some ten passes over the features for each output, and some 30 µs a sample.

    Args:
        whole: Its features must be integers.
        weights: (d,) or (d, K).

    Raises:
        GuaranteeUnproved: Features are no integers, or too large to be multiplied exactly.
    """
    _check(whole)
    columns = weights.reshape(len(weights), -1)
    scores = np.stack([_product(whole.x, column) for column in columns.T], axis=1)
    slopes = _slopes(whole, scores)
    summed = np.stack([_product(whole.x.T, column) for column in slopes.T], axis=1)
    penalty = Fraction(whole.penalty)
    shrink = _objects([math.floor(penalty * value) for value in weights.ravel().tolist()])
    found = summed.reshape(weights.shape) + shrink.reshape(weights.shape)
    if whole.linear is not None:
        found = found + fixed(whole.linear)
    return found, _error(whole, slopes)


def _error(whole: Objective, slopes: Fixed) -> float:
    """Bound on what slopes and cut bits do to the gradient, in 2-norm."""
    largest = float(Fraction(max((abs(v) for v in slopes.ravel().tolist()), default=0), _ONE))
    each = (1 + largest) * _SLOPE_ERROR * (1 + float(whole.weights.max(initial=0)))
    each += 4 * 2.0**-BITS
    outputs, width = slopes.shape[1], whole.x.shape[1]
    spread = float(np.sqrt(whole.squares).sum()) * math.sqrt(outputs)
    return float(1.01 * (spread * each + 4 * 2.0**-BITS * outputs * width))


def _slopes(whole: Objective, scores: Fixed) -> Fixed:
    """Slope times weight of each sample, (n, outputs)."""
    slope = slope_of(whole.loss)
    found: list[list[int]] = []
    with localcontext(_DIGITS):
        one = Decimal(_ONE)
        for row, target, weight in zip(
            scores, whole.targets.tolist(), whole.weights.tolist(), strict=True
        ):
            exact = [Decimal(int(score)) / one for score in row]
            if weight == 0:
                found.append([0] * len(exact))
                continue
            if max(map(abs, exact)) > _MOST:
                raise GuaranteeUnproved("scores are too large", _INSTEAD)
            slopes, times = slope(exact, target), Decimal(weight) * one
            if max(map(abs, slopes)) > _LARGEST:
                raise GuaranteeUnproved("slopes are too large", _INSTEAD)
            found.append([int((s * times).to_integral_value()) for s in slopes])
    return _objects([value for row in found for value in row]).reshape(len(found), -1)


Slope: TypeAlias = Callable[[list[Decimal], Any], list[Decimal]]
"""Scores of one sample and its target to slopes, in the context's precision."""


@singledispatch
def slope_of(loss: Loss) -> Slope:
    """The slope of a loss in decimals.

    Raises:
        GuaranteeUnproved: Nobody has written it for this loss.
    """
    raise GuaranteeUnproved(f"{type(loss).__name__} has no slope to many digits", _INSTEAD)


@slope_of.register
def _(loss: Logistic) -> Slope:
    del loss
    return lambda z, y: [-Decimal(y) / (1 + (Decimal(y) * z[0]).exp())]


@slope_of.register
def _(loss: Multinomial) -> Slope:
    del loss

    def slope(z: list[Decimal], y: int) -> list[Decimal]:
        top = max(z)
        raised = [(one - top).exp() for one in z]
        total = sum(raised)
        return [one / total - (k == y) for k, one in enumerate(raised)]

    return slope


@slope_of.register
def _(loss: SquaredHinge) -> Slope:
    del loss
    return lambda z, y: [-Decimal(y) * max(Decimal(0), 1 - Decimal(y) * z[0])]


@slope_of.register
def _(loss: Poisson) -> Slope:
    del loss
    return lambda z, y: [z[0].exp() - Decimal(y)]


@slope_of.register
def _(loss: Huber) -> Slope:
    knee = Decimal(loss.knee)
    return lambda z, y: [min(max(z[0] - Decimal(y), -knee), knee)]


def _product(matrix: Floats, vector: Fixed) -> Fixed:
    """``matrix`` · ``vector``, exactly: whole numbers times whole numbers, limb by limb."""
    total, parts = np.zeros(len(matrix), object), list(_columns(matrix))
    for shift, limb in _limbs(vector.tolist()):
        for part in parts:
            found = matrix[:, part] @ limb[part]
            total += _objects(found.astype(np.int64).tolist()) * (1 << shift)
    return total


def _limbs(values: list[int]) -> Iterator[tuple[int, Floats]]:
    """Whole numbers as sums of limbs times powers of two: (power, signed limbs as floats)."""
    signs = np.sign(np.array([(v > 0) - (v < 0) for v in values], np.float64))
    rest, shift = [abs(value) for value in values], 0
    while any(rest):
        yield shift, signs * np.array([value & ((1 << _LIMB) - 1) for value in rest], np.float64)
        rest, shift = [value >> _LIMB for value in rest], shift + _LIMB


def _columns(matrix: Floats) -> Iterator[slice]:
    """Columns in blocks whose products with a limb sum to less than 2⁵³."""
    width = matrix.shape[1]
    most = max(int(np.abs(matrix).max(initial=1)), 1)
    step = _EXACT // (most << _LIMB)
    for start in range(0, width, step):
        yield slice(start, min(start + step, width))


def _check(whole: Objective) -> None:
    x = whole.x
    if (x != np.rint(x)).any() or np.abs(x).max(initial=0) > 1 << 20:
        raise GuaranteeUnproved("features are not integers below 2^20", _INSTEAD)


_INSTEAD: Final = "`certified`, by a release of weights whose distance to the minimiser is bounded"


def _objects(values: list[int]) -> Fixed:
    found = np.empty(len(values), object)
    found[:] = values
    return found
