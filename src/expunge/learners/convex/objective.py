"""A penalised objective over samples, and its gradient with a bound on the rounding.

f(w) = Σ sᵢ·l(xᵢ·w, yᵢ) + (λ/2)‖w‖² + ⟨b, w⟩. The penalty λ stands beside the *sum*, so that it
stays what it is when samples leave. (Beside the mean, as λn in Guo et al., every deletion also
changes the penalty of those who stay.) f is λ-strongly convex, hence ‖w - w*‖ ≤ ‖∇f(w)‖/λ
at any w, however it was found.

Rounding. Let u = 2⁻⁵³ and γₖ = ku/(1 - ku). A sum of k products errs by at most γₖ Σ|aᵢbᵢ| in
whatever order it is added (Higham, section 3.1; fused operations err less). Scores are added up
in chunks of columns, gradients in blocks of rows, so that k is a few hundred and not d or n.
With eᵢ = γ‖xᵢ‖‖w‖ the error of a score, tᵢ ≥ |error of the slope| as the loss bounds it, and ŝᵢ
the computed slope times its weight, the gradient errs in 2-norm by at most

    √(Σ‖xᵢ‖²) · (√Σ(sᵢtᵢ)² + γ √Σŝᵢ²)  +  3u (λ‖w‖ + ‖b‖ + ‖∇‖).

Assumed: IEEE 754 arithmetic, matrix products that add up products (no Strassen), and
:data:`expunge.learners.convex.losses.TRANSCENDENTAL`. The arrays are taken as exact.

References:
    Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, SIAM 2002.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import GuaranteeUnproved, InputError
from expunge.learners.convex.losses import UNIT, Floats, Loss

_ROWS: Final = 256
_COLUMNS: Final = 256
_LIGHTEST: Final = 1e70  # of a square: (1e35)², within float32
_OUTWARD: Final = 1.001  # over the rounding of the bounds themselves, which is below 1e-9 of them
_LOST: Final = 1e-153  # numbers below have squares that underflow


@dataclass(frozen=True, slots=True)
class Objective:
    """What is minimised. Make it with :func:`objective`, which checks.

    Attributes:
        loss: Of a score and a target.
        x: Features, float64 (n, d), C order. Finite, also in rows whose weight is 0.
        light: The same in float32, for passes that only look for a direction.
        targets: As the loss has them, (n,).
        weights: Weight sᵢ ≥ 0 of each sample, (n,). Samples that left have 0.
        squares: ‖xᵢ‖² of each row, (n,).
        penalty: λ > 0, on the sum of losses and on all weights.
        linear: b, shape of the weights, or None.
    """

    loss: Loss
    x: Floats
    light: NDArray[Any]
    targets: NDArray[Any]
    weights: Floats
    squares: Floats
    penalty: float
    linear: Floats | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the model's weights: (d,) or (d, K)."""
        return (self.x.shape[1], *self.loss.outputs())

    def without(self, leaving: NDArray[np.intp]) -> Objective:
        """The objective over the samples that stay: those at ``leaving`` weigh nothing.

        Their rows stay in ``x``, unread in effect, until the caller makes a smaller array.
        Costs one copy of the weights.
        """
        weights = self.weights.copy()
        weights[leaving] = 0
        return replace(self, weights=weights)


def objective(
    loss: Loss,
    x: NDArray[Any],
    targets: NDArray[Any],
    *,
    penalty: float,
    weights: NDArray[Any] | None = None,
    linear: Floats | None = None,
) -> Objective:
    """Check and bind. Costs two passes over ``x``, half its memory, and a copy unless it is float64 in C order.

    Raises:
        GuaranteeUnproved: The penalty is not positive: then no distance can be bounded.
        InputError: Something is not finite, negative, of another shape, or no target.
    """
    if not 0 < penalty < math.inf:
        raise GuaranteeUnproved(
            f"the penalty is {penalty}, and only a positive one makes the objective strongly convex",
            "`exact`, by a rebuild without the samples",
        )
    x = np.ascontiguousarray(x, np.float64)
    weights = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    if x.ndim != 2 or not x.shape[1] or not targets.shape == weights.shape == (len(x),):
        raise InputError(
            f"Features, targets and weights do not fit: {x.shape}, {targets.shape}, {weights.shape}. "
            f"Expected (n, d), (n,) and (n,) with d > 0."
        )
    with np.errstate(over="ignore"):
        squares = np.einsum("nd,nd->n", x, x)
    if not np.isfinite(squares).all():
        raise InputError("A feature is not finite, or too large to be squared. Scale or drop it.")
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise InputError("A sample's weight is negative or not finite.")
    loss.check(targets)
    # What float32 cannot hold stays as it is: light passes are then not lighter.
    light = x.astype(np.float32) if squares.max(initial=0) < _LIGHTEST else x
    whole = Objective(loss, x, light, targets, weights, squares, float(penalty), linear)
    if linear is not None and (linear.shape != whole.shape or not np.isfinite(linear).all()):
        raise InputError(f"`linear` must be finite and of shape {whole.shape}.")
    return whole


@dataclass(frozen=True, slots=True)
class Point:
    """The objective's gradient at some weights, in float64, and what is known of it.

    Secret: scores, slopes and gradient depend on samples to the last bit.

    Attributes:
        weights: w, (d,) or (d, K).
        scores: As computed, (n,) or (n, K).
        slopes: Of the loss times the sample's weight, shape of the scores.
        gradient: As computed, shape of the weights.
        residual: ‖gradient‖₂, rounded up.
        rounding: Bound on ‖computed gradient - true gradient‖₂.
        alpha: Bound on ‖w - w*‖₂: (residual + rounding)/λ. Unit: weight.
    """

    weights: Floats
    scores: Floats
    slopes: Floats
    gradient: Floats
    residual: float
    rounding: float
    alpha: float


