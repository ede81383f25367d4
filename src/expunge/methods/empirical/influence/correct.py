"""Correct a model's parameters for samples that leave: one step of Newton's, or its first order.

At a minimum θ of the objective of all samples, the gradient of the objective of those that stay
is known from those that leave alone. The Newton step divides it by the curvature of those that
stay; the first-order step by that of everybody, which is not corrected for how many left. For a
quadratic objective without damping the Newton step is the minimum itself.

Training that stopped short of a minimum stays as short of it: the step corrects for the samples,
not for the training. What is promised is nothing: the guarantee is ``empirical``. A step that raises
the objective of the samples that stay is not taken.

References:
    Koh and Liang, "Understanding Black-box Predictions via Influence Functions", ICML 2017, section 2.
    Koh, Ang, Teo and Liang, "On the Accuracy of Influence Functions for Measuring Group Effects",
    NeurIPS 2019, section 3. Rubinstein and Hopkins, arXiv:2512.12572: the Newton step's error is
    smaller by a factor √(k/d) + √(d/k), k samples leaving d parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from torch import Tensor

from expunge.core.errors import CorrectionRejected
from expunge.methods.empirical.influence.problem import pull, value
from expunge.methods.empirical.influence.solver import Prepared, Solved

Step: TypeAlias = Callable[[Prepared, Tensor], Solved]

_ROUNDINGS: Final = 8  # how many roundings of the objective are no rise


@dataclass(frozen=True, slots=True)
class Correction:
    """Parameters after a step that was taken, and what is known of it.

    Attributes:
        parameters: (d,); ``problem.named`` cuts them for ``load_state_dict``.
        solved: How the step was found.
        retain_loss_before: Objective of the samples that stay, penalty included.
        retain_loss_after: The same with the new parameters; not larger, but for rounding.
        share: Of the step that was found, how much was taken.
    """

    parameters: Tensor
    solved: Solved
    retain_loss_before: float
    retain_loss_after: float
    share: float = 1.0


def first_order(prepared: Prepared, leaving: Tensor) -> Solved:
    """The step (1/n) H⁻¹ Σ g over ``leaving``, with the curvature of all samples: one solve.

    In the total convention, without 1/n. Linear in the set that leaves.
    """
    of = prepared.problem
    of.staying(leaving)  # refuses what cannot leave
    return prepared.solve(pull(of, prepared.at, leaving) / of.share(of.everybody))


def newton(prepared: Prepared, leaving: Tensor) -> Solved:
    """The step (1/(n−m)) H⁻¹ Σ g over ``leaving``, with the curvature of those that stay."""
    of = prepared.problem
    share = of.share(of.staying(leaving))
    return prepared.solve(pull(of, prepared.at, leaving) / share, leaving)


def refit(prepared: Prepared, leaving: Tensor) -> Solved:
    """Newton's step on the objective of those that stay, from its own gradient, which takes a pass.

    At a minimum it is :func:`newton`. Elsewhere it goes on training, too: it lowers the objective of
    those that stay where ``newton`` may not, and is further from what a retraining that stops as
    short would come to.
    """
    of = prepared.problem
    stay = of.staying(leaving)
    gradient = of.gradient(prepared.at, stay) / of.share(stay) + of.penalty * prepared.at
    return prepared.solve(-gradient, leaving)


def correct(
    prepared: Prepared, leaving: Tensor, step: Step = newton, halvings: int = 0
) -> Correction:
    """Take a step away from ``leaving``, if it does not raise the objective of those that stay.

    Costs the step and two forward passes over those that stay, one more for each halving.

    Args:
        prepared: A solver that knows the problem and the parameters.
        leaving: Indices of the samples that leave, each once: int64, (m,).
        step: :func:`newton`, :func:`refit` or :func:`first_order`.
        halvings: How often a step that raises the objective is halved before it is rejected.
            It has a meaning for :func:`refit`, which goes downhill where it is short enough.

    Raises:
        CorrectionRejected: The step raises it, by more than rounding does.
        CorrectionFailed: No step was found.
        InputError: ``leaving`` is empty, names samples that are not there or one twice, or all.
    """
    of, stay = prepared.problem, prepared.problem.staying(leaving)
    solved = step(prepared, leaving)
    before, after = value(of, prepared.at, stay), math.nan
    for halved in range(halvings + 1):
        share = 0.5**halved
        parameters = prepared.at + share * solved.direction
        after = value(of, parameters, stay)
        # What is not a number is no improvement.
        if after <= before + _ROUNDINGS * torch.finfo(parameters.dtype).eps * abs(before):
            return Correction(parameters, solved, before, after, share)
    raise CorrectionRejected(before, after, solved.step_norm)
