"""Minimise by gradient passes that an old factor preconditions, until a bound is small enough.

Forgetting starts where the last minimum was: there the gradient of what stays is known without
looking at the data (the old one less the terms of the samples that leave), and one step with
the factor, from which they are taken out too, lands near the new minimum. What the step
leaves is small, so passes in float32 tell it well enough to correct the step, and one pass in
float64 proves the bound, or shows what to polish. Nothing of how a point was found enters its bound, so a stale factor, a wrong
one, or none costs time and never the proof.

Directions are those of L-BFGS with the factor as its first guess; it learns from each pass
what the factor lacks. Where passes shrink the gradient too slowly, or not at all, the Hessian is
factored again, and a step is halved until the gradient shrinks (Newton's directions always
shrink it).

References:
    Nocedal and Wright, "Numerical Optimization", 2nd edition, 2006, algorithm 7.4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import GuaranteeUnproved, InputError
from expunge.learners.convex.losses import Floats
from expunge.learners.convex.objective import (
    Objective,
    Point,
    blocks,
    evaluate,
    norm,
    per_row,
)
from expunge.learners.convex.preconditioner import Preconditioner

_MEMORY: Final = 10
_PASSES: Final = 500
_HALVINGS: Final = 30
_LIGHT_PASSES: Final = 6
_MARGIN: Final = 2  # what a forecast may be wrong by before it costs a pass more
_ROWS: Final = 512
_INSTEAD: Final = "`exact`, by a rebuild without the samples"


@dataclass(frozen=True, slots=True)
class Solution:
    """A minimiser and the proof of how near it is.

    Attributes:
        point: Weights, gradient and bounds; secret.
        preconditioner: For what comes next; secret.
        passes: Passes over the data that were made.
        factorings: Hessians that were factored.
    """

    point: Point
    preconditioner: Preconditioner
    passes: int
    factorings: int

    @property
    def weights(self) -> Floats:
        """The unrounded weights, (d,) or (d, K). Secret: publish what ``release`` makes of them."""
        return self.point.weights

    @property
    def alpha(self) -> float:
        """Bound on ‖weights - exact minimiser‖₂. Secret too: it was measured on the data."""
        return self.point.alpha


def minimise(
    whole: Objective,
    *,
    within: float,
    start: Floats | None = None,
    preconditioner: Preconditioner | None = None,
) -> Solution:
    """Minimise ``whole`` until the bound on the distance to its exact minimiser is ``within``.

    Cold (without ``start``) this is Newton's method from 0, with a factor kept while it serves.

    Args:
        whole: What to minimise.
        within: Wanted bound α on ‖w - w*‖₂. Unit: weight.
        start: Weights to begin at, such as the last released ones.
        preconditioner: Of some similar objective; call :func:`prepare` before many deletions.

    Raises:
        GuaranteeUnproved: Rounding in float64 alone is more than ``within`` allows, or the
            objective overflows.
        InputError: ``within`` is not positive, or something is not finite or of another shape.
    """
    _check_within(within)
    start = np.zeros(whole.shape) if start is None else np.asarray(start, np.float64)
    if start.shape != whole.shape or not np.isfinite(start).all():
        raise InputError(f"`start` must be finite and of shape {whole.shape}.")
    point = evaluate(whole, start)
    if not math.isfinite(point.residual):
        raise GuaranteeUnproved("the objective overflows where the solver begins", _INSTEAD)
    if preconditioner is None:
        return _descend(whole, point, Preconditioner.at(whole, point), within, Count(1, 1))
    if len(preconditioner.inverse) != start.size:
        raise InputError(f"The preconditioner is not of {start.size} weights.")
    # The curvatures in it are those of other rows, maybe: `prepare` knows ours.
    return _descend(whole, point, replace(preconditioner, curved=None), within, Count(1, 0))


def forget(
    whole: Objective, solution: Solution, leaving: NDArray[np.intp], *, within: float
) -> tuple[Objective, Solution]:
    """Minimise over the samples that stay, from the solution over all.

    Costs one pass over the data in float64 and one or two in float32 for one sample, some more
    for thousands.

    Args:
        whole: The objective that ``solution`` minimises.
        solution: By :func:`minimise` or this function.
        leaving: Rows of the samples that leave, each once. Those that left before may be named.
        within: As in :func:`minimise`.

    Returns:
        The objective over the samples that stay, and its solution.

    Raises:
        GuaranteeUnproved: As :func:`minimise` does.
    """
    _check_within(within)
    rest, old = whole.without(leaving), solution.point
    gradient = _known_gradient(whole, solution, leaving)
    known = solution.preconditioner.without(whole, leaving)
    wanted = (within * whole.penalty - old.rounding) / _MARGIN
    aim = _aim(rest, old, gradient, known, wanted)
    point, passes = evaluate(rest, old.weights - known.apply(aim)), 1
    if not point.residual <= norm(gradient):  # the factor is of no use: begin without it
        point, passes = evaluate(rest, old.weights), 2
    return rest, _descend(rest, point, known, within, Count(passes, 0))


def prepare(whole: Objective, solution: Solution) -> Solution:
    """Factor the Hessian where the solution is, so that what leaves next leaves in few passes.

    Worth its O(n(dK)² + (dK)³) after training, and when :func:`forget` needs more passes than
    it did at first.
    """
    known = Preconditioner.at(whole, solution.point)
    return Solution(solution.point, known, solution.passes, solution.factorings + 1)


@dataclass(frozen=True, slots=True)
class Count:
    """How much work was done."""

    passes: int
    factorings: int


@dataclass(frozen=True, slots=True)
class _Pair:
    step: Floats
    change: Floats
    scale: float


def _known_gradient(whole: Objective, solution: Solution, leaving: NDArray[np.intp]) -> Floats:
    """Gradient over the samples that stay at the old minimum: no pass is needed."""
    old = solution.point
    return np.asarray(old.gradient - whole.x[leaving].T @ old.slopes[leaving])


def _aim(
    rest: Objective, old: Point, gradient: Floats, known: Preconditioner, wanted: float
) -> Floats:
    """The v at which a step of -Pv from the old minimum ends where the gradient is ``wanted``.

    P⁻¹ = H = Σ xᵢxᵢᵀ ⊗ cᵢ + λI is known through the cᵢ, so with Δ = -Pv the gradient at
    w + Δ is gradient - v + Σ rᵢxᵢ, rᵢ = (change of the slope) - cᵢ(xᵢ·Δ): its linear part needs
    no data, and what is left is so small that float32 gives all its digits that matter. The
    zero of that is the fixed point of v = gradient + Σ rᵢxᵢ. Each turn is a pass over half the
    bytes.
    """
    aim, before = gradient, norm(gradient)
    if known.curved is None:
        return aim
    for _ in range(_LIGHT_PASSES):
        after = gradient + _remainder(rest, old, known.curved, -known.apply(aim))
        reached = norm(after - aim)  # the gradient where we were
        if not reached < before / 2:
            return aim
        aim = after
        if reached * reached / before <= wanted:  # as it went, so will the next step go
            return aim
        before = reached
    return aim


def _remainder(rest: Objective, old: Point, curved: Floats, step: Floats) -> Floats:
    """What a step does to the gradient beyond ``curved``, Σ rᵢxᵢ, in a pass of float32."""
    total, light = np.zeros(rest.shape), step.astype(rest.light.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for part in blocks(len(rest.light), _ROWS):
            rows = rest.light[part]
            moved = np.asarray(rows @ light, np.float64)
            slopes = rest.loss.slope(old.scores[part] + moved, rest.targets[part])
            left = per_row(rest.weights[part], slopes) * slopes
            left -= per_row(np.sign(rest.weights[part]), left) * old.slopes[part]
            left -= _bent(curved[part], moved)
            total += rows.T @ left.astype(rows.dtype)
    return total


def _bent(curved: Floats, moved: Floats) -> Floats:
    return np.asarray(
        curved * moved if curved.ndim == 1 else np.einsum("nkl,nl->nk", curved, moved)
    )


def _descend(
    whole: Objective, point: Point, known: Preconditioner, within: float, count: Count
) -> Solution:
    passes, factorings = count.passes, count.factorings
    pairs: tuple[_Pair, ...] = ()
    while not point.alpha <= within:
        hopeless = point.rounding > max(point.residual, within * whole.penalty)
        if passes > _PASSES or hopeless:
            raise _unreachable(point, within, whole.penalty)
        after = evaluate(whole, point.weights - _direction(known, pairs, point.gradient))
        passes += 1
        if _too_slow(point, after, within * whole.penalty, len(known.inverse)):
            known, pairs, factorings = Preconditioner.at(whole, point), (), factorings + 1
            after, tries = _newton(whole, point, known, within)
            passes += tries
        pairs = _remember(pairs, point, after)
        point = after
    return Solution(point, known, passes, factorings)


def _too_slow(before: Point, after: Point, wanted: float, size: int) -> bool:
    """Whether going on at this rate would cost more than a new factor, which makes it faster."""
    if after.residual <= wanted:
        return False
    rate = after.residual / before.residual
    if not rate < 1:
        return True
    return math.log(after.residual / wanted) / -math.log(rate) > 8 + size / 40


def _newton(
    whole: Objective, point: Point, known: Preconditioner, within: float
) -> tuple[Point, int]:
    direction = known.apply(point.gradient)
    for halvings in range(_HALVINGS):
        length = 0.5**halvings
        after = evaluate(whole, point.weights - length * direction)
        if after.residual <= (1 - length / 4) * point.residual or after.alpha <= within:
            return after, halvings + 1
    raise _unreachable(point, within, whole.penalty)


def _direction(known: Preconditioner, pairs: tuple[_Pair, ...], gradient: Floats) -> Floats:
    """The two loops of L-BFGS around the preconditioner."""
    rest, shares = gradient.copy(), []
    for pair in reversed(pairs):
        share = pair.scale * float(np.vdot(pair.step, rest))
        rest -= share * pair.change
        shares.append(share)
    found = known.apply(rest)
    for pair, share in zip(pairs, reversed(shares), strict=True):
        found += (share - pair.scale * float(np.vdot(pair.change, found))) * pair.step
    return found


def _remember(pairs: tuple[_Pair, ...], before: Point, after: Point) -> tuple[_Pair, ...]:
    step, change = after.weights - before.weights, after.gradient - before.gradient
    curved = float(np.vdot(step, change))
    if not curved > 0:  # rounding; the objective itself is strongly convex
        return pairs
    return (*pairs, _Pair(step, change, 1 / curved))[-_MEMORY:]


def _check_within(within: float) -> None:
    if not 0 < within < math.inf:
        raise InputError(f"`within` must be positive and finite, got {within}.")


def _unreachable(point: Point, within: float, penalty: float) -> GuaranteeUnproved:
    return GuaranteeUnproved(
        f"a distance of {within:.1e} to the minimiser is out of reach: the gradient stays at "
        f"{point.residual:.1e}, of which rounding in float64 may be {point.rounding:.1e}, and the "
        f"penalty is {penalty:.3g}",
        f"a larger `within` or penalty, features of smaller norm, or {_INSTEAD}",
    )
