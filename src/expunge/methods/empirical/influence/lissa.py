"""Solve by the Neumann series, as LiSSA does: to compare with what others publish.

Each step multiplies a curvature with one vector, of all samples or of a batch. The scale is not
guessed: power iteration finds the largest eigenvalue, so that the series over all samples
converges; over batches it may still diverge, and is stopped. It takes as many steps as the
condition number, where conjugate gradients take its root: prefer those.

References:
    Agarwal, Bullins and Hazan, "Second-Order Stochastic Optimization for Machine Learning in
    Linear Time", JMLR 18 (2017), section 3. Koh and Liang, "Understanding Black-box Predictions
    via Influence Functions", ICML 2017, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from expunge.core import rng
from expunge.core.errors import CurvatureIndefinite, InputError, SolverStopped
from expunge.methods.empirical.influence import solver
from expunge.methods.empirical.influence.problem import Problem, curve
from expunge.methods.empirical.influence.solver import Solved

_POWER_ITERATIONS: Final = 24
_VECTORS: Final = 6
_MARGIN: Final = 1.1  # power iteration comes from below
_GROWTH: Final = 100.0

# What is computed in a step of this number: the batch's damped curvature times a vector.
Noisy: TypeAlias = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Lissa:
    """The Neumann series with a scale that fits.

    Attributes:
        damping: Added to the diagonal; None: a tenth of the mean eigenvalue of the losses' curvature.
        scale: Of the series; None: 1.1 times the largest eigenvalue, plus damping.
        batch: Samples of a step; None: all. Batches need a far larger ``tolerance``.
        tolerance: Relative residual, over all samples, that a solution must reach.
        iterations: At most.
    """

    damping: float | None = None
    scale: float | None = None
    batch: int | None = None
    tolerance: float = 1e-3
    iterations: int = 5_000

    def __post_init__(self) -> None:
        solver.check_knobs(self.damping, self.tolerance, self.iterations)
        if self.scale is not None and not self.scale > 0:
            raise InputError(f"`scale` must be positive, got {self.scale}.")
        if self.batch is not None and self.batch < 1:
            raise InputError(f"`batch` must be at least 1, got {self.batch}.")

    def prepare(self, problem: Problem, at: Tensor) -> Scaled:
        """Find damping and scale: eight products, and 24.

        Raises:
            CurvatureIndefinite: The mean eigenvalue is negative.
        """
        at = solver.checked_at(problem, at)
        working = problem.reserving(_VECTORS * problem.size * 8)
        damping = self.damping
        if damping is None:
            damping = solver.default_damping(solver.mean_eigenvalue(working, at))
        scale = self.scale
        if scale is None:
            scale = _MARGIN * _largest(working, at) + damping
        return Scaled(working, at, damping, scale, self)

    def solve(self, problem: Problem, at: Tensor, rhs: Tensor) -> Solved:
        """Prepare and solve, for a single right-hand side."""
        return self.prepare(problem, at).solve(rhs)


@dataclass(frozen=True, eq=False)
class Scaled:
    """A curvature, and the scale that makes its series converge."""

    problem: Problem
    at: Tensor
    damping: float
    scale: float
    knobs: Lissa

    def solve(self, rhs: Tensor, leaving: Tensor | None = None) -> Solved:
        """Solve with the curvature of the objective of all samples but ``leaving``."""
        if solver.is_zero(rhs):
            return solver.nothing(rhs, self.damping)
        if not self.scale > 0:
            raise CurvatureIndefinite(self.scale, self.damping)
        of, multiply = self.problem, curve(self.problem, self.at, leaving)

        def whole(v: Tensor) -> Tensor:
            return multiply(v.to(self.at.dtype)) + self.damping * v

        stay = of.everybody if leaving is None else of.staying(leaving)

        def apply(step: int, v: Tensor) -> Tensor:
            if not self._is_batch(stay):
                return whole(v)
            batch = self._batch(step, stay)
            # A batch stands for all that stay: its sum is scaled up to theirs.
            product = of.product(self.at, batch)(v) * (
                of.samples.mass(stay) / of.samples.mass(batch)
            )
            return product / of.share(stay) + (of.penalty + self.damping) * v

        # Over batches, one step's residual says little; there, all steps are taken.
        tolerance = 0.0 if self._is_batch(stay) else 0.5 * self.knobs.tolerance
        x, iterations = self._series(apply, rhs.double(), tolerance)
        found = solver.solved(whole, x, rhs, self.damping, iterations, None)
        return solver.accepted(found, "LiSSA", self.knobs.tolerance)

    def _series(self, apply: Noisy, rhs: Tensor, tolerance: float) -> tuple[Tensor, int]:
        x = torch.zeros_like(rhs)
        size = float(rhs.norm())
        bound = self._longest(size)
        for step in range(self.knobs.iterations):
            left = rhs - apply(step, x)
            norm = float(left.norm())
            if not (norm <= _GROWTH * size and float(x.norm()) <= bound):
                raise SolverStopped("LiSSA", "diverged", step, norm / size)
            if norm <= tolerance * size:
                return x, step
            x = x + left / self.scale
        return x, self.knobs.iterations

    def _longest(self, size: float) -> float:
        """No solution is longer than the right-hand side over the smallest eigenvalue."""
        floor = self.damping + float(torch.as_tensor(self.problem.penalty).min())
        return 2 * size / floor if floor > 0 else math.inf

    def _is_batch(self, stay: Tensor) -> bool:
        return self.knobs.batch is not None and self.knobs.batch < len(stay)

    def _batch(self, step: int, stay: Tensor) -> Tensor:
        places = np.arange(self.knobs.batch or 1, dtype=np.uint64)
        drawn = rng.mix(places, rng.seed("influence", "batch", step)) % np.uint64(len(stay))
        return stay[torch.from_numpy(drawn.astype(np.int64))]


def _largest(problem: Problem, at: Tensor) -> float:
    """Largest eigenvalue of the curvature with penalty, from below, by power iteration."""
    multiply, v = curve(problem, at), solver.draws("power iteration", at)
    largest = 0.0
    for _ in range(_POWER_ITERATIONS):
        v = multiply(v / v.norm())
        largest = float(v.norm())
        if not largest > 0:
            break
    return largest
