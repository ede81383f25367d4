"""The interface of curvature solvers, and what they share.

A solver is a frozen value. ``prepare`` does, once for a model, what does not depend on who leaves
(a factorisation, a preconditioner, a scale); what it returns solves for any number of right-hand
sides, with the curvature of everybody or of those that stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from expunge.core import rng
from expunge.core.errors import CorrectionFailed, CurvatureIndefinite, InputError, SolverStopped
from expunge.methods.empirical.influence import kernels
from expunge.methods.empirical.influence.problem import Problem

# The customary share of the mean eigenvalue (Grosse et al. 2023, "Studying Large Language Model
# Generalization with Influence Functions", section 3.2.1, and kronfluence's heuristic).
DAMPING_SHARE: Final = 0.1
# Where not even that many directions span the space, unit vectors give the trace exactly.
_PROBES: Final = 8

Operator: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Solved:
    """A solution of (curvature + damping) · direction = right-hand side, and how good it is.

    Attributes:
        direction: (d,), in the parameters' precision.
        residual: ‖right-hand side − (curvature + damping) · direction‖ / ‖right-hand side‖, taken
            anew at the end, not what the iteration believed.
        damping: In units of the objective's curvature.
        iterations: Of the last stage; 0 where a factorisation needed no refinement.
        step_norm: ‖direction‖.
        least_eigenvalue: Of the damped curvature, bounded from above by the smallest that was
            seen; None where nothing was seen of it.
    """

    direction: Tensor
    residual: float
    damping: float
    iterations: int
    step_norm: float
    least_eigenvalue: float | None = None


class Prepared(Protocol):
    """A solver that knows its problem."""

    @property
    def problem(self) -> Problem:
        """What it was prepared for."""
        ...

    @property
    def at(self) -> Tensor:
        """The parameters that it was prepared at: (d,)."""
        ...

    @property
    def damping(self) -> float:
        """What is added to the curvature's diagonal, for everybody and for those that stay."""
        ...

    def solve(self, rhs: Tensor, leaving: Tensor | None = None) -> Solved:
        """Solve with the curvature of the objective of all samples but ``leaving``.

        Raises:
            CurvatureIndefinite: The damped curvature is not positive definite.
            SolverStopped: The residual stayed above the solver's tolerance, or grew.
        """
        ...


class Curvature(Protocol):
    """A way to solve with a problem's curvature. Its knobs are its fields."""

    def prepare(self, problem: Problem, at: Tensor) -> Prepared:
        """Do what is the same for all right-hand sides."""
        ...

    def solve(self, problem: Problem, at: Tensor, rhs: Tensor) -> Solved:
        """Prepare and solve, for a single right-hand side."""
        ...


def check_knobs(damping: float | None, tolerance: float, iterations: int = 1) -> None:
    """Refuse knobs that no solver could honour."""
    if damping is not None and not (damping >= 0 and math.isfinite(damping)):
        raise InputError(f"`damping` must be finite and not negative, got {damping}.")
    if not 0 < tolerance < 1:
        raise InputError(f"`tolerance` must be between 0 and 1, got {tolerance}.")
    if iterations < 1:
        raise InputError(f"`iterations` must be at least 1, got {iterations}.")


def checked_at(problem: Problem, at: Tensor) -> Tensor:
    """``at``, if it is a parameter vector of ``problem``."""
    if at.shape != (problem.size,) or at.dtype != problem.parameters.dtype:
        raise InputError(
            f"Parameters have shape {tuple(at.shape)} and {at.dtype}. Expected ({problem.size},) "
            f"and {problem.parameters.dtype}, as `problem.parameters`."
        )
    return at.detach()


def is_zero(rhs: Tensor) -> bool:
    """Whether there is nothing to solve for.

    Raises:
        CorrectionFailed: A gradient was not finite, so no direction can be.
    """
    norm = float(rhs.double().norm())
    if not math.isfinite(norm):
        raise CorrectionFailed(kernels.NOT_FINITE)
    return norm == 0


def solved(
    apply: Operator, x: Tensor, rhs: Tensor, damping: float, iterations: int, least: float | None
) -> Solved:
    """Take the residual of ``x`` anew, and say how it was come by."""
    left = (rhs.double() - apply(x).double()).norm() / rhs.double().norm()
    direction = x.to(rhs.dtype)
    norm = float(direction.double().norm())
    return Solved(direction, float(left), damping, iterations, norm, least)


def nothing(rhs: Tensor, damping: float) -> Solved:
    """The solution for a right-hand side of zeros."""
    return Solved(torch.zeros_like(rhs), 0.0, damping, 0, 0.0)


def accepted(found: Solved, solver: str, tolerance: float) -> Solved:
    """``found``, if it is finite and its residual is as small as it should be."""
    # `not <=` also catches what is not a number.
    if not (found.residual <= tolerance and math.isfinite(found.step_norm)):
        why = f"did not reach a relative residual of {tolerance:.3g}"
        raise SolverStopped(solver, why, found.iterations, found.residual)
    return found


def draws(about: str, like: Tensor) -> Tensor:
    """Normal numbers, each a keyed hash of what they are about and its place: (d,)."""
    places = np.arange(len(like), dtype=np.uint64)
    one, two = (rng.mix(places, rng.seed("influence", about, part)) for part in (0, 1))
    # Box and Muller; 53 bits each, never 0, so the logarithm is finite.
    u, v = ((bits >> np.uint64(11)).astype(np.float64) + 0.5 for bits in (one, two))
    normal = np.sqrt(-2 * np.log(u / 2**53)) * np.cos(2 * np.pi * v / 2**53)
    return torch.from_numpy(normal).to(like)


def probe(number: int, count: int, like: Tensor) -> Tensor:
    """One of ``count`` directions whose mean quadratic form is a trace: (d,).

    Normal numbers; where ``count`` directions span the space, unit vectors, which give it exactly.
    """
    if len(like) > count:
        return draws(f"probe {number}", like)
    unit = torch.zeros_like(like)
    unit[number] = math.sqrt(len(like))
    return unit


def mean_eigenvalue(problem: Problem, at: Tensor) -> float:
    """Estimate the mean eigenvalue of the losses' curvature, without penalty; eight products.

    Hutchinson's estimator with normal probes: its relative error is about √(2/8) · ‖C‖_F / tr C,
    small where many eigenvalues share the trace.
    """
    count, share = min(_PROBES, problem.size), problem.share(problem.everybody)
    multiply, total = problem.product(at, problem.everybody), 0.0
    for number in range(count):  # one at a time: each takes as much memory as the parameters
        test = probe(number, count, at)
        total += float(test @ multiply(test))
    return total / count / share / problem.size


def default_damping(mean: float) -> float:
    """A tenth of the mean eigenvalue ``mean`` of the losses' curvature."""
    if not (mean >= 0 and math.isfinite(mean)):
        raise CurvatureIndefinite(mean, 0.0)
    return DAMPING_SHARE * mean