def evaluate(whole: Objective, weights: Floats) -> Point:
    """Compute gradient and bounds in one pass over the features, O(ndK), block by block.

    Where something overflows, residual and alpha are NaN or infinite: no error, because a
    solver may step too far and come back.
    """
    scores = np.empty((len(whole.x), *whole.loss.outputs()))
    slopes = np.empty_like(scores)
    total = np.zeros(whole.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        for part in blocks(len(whole.x), _ROWS):
            rows = whole.x[part]
            scores[part] = _products(rows, weights)
            plain = whole.loss.slope(scores[part], whole.targets[part])
            slopes[part] = per_row(whole.weights[part], plain) * plain
            total += rows.T @ slopes[part]
        gradient = total + whole.penalty * weights
        if whole.linear is not None:
            gradient += whole.linear
        return _point(whole, weights, scores, slopes, gradient)


def value(whole: Objective, weights: Floats) -> float:
    """f(w), for tests and tables. Costs one pass."""
    losses = whole.weights * whole.loss.value(whole.x @ weights, whole.targets)
    linear = 0.0 if whole.linear is None else float(np.vdot(whole.linear, weights))
    return math.fsum(losses) + whole.penalty / 2 * float(np.vdot(weights, weights)) + linear


def hessian(whole: Objective, curved: Floats) -> Floats:
    """Sum of xᵢxᵢᵀ ⊗ ``curved``ᵢ plus the penalty, (dK, dK). Costs O(n(dK)²) and its memory.

    It is ∇²f where ``curved`` is what :func:`curvature` gives.
    """
    d = whole.x.shape[1]
    if curved.ndim == 1:
        total = _gram(whole.x, curved)
    else:
        outputs = curved.shape[1]
        grams = np.empty((d, outputs, d, outputs))
        for k in range(outputs):
            for other in range(k + 1):
                grams[:, k, :, other] = _signed_gram(whole.x, curved[:, k, other])
                grams[:, other, :, k] = grams[:, k, :, other]
        total = grams.reshape(d * outputs, d * outputs)
    total[np.diag_indices_from(total)] += whole.penalty
    return total


def per_row(weights: Floats, of: Floats) -> Floats:
    """``weights`` (n,) in a shape that multiplies ``of`` (n, …) row by row."""
    return weights.reshape(-1, *(1,) * (of.ndim - 1))


def norm(values: Floats) -> float:
    """2-norm of all entries, rounded up, also over squares that underflow."""
    return float(np.linalg.norm(values)) * (1 + (values.size + 4) * UNIT) + _LOST * values.size


def curvature(whole: Objective, scores: Floats) -> Floats:
    """Second derivative of each sample's loss times its weight, (n,) or (n, K, K)."""
    curved = whole.loss.curvature(scores, whole.targets)
    return np.asarray(per_row(whole.weights, curved) * curved)


def _point(
    whole: Objective, weights: Floats, scores: Floats, slopes: Floats, gradient: Floats
) -> Point:
    residual = norm(gradient)
    rounding = _rounding(whole, norm(weights), scores, slopes, residual)
    alpha = (residual + rounding) / whole.penalty * (1 + 4 * UNIT)
    return Point(weights, scores, slopes, gradient, residual, rounding, alpha)


def _rounding(
    whole: Objective, size: float, scores: Floats, slopes: Floats, residual: float
) -> float:
    n, d = whole.x.shape
    product = _gamma(min(d, _COLUMNS) + math.ceil(d / _COLUMNS))
    addition = _gamma(min(n, _ROWS) + math.ceil(n / _ROWS) + 1)  # and the weight's product
    errors = product * size * np.sqrt(whole.squares)
    plain = whole.loss.slope(scores, whole.targets)
    inexact = norm(whole.weights * whole.loss.slope_error(scores, plain, errors))
    # Rows that left add exact zeros, so they have no part in what is added up.
    spread = math.sqrt(float(np.sum(whole.squares, where=whole.weights > 0)))
    linear = 0.0 if whole.linear is None else norm(whole.linear)
    summed = spread * (inexact + addition * norm(slopes))
    ends = 3 * UNIT * (whole.penalty * size + linear + residual)
    return _OUTWARD * (summed + ends)


def _gamma(terms: int) -> float:
    return terms * UNIT / (1 - terms * UNIT)


def _products(rows: Floats, weights: Floats) -> Floats:
    scores = rows[:, :_COLUMNS] @ weights[:_COLUMNS]
    for begin in range(_COLUMNS, rows.shape[1], _COLUMNS):
        part = slice(begin, begin + _COLUMNS)
        scores += rows[:, part] @ weights[part]
    return np.asarray(scores)


def blocks(rows: int, size: int) -> Iterator[slice]:
    """Slices of ``size`` rows: small enough that a block's second product finds it cached."""
    return (slice(begin, begin + size) for begin in range(0, rows, size))


def _gram(x: Floats, weights: Floats) -> Floats:
    """Σ wᵢxᵢxᵢᵀ for weights that are not negative, by halves of them: a symmetric product."""
    total = np.zeros((x.shape[1], x.shape[1]))
    roots = np.sqrt(weights)
    for begin in range(0, len(x), 8 * _ROWS):
        rows = x[begin : begin + 8 * _ROWS] * roots[begin : begin + 8 * _ROWS, None]
        total += rows.T @ rows
    return total


def _signed_gram(x: Floats, weights: Floats) -> Floats:
    total = np.zeros((x.shape[1], x.shape[1]))
    for begin in range(0, len(x), 8 * _ROWS):
        part = slice(begin, begin + 8 * _ROWS)
        total += (x[part] * weights[part, None]).T @ x[part]
    return total
