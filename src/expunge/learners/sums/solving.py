"""Solve symmetric systems that come from sums, and say how well they were conditioned.

A pure function of its arguments' values on one thread: what BLAS works on stands at the same
alignment whenever it is computed, because its kernels may add in another order elsewhere.

References:
    Golub and Van Loan, "Matrix Computations", 4th edition, sections 4.2 (Cholesky) and 3.5.3
    (iterative refinement).
    Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, section 10.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

_ALIGNMENT: Final = 64
_EPSILON: Final = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Solution:
    """What was solved for.

    Attributes:
        values: Of the unknowns, (width, right-hand sides).
        condition: From above, the reciprocal condition number: the squared ratio of the least to
            the greatest pivot of the Cholesky factor.
        added: To the diagonal, because the matrix was too near to a singular one; else 0.
    """

    values: NDArray[np.float64]
    condition: float
    added: float


def solve(matrix: NDArray[np.float64], right: NDArray[np.float64]) -> Solution:
    """Solve ``matrix`` · v = ``right`` for a positive semi-definite matrix.

    By Cholesky and one step of refinement: width³/3 multiplications. A matrix that rounding
    cannot tell from a singular one gets as much on its diagonal as it takes, which picks,
    nearly, the solution of least norm.

    Args:
        matrix: (width, width) as :func:`aligned` makes it; only its lower triangle is read.
            Changed in place where something is added to its diagonal.
        right: (width, k).
    """
    factor, condition, added = _factored(matrix)
    values = _placed(right)
    lapack.dpotrs(factor, values, lower=1, overwrite_b=1)
    rest = _placed(right)
    # rest = right - matrix · values
    blas.dsymm(-1.0, matrix, values, beta=1.0, c=rest, lower=1, overwrite_c=1)
    lapack.dpotrs(factor, rest, lower=1, overwrite_b=1)
    return Solution(np.ascontiguousarray(values + rest), condition, added)


def aligned(rows: int, columns: int) -> NDArray[np.float64]:
    """An array in Fortran's order that begins at a multiple of 64 bytes; its content is not set."""
    spare = np.empty(rows * columns * 8 + _ALIGNMENT, np.uint8)
    begin = -spare.ctypes.data % _ALIGNMENT
    flat = spare[begin : begin + rows * columns * 8].view(np.float64)
    return flat.reshape((rows, columns), order="F")


def _placed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    copy = aligned(*values.shape)
    copy[...] = values
    return copy


def _factored(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, float]:
    """The Cholesky factor, its condition, and what had to be added to the diagonal."""
    diagonal = np.einsum("ii->i", matrix)
    least = 100 * len(matrix) * _EPSILON
    step, added = least * float(diagonal.max(initial=0.0)) or 1.0, 0.0
    while True:
        factor = _placed(matrix)
        _, failed = lapack.dpotrf(factor, lower=1, clean=0, overwrite_a=1)
        condition = 0.0 if failed else _condition(np.einsum("ii->i", factor))
        if condition >= least:
            return factor, condition, added
        diagonal += step
        added, step = added + step, step * 10


def _condition(pivots: NDArray[np.float64]) -> float:
    if not len(pivots):
        return 1.0
    return float(pivots.min() / pivots.max()) ** 2
