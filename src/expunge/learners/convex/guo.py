"""Guo et al.'s certified removal: a perturbed loss, one Newton step, a budget. To compare with.

Training minimises Σ l + (λ/2)‖w‖² + ⟨b, w⟩ with secret b ~ N(0, σ²). Removing samples takes
one Newton step, which leaves a gradient u ≠ 0; b hides it as long as the norms of all such
gradients add up to at most σε/c. Then the model must be trained again, with a fresh b.

Mended against the published code: the budget exists; ‖X‖₂ is bounded from above (the code's power
iteration bounds it from below); what training and rounding leave of the gradient is in the
budget; the penalty stands beside the sum, so that it does not change for those who stay; classes
(one versus rest) share one budget by the root of the sum of squares, because their
perturbations together are one Gaussian vector; a tighter constant is there.

Not mended, because the proof has a gap: it treats u as independent of b, while u is computed from
weights that depend on b. For a general approximate minimiser theorem 3 is even wrong: round its
weights to a lattice that is so fine that ‖u‖ ≤ ε′, and its distribution has atoms where that of the
exact minimiser has a density. So certificates by this method must carry
:data:`INDEPENDENCE`. ``release`` has no such gap: it perturbs the output.

References:
    Guo, Goldstein, Hannun and van der Maaten, "Certified Data Removal from Machine Learning
    Models", ICML 2020, arXiv:1911.03030, theorems 1-3 and section 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from expunge.core.errors import GuaranteeUnproved, InputError
from expunge.learners.convex import accounting, chance
from expunge.learners.convex.losses import UNIT, Floats, Loss
from expunge.learners.convex.objective import (
    Objective,
    curvature,
    evaluate,
    hessian,
    norm,
    objective,
)
from expunge.learners.convex.solve import minimise

INDEPENDENCE: Final = "residual-is-independent-of-the-perturbation-unproved"
"""The gap in the published proof; see the module's docstring."""

Bound: TypeAlias = Callable[[Loss, float, Floats, Floats], float]
"""(loss, ‖X‖₂, Newton step s, Xs) → bound on the gradient that the step leaves."""


def published_bound(loss: Loss, spectral: float, step: Floats, moved: Floats) -> float:
    """γ‖X‖₂‖s‖‖Xs‖ with the published γ = 1/4 for the logistic loss (corollary 1).

    Raises:
        GuaranteeUnproved: The published γ is not a Lipschitz constant of this loss's curvature.
    """
    if _third(loss) > 0.25:
        raise GuaranteeUnproved("γ = 1/4 does not hold for this loss", "the tight bound")
    return 0.25 * spectral * norm(step) * norm(moved)


def tight_bound(loss: Loss, spectral: float, step: Floats, moved: Floats) -> float:
    """sup|l‴|/2·‖X‖₂‖(xᵢ·s)²‖₂: Taylor's remainder as it is, a fraction of the published bound.

    The gradient after the step is ∫₀¹ (∇²f(w + ts) - ∇²f(w))s dt = Σ ρᵢxᵢ with
    |ρᵢ| ≤ sup|l‴|·(xᵢ·s)²/2, and ‖Σ ρᵢxᵢ‖ ≤ ‖X‖₂‖ρ‖₂.

    Raises:
        GuaranteeUnproved: The loss has no third derivative that is bounded.
    """
    del step
    return _third(loss) / 2 * spectral * norm(moved**2)


@dataclass(frozen=True, slots=True)
class Removable:
    """A model that forgets by Newton steps until its budget is spent. Weights may be published.

    Attributes:
        objectives: One per class (one versus rest), or one; each with its perturbation. Secret.
        weights: (d, models).
        spectral: Upper bound on ‖X‖₂; deletions only lower it.
        spent: Sum of the gradient norms that were left, per model.
        budget: What the root of the sum of squares of ``spent`` may reach, σε/c.
        epsilon: Of the guarantee, for all removals together.
        delta: Of the guarantee.
    """

    objectives: tuple[Objective, ...]
    weights: Floats
    spectral: float
    spent: Floats
    budget: float
    epsilon: float
    delta: float

    @property
    def exhausted(self) -> bool:
        """Whether the model must be trained again, with a fresh perturbation."""
        return not norm(self.spent) <= self.budget


