"""Descent-to-Delete: a fixed number of gradient steps per update, then noise.

With f m-strongly convex and L-smooth, a gradient step of 2/(L + m) shortens the distance to the
minimiser by γ = (L - m)/(L + m). Taking samples out moves the minimiser by at most ``moved``;
I steps bring what was within s of the old one to within γᴵ(s + moved) of the new, which is
s again for s = γᴵ·moved/(1 - γᴵ). So any number of updates stays within s, for a cost per
update that does not grow.

Here the penalty stands beside the sum. Then m = λ, L = λ + (smoothness)·‖X‖², and because the
penalty of those who stay does not change, m samples that leave move the minimiser by
at most m·(lipschitz)·max‖x‖/λ: no projection is needed to bound a Lipschitz constant, as in the
paper, whose gradients include the penalty's.

It is here to compare with: it assumes exact arithmetic, while :mod:`.solve` bounds what it
reached, after however many passes.

References:
    Neel, Roth and Sharifi-Malvajerdi, "Descent-to-Delete: Gradient-Based Methods for Machine
    Unlearning", ALT 2021, arXiv:2007.02923, theorem 9. Nesterov, "Lectures on Convex
    Optimization", theorem 2.1.15 (the contraction).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from expunge.core.errors import GuaranteeUnproved, InputError
from expunge.learners.convex import accounting
from expunge.learners.convex.losses import Floats
from expunge.learners.convex.objective import Objective, evaluate

EXACT_ARITHMETIC: Final = "gradient-steps-are-exact-arithmetic"
"""What certificates by this method must assume: rounding is not bounded here."""


@dataclass(frozen=True, slots=True)
class Descent:
    """How many steps an update takes, and the noise that hides what they leave.

    Attributes:
        rate: Length of a step, 2/(L + m).
        contraction: γ.
        iterations: I, per update.
        training: Iterations from 0 that training needs to come as near.
        shift: Bound on the distance to the minimiser after every update. Unit: weight.
        sigma: Standard deviation of the noise on what is published, as Neel et al. calibrate
            it. Unit: weight.
        sigma_analytic: The same for the analytic Gaussian mechanism, which is smaller.
    """

    rate: float
    contraction: float
    iterations: int
    training: int
    shift: float
    sigma: float
    sigma_analytic: float


def plan(
    whole: Objective, *, iterations: int, epsilon: float, delta: float, at_once: int = 1
) -> Descent:
    """Work out steps and noise. Costs O(n).

    Args:
        whole: The objective over all samples.
        iterations: I, per update.
        epsilon: Of the guarantee, per release; the comparator is the same procedure after
            training on what stays.
        delta: Of the guarantee.
        at_once: The most samples that one update takes out.

    Raises:
        GuaranteeUnproved: The loss has no bounded slope or curvature (squared hinge, Poisson).
    """
    smoothness, lipschitz = whole.loss.smoothness, whole.loss.lipschitz
    if smoothness is None or lipschitz is None:
        raise GuaranteeUnproved(
            "the loss's slope or curvature has no finite bound, which descent needs",
            "re-solving with a dithered or Gaussian release, which needs none",
        )
    if at_once < 1:
        raise InputError(f"`at_once` must be positive, got {at_once}.")
    weighted = whole.weights * np.sqrt(whole.squares)
    strong = whole.penalty
    smooth = strong + smoothness * float(np.sum(whole.weights * whole.squares))
    contraction = (smooth - strong) / (smooth + strong)
    moved = at_once * lipschitz * float(weighted.max(initial=0.0)) / strong
    shift = accounting.descent_shift(contraction, iterations, moved)
    # From 0 the minimiser is at most Σ lipschitz·‖sᵢxᵢ‖/λ away.
    away = lipschitz * float(weighted.sum()) / strong
    return Descent(
        rate=2 / (smooth + strong),
        contraction=contraction,
        iterations=iterations,
        training=_steps(away, shift, contraction),
        shift=shift,
        sigma=accounting.descent_sigma(shift, epsilon, delta),
        sigma_analytic=2 * shift / accounting.gaussian_mu(epsilon, delta),
    )


def descend(whole: Objective, weights: Floats, rate: float, iterations: int) -> Floats:
    """Take ``iterations`` gradient steps of length ``rate`` from ``weights``: a pass each."""
    for _ in range(iterations):
        weights = weights - rate * evaluate(whole, weights).gradient
    return weights


def _steps(away: float, shift: float, contraction: float) -> int:
    if away <= shift or contraction == 0:
        return 1
    return math.ceil(math.log(away / shift) / -math.log(contraction))
