"""Solve by conjugate gradients with a Nyström sketch: for up to some ten million parameters.

The curvature is only ever multiplied with, block by block. The sketch multiplies it once with
``rank`` directions; what it finds are the large eigenvalues, which are what makes plain
conjugate gradients slow. It stays useful when samples leave: their curvature is a small change.

Costs ``rank`` products and 3 · rank · d numbers to prepare, then one product for each iteration.
The rank is lowered where half the cap on memory does not hold the sketch; without room for any,
the gradients are not preconditioned.

References:
    Frangella, Tropp and Udell, "Randomized Nyström Preconditioning", SIAM J. Matrix Anal. Appl. 44
    (2023), doi:10.1137/21M1466244, algorithms 2.1 and 5.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from expunge.core.errors import CurvatureIndefinite, InputError
from expunge.methods.empirical.influence import solver
from expunge.methods.empirical.influence.problem import Problem, curve
from expunge.methods.empirical.influence.solver import Operator, Solved

# Iterates, and what a product returns; all in float64.
_VECTORS: Final = 8


@dataclass(frozen=True, slots=True)
class Conjugate:
    """Preconditioned conjugate gradients.

    Attributes:
        damping: Added to the diagonal; None: a tenth of the mean eigenvalue of the losses' curvature.
        rank: Of the sketch, at most; 0: none. A Hessian is never sketched: it may be indefinite.
        tolerance: Relative residual that a solution must reach.
        iterations: At most.
    """

    damping: float | None = None
    rank: int = 64
    tolerance: float = 1e-5
    iterations: int = 500

    def __post_init__(self) -> None:
        solver.check_knobs(self.damping, self.tolerance, self.iterations)
        if self.rank < 0:
            raise InputError(f"`rank` must not be negative, got {self.rank}.")

    def prepare(self, problem: Problem, at: Tensor) -> Multiplied:
        """Sketch the curvature of all samples.

        Raises:
            MemoryCapTooSmall: Not even the iterates fit under the cap.
        """
        at = solver.checked_at(problem, at)
        working = problem.reserving(_VECTORS * problem.size * 8)
        rank = _affordable(self.rank, working, at)
        if not rank:
            mean = solver.mean_eigenvalue(working, at) if self.damping is None else 0.0
            return Multiplied(working, at, self._damping(mean), None, self)
        working = working.reserving(rank * _sketch_bytes(at))
        tests, images = _multiplied(working, at, rank)
        mean = float((tests * images).sum()) / rank / problem.size
        return Multiplied(working, at, self._damping(mean), _sketched(tests, images), self)

    def solve(self, problem: Problem, at: Tensor, rhs: Tensor) -> Solved:
        """Prepare and solve, for a single right-hand side."""
        return self.prepare(problem, at).solve(rhs)

    def _damping(self, mean: float) -> float:
        return solver.default_damping(mean) if self.damping is None else self.damping


@dataclass(frozen=True, slots=True)
class Sketch:
    """Approximate large eigenpairs of the losses' curvature.

    Attributes:
        vectors: Orthonormal columns: (d, rank).
        values: Falling, not negative: (rank,).
    """

    vectors: Tensor
    values: Tensor

    def inverse(self, v: Tensor, ridge: float) -> Tensor:
        """Precondition: divide by the eigenvalue in the sketch, by the last of them outside it.

        The scale is such that what lies outside is left as it is.
        """
        inside = self.vectors.T @ v.to(self.vectors.dtype)
        shrunk = (self.values[-1] + ridge) / (self.values + ridge)
        return v + (self.vectors @ ((shrunk - 1) * inside)).to(v.dtype)


@dataclass(frozen=True, eq=False)
class Multiplied:
    """A curvature that is multiplied with, and a sketch of it."""

    problem: Problem
    at: Tensor
    damping: float
    sketch: Sketch | None
    knobs: Conjugate

    def solve(self, rhs: Tensor, leaving: Tensor | None = None) -> Solved:
        """Solve with the curvature of the objective of all samples but ``leaving``."""
        if solver.is_zero(rhs):
            return solver.nothing(rhs, self.damping)
        multiply = curve(self.problem, self.at, leaving)

        def apply(v: Tensor) -> Tensor:
            return multiply(v.to(self.at.dtype)).double() + self.damping * v

        x, iterations, least = self._iterate(apply, rhs.double())
        found = solver.solved(apply, x, rhs, self.damping, iterations, least)
        return solver.accepted(found, "Conjugate gradients", self.knobs.tolerance)

    def _iterate(self, apply: Operator, rhs: Tensor) -> tuple[Tensor, int, float]:
        """The solution, the iterations that it took, the least curvature along a search direction."""
        x, left = torch.zeros_like(rhs), rhs.clone()
        towards = solved_for = self._precondition(left)
        product = float(left @ solved_for)
        # A little below the tolerance, because what is believed differs from what is true.
        target = 0.5 * self.knobs.tolerance * float(rhs.norm())
        least, done = math.inf, 0
        while done < self.knobs.iterations and float(left.norm()) > target:
            curved = apply(towards)
            along = float(towards @ curved)
            least = min(least, along / float(towards @ towards))
            if not least > 0:
                raise CurvatureIndefinite(least, self.damping)
            step = product / along
            x, left, done = x + step * towards, left - step * curved, done + 1
            solved_for = self._precondition(left)
            product, before = float(left @ solved_for), product
            towards = solved_for + (product / before) * towards
        return x, done, least

    def _precondition(self, left: Tensor) -> Tensor:
        if self.sketch is None:
            return left
        penalty = torch.as_tensor(self.problem.penalty).double().mean()
        # Never 0: without any ridge, directions outside the sketch count as its last one.
        ridge = max(self.damping + float(penalty), 1e-12 * float(self.sketch.values[0]))
        return self.sketch.inverse(left, ridge)


def _sketch_bytes(at: Tensor) -> int:
    return 5 * at.numel() * at.element_size()  # tests, images, vectors, and what makes them


def _affordable(rank: int, problem: Problem, at: Tensor) -> int:
    if problem.curvature == "hessian":
        return 0
    return min(rank, problem.size, problem.memory_bytes // 2 // _sketch_bytes(at))


def _multiplied(problem: Problem, at: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Directions, and the losses' curvature times each: twice (rank, d)."""
    share = problem.share(problem.everybody)
    tests = torch.stack([solver.probe(number, rank, at) for number in range(rank)])
    multiply = problem.product(at, problem.everybody)
    images = [multiply(test) / share for test in tests]
    return tests, torch.stack(images)


def _sketched(tests: Tensor, images: Tensor) -> Sketch | None:
    """Algorithm 2.1 of the reference; None where the curvature is zero, or not positive."""
    basis, mixed = torch.linalg.qr(tests.T)
    image = torch.linalg.solve_triangular(mixed, images.T, upper=True, left=False)
    shift = math.sqrt(len(basis)) * torch.finfo(tests.dtype).eps * float(image.norm())
    shifted = image + shift * basis
    root, info = torch.linalg.cholesky_ex(basis.T @ shifted)
    if int(info) or shift == 0:
        return None
    thin = torch.linalg.solve_triangular(root.T, shifted, upper=True, left=False)
    vectors, values, _ = torch.linalg.svd(thin, full_matrices=False)
    return Sketch(vectors, (values.square() - shift).clamp(min=0))