def train(  # noqa: PLR0913 - the published method's knobs
    loss: Loss,
    x: NDArray[Any],
    labels: NDArray[Any],
    *,
    penalty: float,
    sigma: float,
    epsilon: float,
    delta: float,
    within: float = 1e-7,
) -> Removable:
    """Minimise the perturbed loss, one model per column of ``labels``.

    Args:
        loss: With a bounded third derivative, of one score.
        x: Features (n, d); finite.
        labels: -1 or +1, (n, models): one column, or one per class (one versus rest).
        penalty: λ on the sum. Unit: of the loss per weight².
        sigma: Standard deviation of the perturbation. Unit: of the gradient of the sum.
        epsilon: Of the guarantee.
        delta: Of the guarantee.
        within: Distance to the minimiser that training may leave; it is paid from the budget.

    Raises:
        GuaranteeUnproved: A constant of the loss is unknown, the budget's formula does not hold
            for so large an epsilon, or training alone spends it.
    """
    _third(loss)
    if loss.outputs() or labels.ndim != 2:
        raise InputError("Removal needs a loss of one score, and labels of shape (n, models).")
    budget = accounting.guo_budget(sigma, epsilon, delta)
    bound = [
        objective(loss, x, column, penalty=penalty, linear=_perturbation(x.shape[1], sigma))
        for column in labels.T
    ]
    points = [minimise(whole, within=within).point for whole in bound]
    trained = Removable(
        objectives=tuple(bound),
        weights=np.stack([point.weights for point in points], axis=1),
        spectral=spectral_bound(bound[0].x),
        spent=np.array([point.residual + point.rounding for point in points]),
        budget=budget,
        epsilon=epsilon,
        delta=delta,
    )
    if trained.exhausted:
        raise GuaranteeUnproved("training alone spends the budget", "a smaller `within`")
    return trained


def remove(model: Removable, leaving: NDArray[np.intp], *, bound: Bound = tight_bound) -> Removable:
    """Take one Newton step per model, and pay for what it leaves of the gradient.

    Look at ``exhausted`` afterwards: where it is true, the weights must not be published.
    Costs O(nd² + d³) per model that has a sample to forget.

    Args:
        model: Trained by :func:`train`.
        leaving: Rows of the samples, each once.
        bound: :func:`tight_bound` or :func:`published_bound`.

    Raises:
        GuaranteeUnproved: The bound does not hold for the loss.
    """
    steps = [
        _step(whole, weights, leaving, model.spectral, bound)
        for whole, weights in zip(model.objectives, model.weights.T, strict=True)
    ]
    return replace(
        model,
        objectives=tuple(whole.without(leaving) for whole in model.objectives),
        weights=np.stack([weights for weights, _ in steps], axis=1),
        spent=model.spent + np.array([paid for _, paid in steps]),
    )


def spectral_bound(x: Floats) -> float:
    """An upper bound on ‖X‖₂. Costs O(nd² + d³), once: it never grows by deletions.

    The root of XᵀX's largest eigenvalue as computed, plus what rounding may have hidden: γₙ‖X‖²
    (Frobenius) of the product, and 100·d·u of the eigenvalue (assumed of LAPACK; its users'
    guide gives a modest multiple of u).
    """
    gram = x.T @ x
    largest = float(linalg.eigvalsh(gram, subset_by_index=[len(gram) - 1, len(gram) - 1])[0])
    trace = float(np.trace(gram)) * (1 + 1e-9)
    hidden = 2 * len(x) * UNIT * trace + 100 * len(gram) * UNIT * trace
    return math.sqrt(max(largest, 0.0) + hidden) * (1 + 4 * UNIT)


def _step(
    whole: Objective, weights: Floats, leaving: NDArray[np.intp], spectral: float, bound: Bound
) -> tuple[Floats, float]:
    rest = whole.without(leaving)
    before = evaluate(whole, weights)
    missing = whole.x[leaving].T @ before.slopes[leaving]
    curved = hessian(rest, curvature(rest, before.scores))
    step = linalg.solve(curved, missing, assume_a="pos")
    # What solving in floating point left over, and what of it is not seen because of rounding.
    after = np.asarray(weights + step)
    size = norm(missing) + float(np.linalg.norm(curved)) * (norm(step) + norm(after))
    unsolved = norm(missing - curved @ step) + 1e3 * len(step) * UNIT * size
    return after, bound(whole.loss, spectral, step, rest.x @ step) * (1 + 1e-9) + unsolved


def _third(loss: Loss) -> float:
    if loss.third is None:
        raise GuaranteeUnproved(
            "the loss has no bounded third derivative, which Newton removal needs",
            "re-solving with a dithered or Gaussian release, which needs none",
        )
    return loss.third


def _perturbation(size: int, sigma: float) -> Floats:
    """Normal deviates rounded to 2⁻⁴⁰ of sigma: exact chance, then post-processing."""
    exponent = math.frexp(sigma)[1] - 40
    draw = chance.words()
    drawn = [chance.nearest(0.0, sigma, exponent, chance.normal(draw), draw) for _ in range(size)]
    return np.ldexp(np.array(drawn, np.float64), exponent)
