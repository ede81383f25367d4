"""Solve by factorising the whole curvature matrix: for heads and small networks.

The matrix is summed and factorised once, in float64 whatever the parameters are: 2 d² numbers are
held. Samples that leave take few rows out of it, so their inverse is a Woodbury update of the old
factor. In the mean convention the ridge changes with them, too, which is no update of low rank:
the updated factor is then a preconditioner that is wrong by a share m/n, and a few refinements
against the true matrix make it right. Where many leave, the matrix is factorised again.

Costs n · outputs · d² to prepare, d³/3 to factorise, and (m · outputs) · d² for m that leave.
Meant for d up to 5,000: beyond, the cap on memory is what refuses.

References:
    Hager, "Updating the Inverse of a Matrix", SIAM Review 31 (1989), doi:10.1137/1031049.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from expunge.core.errors import CurvatureIndefinite
from expunge.methods.empirical.influence import solver
from expunge.methods.empirical.influence.problem import Problem
from expunge.methods.empirical.influence.solver import Operator, Solved

# An update with more rows than this share of d costs more than a new factor.
_FEW: Final = 0.25
_REFINEMENTS: Final = 12
_INVERSE_ITERATIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Exact:
    """Cholesky and Woodbury.

    Attributes:
        damping: Added to the diagonal; None: a tenth of the mean eigenvalue of the losses' curvature.
        tolerance: Relative residual that a solution must reach.
    """

    damping: float | None = None
    tolerance: float = 1e-9

    def __post_init__(self) -> None:
        solver.check_knobs(self.damping, self.tolerance)

    def prepare(self, problem: Problem, at: Tensor) -> Factored:
        """Sum and factorise the curvature of all samples.

        Raises:
            MemoryCapTooSmall: Four d × d matrices in float64 do not fit under the cap.
            CurvatureIndefinite: The damped curvature is not positive definite.
        """
        at = solver.checked_at(problem, at)
        working = problem.reserving(_bytes(problem.size))
        sums = curvature_sum(working, at, problem.everybody)
        share = problem.share(problem.everybody)
        mean = float(sums.diagonal().mean()) / share
        damping = solver.default_damping(mean) if self.damping is None else self.damping
        ridge = problem.penalty + damping
        factor = _cholesky(_ridged(sums, share * ridge), damping)
        least = _least(factor) / share
        return Factored(working, at, damping, sums, factor, least, self.tolerance)

    def solve(self, problem: Problem, at: Tensor, rhs: Tensor) -> Solved:
        """Prepare and solve, for a single right-hand side."""
        return self.prepare(problem, at).solve(rhs)


@dataclass(frozen=True, eq=False)
class Factored:
    """A factorised curvature.

    Attributes:
        sums: Of the losses' curvatures over all samples, without ridge: (d, d) in float64.
        factor: Lower Cholesky factor of ``sums`` with the ridge of all samples: (d, d).
        least: Smallest eigenvalue that was seen of the damped curvature of all samples.
    """

    problem: Problem
    at: Tensor
    damping: float
    sums: Tensor
    factor: Tensor
    least: float
    tolerance: float

    def solve(self, rhs: Tensor, leaving: Tensor | None = None) -> Solved:
        """Solve with the curvature of the objective of all samples but ``leaving``."""
        if solver.is_zero(rhs):
            return solver.nothing(rhs, self.damping)
        if leaving is None:
            share = self.problem.share(self.problem.everybody)
            ridge = share * (self.problem.penalty + self.damping)
            found = self._refined(lambda v: self.sums @ v + ridge * v, self._inverse, rhs, share)
            found = replace(found, least_eigenvalue=self.least)
            return solver.accepted(found, "The Cholesky solver", self.tolerance)
        updated = self._updated(rhs, leaving) if self._are_few(leaving) else None
        return self._again(rhs, leaving) if updated is None else updated

    def _are_few(self, leaving: Tensor) -> bool:
        if self.problem.curvature != "gauss-newton":
            return False  # its rows do not square to the Hessian
        one = self.problem.samples.inputs[leaving[:1]].to(self.at.device)
        one = one.to(self.at.dtype) if one.is_floating_point() else one
        with torch.no_grad():
            outputs = self.problem.outputs(self.at, one).numel()
        return len(leaving) * outputs <= max(1.0, _FEW * len(self.at))

    def _updated(self, rhs: Tensor, leaving: Tensor) -> Solved | None:
        """By Woodbury; None where that does not get close enough."""
        share, ridge = self._staying(leaving)
        rows = torch.cat([part.double() for part in self.problem.rows(self.at, leaving)])
        half = torch.linalg.solve_triangular(self.factor, rows.T, upper=False)
        inner = torch.eye(len(rows), dtype=torch.float64, device=rows.device) - half.T @ half
        root, info = torch.linalg.cholesky_ex(inner)
        if int(info):
            return None

        def inverse(v: Tensor) -> Tensor:
            plain = self._inverse(v)
            middle = torch.cholesky_solve((rows @ plain)[:, None], root)[:, 0]
            return plain + self._inverse(rows.T @ middle)

        def apply(v: Tensor) -> Tensor:
            return self.sums @ v - rows.T @ (rows @ v) + ridge * v

        found = self._refined(apply, inverse, rhs, share)
        return found if found.residual <= self.tolerance else None

    def _again(self, rhs: Tensor, leaving: Tensor) -> Solved:
        share, ridge = self._staying(leaving)
        whole = curvature_sum(self.problem, self.at, leaving).neg_().add_(self.sums)
        whole.diagonal().add_(ridge)
        factor = _cholesky(whole, self.damping)

        def inverse(v: Tensor) -> Tensor:
            return torch.cholesky_solve(v[:, None], factor)[:, 0]

        found = self._refined(lambda v: whole @ v, inverse, rhs, share)
        found = replace(found, least_eigenvalue=_least(factor) / share)
        return solver.accepted(found, "The Cholesky solver", self.tolerance)

    def _staying(self, leaving: Tensor) -> tuple[float, float | Tensor]:
        """What sums over those that stay are divided by, and the ridge beside these sums."""
        share = self.problem.share(self.problem.staying(leaving))
        return share, share * (self.problem.penalty + self.damping)

    def _inverse(self, v: Tensor) -> Tensor:
        return torch.cholesky_solve(v[:, None], self.factor)[:, 0]

    def _refined(
        self, apply: Operator, inverse: Callable[[Tensor], Tensor], rhs: Tensor, share: float
    ) -> Solved:
        """Solve apply(x) = share · rhs, by ``inverse`` and refinements of it."""
        wanted = share * rhs.double()
        x = inverse(wanted)
        target = self.tolerance * float(wanted.norm()) / 100
        done = 0
        left = wanted - apply(x)
        while float(left.norm()) > target and done < _REFINEMENTS:
            better = x + inverse(left)
            remaining = wanted - apply(better)
            if float(remaining.norm()) >= float(left.norm()):
                break  # rounding is all that is left
            x, left, done = better, remaining, done + 1
        residual = float(left.norm() / wanted.norm())
        direction = x.to(rhs.dtype)
        return Solved(direction, residual, self.damping, done, float(x.norm()))


def curvature_sum(problem: Problem, at: Tensor, indices: Tensor) -> Tensor:
    """Weighted sum of the losses' curvatures over ``indices``: (d, d) in float64.

    For the Hessian, d products; else one pass with as many backward passes as there are outputs.
    """
    size = problem.size
    total = torch.zeros(size, size, dtype=torch.float64, device=at.device)
    if problem.curvature == "gauss-newton":
        for rows in problem.rows(at, indices):
            wide = rows.double()
            total.addmm_(wide.T, wide)
        return total
    multiply = problem.product(at, indices)
    for i in range(size):
        unit = torch.zeros_like(at)
        unit[i] = 1
        total[i] = multiply(unit)
    return (total + total.T) / 2


def _bytes(size: int) -> int:
    return 4 * size * size * 8  # sums and factor, and the same again of those that stay


def _ridged(sums: Tensor, ridge: float | Tensor) -> Tensor:
    whole = sums.clone()
    whole.diagonal().add_(ridge)
    return whole


def _cholesky(whole: Tensor, damping: float) -> Tensor:
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(whole)
    if int(info) or not bool(torch.isfinite(factor.diagonal()).all()):
        raise CurvatureIndefinite(None, damping)
    return factor


def _least(factor: Tensor) -> float:
    """Bound the smallest eigenvalue of the factorised matrix from above, by inverse iteration."""
    v = solver.draws("least eigenvalue", factor[0])
    for _ in range(_INVERSE_ITERATIONS):
        v = torch.cholesky_solve((v / v.norm())[:, None], factor)[:, 0]
    return 1 / float(v.norm())
