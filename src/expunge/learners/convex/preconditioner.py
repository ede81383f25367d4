"""The inverse of a Hessian, kept while it serves, from which samples can be taken out.

References:
    Woodbury's identity: Higham, "Accuracy and Stability of Numerical Algorithms", 2002, problem
    26.2. Its rounding does no harm here: what it yields only chooses directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from expunge.core.errors import GuaranteeUnproved
from expunge.learners.convex.losses import Floats
from expunge.learners.convex.objective import Objective, Point, curvature, hessian

_APART: Final = 64
_SMALLEST: Final = 1e-6  # eigenvalue below which a factor is of another point, or loses all


@dataclass(frozen=True, slots=True)
class Preconditioner:
    """The inverse of a Hessian at some earlier point. It may be as wrong as it likes.

    Secret, like a :class:`Point`: rebuild it from released weights to purge what it knew.

    Attributes:
        inverse: (dK, dK), from a Cholesky factor. As an inverse it is applied by one product,
            and samples leave it by adding something of low rank.
        added: Columns T, (dK, k): the inverse at work is ``inverse`` + TTᵀ. Kept apart for a
            while, because writing so large a matrix anew costs as much as a pass over data.
        curved: The curvature of each sample that is in it, (n,) or (n, K, K): it is the inverse
            of Σ xᵢxᵢᵀ ⊗ curvedᵢ + λI. None where nobody knows.
    """

    inverse: Floats
    added: Floats
    curved: Floats | None = None

    @classmethod
    def at(cls, whole: Objective, point: Point) -> Preconditioner:
        """Factor the Hessian at ``point``. Costs O(n(dK)² + (dK)³).

        Raises:
            GuaranteeUnproved: The Hessian is not finite, or numerically singular.
        """
        curved = curvature(whole, point.scores)
        matrix = hessian(whole, curved)
        factor, failed = linalg.lapack.dpotrf(matrix, lower=1, overwrite_a=1)
        if failed or not np.isfinite(factor[-1, -1]):
            raise GuaranteeUnproved(
                "the Hessian is numerically singular; scale features",
                "`exact`, by a rebuild without the samples",
            )
        inverse, _ = linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
        lower = np.tril(inverse)
        return cls(lower + np.tril(inverse, -1).T, np.empty((len(lower), 0)), curved)

    def apply(self, gradient: Floats) -> Floats:
        """The inverse times ``gradient``, in its shape. O((dK)²)."""
        return self._times(gradient.ravel()).reshape(gradient.shape)

    def without(self, whole: Objective, leaving: NDArray[np.intp]) -> Preconditioner:
        """Take out the terms of samples, by Woodbury's identity. O((dK)²·mK).

        Args:
            whole: The objective.
            leaving: Rows of the m samples. Where there are many, the factor stays as it is:
                taking them out would cost more than the passes that it saves.
        """
        if self.curved is None or len(leaving) > max(whole.x.shape[1] // 8, 1):
            return self
        columns = _columns(whole.x[leaving], self.curved[leaving])
        turned = self._times(columns)
        values, vectors = np.linalg.eigh(np.eye(columns.shape[1]) - columns.T @ turned)
        if not values[0] > _SMALLEST:
            return self
        curved = self.curved.copy()
        curved[leaving] = 0
        added = np.concatenate([self.added, turned @ (vectors / np.sqrt(values))], axis=1)
        if added.shape[1] <= _APART:
            return Preconditioner(self.inverse, added, curved)
        return Preconditioner(self.inverse + added @ added.T, added[:, :0], curved)

    def _times(self, values: Floats) -> Floats:
        return np.asarray(self.inverse @ values + self.added @ (self.added.T @ values))


def _columns(rows: Floats, curved: Floats) -> Floats:
    """Columns U with UUᵀ = Σ xᵢxᵢᵀ ⊗ curvedᵢ, (dK, mK)."""
    if curved.ndim == 1:
        return np.asarray((rows * np.sqrt(curved)[:, None]).T)
    values, vectors = np.linalg.eigh(curved)
    roots = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
    columns = np.einsum("md,mkr->dkmr", rows, roots)
    return np.asarray(columns.reshape(columns.shape[0] * columns.shape[1], -1))
