"""Linear discriminant analysis that forgets by subtraction.

Classes are Gaussian with means of their own and one covariance, pooled and shrunk towards a
multiple of the identity.

References:
    Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning", 2nd edition,
    sections 4.3 and 4.3.1 (regularised).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Task
from expunge.learners import features as maps
from expunge.learners.features.columns import Columns
from expunge.learners.features.protocol import FeatureMap
from expunge.learners.features.rows import Rows, rows
from expunge.learners.protocol import Features, Predictor, Samples, Step
from expunge.learners.sums import classes, learning, moments, products
from expunge.learners.sums.learning import Fit, Sums
from expunge.learners.sums.predicting import log_linear, predictor
from expunge.learners.sums.solving import aligned, solve


@dataclass(frozen=True)
class LDA:
    """Linear discriminant analysis on integer features.

    Training costs samples · width² multiplications, and each solution width³/3. Forgetting costs
    the samples that leave and one solution. A class without samples is never predicted.

    Attributes:
        shrinkage: From 0 to 1: part of the covariance that is replaced by its mean variance on
            the diagonal.
        features: What is made of the cells: a feature map, its name, or JSON that says it.

    Raises:
        RecipeInvalid: A field is out of its range; or, when it learns, targets are no classes.
    """

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scipy")

    shrinkage: float = 0.01
    features: FeatureMap | str | Mapping[str, Any] = field(default_factory=Columns)

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", maps.of(self.features))
        if not 0 <= self.shrinkage <= 1:
            raise RecipeInvalid(f"`shrinkage` must be from 0 to 1, got {self.shrinkage}.")

    @property
    def map(self) -> FeatureMap:
        """The feature map."""
        return self.features  # type: ignore[return-value]  # made so above

    def check(self, task: Task) -> None:
        """See that targets are classes, and that the map takes the columns."""
        classes.check(task, "LDA")
        self.map.width(task.features)

    def encode(self, task: Task, features: Features) -> Rows:
        """Rows that become integers when they are summed."""
        self.check(task)
        return rows(self.map, task.features, features)

    def learn(self, task: Task, parent: bytes | None, samples: Samples, step: Step) -> bytes:
        """Add the samples that are new to the parent's sums, and solve."""
        return learning.learn(self, task, parent, samples)

    def change(self, task: Task, state: bytes, gone: Samples | None, come: Samples | None) -> bytes:
        """As :meth:`expunge.learners.protocol.Changing.change`."""
        return learning.change(self, task, state, gone, come)

    def predictor(self, task: Task, states: Sequence[bytes]) -> Predictor:
        """Probabilities per declared class, of each state."""
        return predictor(task, states, log_linear)

    def zeros(self, task: Task) -> Sums:
        """Sums of no samples."""
        return moments.zeros(task, self.map)

    def add(self, task: Task, sums: Sums, samples: Samples, sign: int) -> None:
        """Add or subtract second moments."""
        moments.add(task, sums, samples, 0, sign)

    def solve(self, task: Task, sums: Sums) -> Fit:
        """Coefficients (width, classes) and intercepts (classes,) of log-probabilities."""
        weight, _, sizes = moments.totals(sums)
        each = np.divide(1.0, sizes, out=np.zeros_like(sizes), where=sizes > 0)
        of_class = sums["cross"][:-1, :-1].astype(np.float64)
        means = of_class * each
        covariance = aligned(len(means), len(means))
        products.unfold(sums["square"], covariance)
        moments.centre(covariance, of_class, each)
        covariance /= max(weight, 1.0)
        found = solve(self._shrunk(covariance), means)
        prior = classes.log_shares(sizes)
        return {
            "coefficients": found.values,
            "intercepts": prior - 0.5 * (means * found.values).sum(axis=0),
            "solution": np.array([found.condition, found.added]),
        }

    def _shrunk(self, covariance: NDArray[np.float64]) -> NDArray[np.float64]:
        diagonal = np.einsum("ii->i", covariance)
        mean_variance = float(diagonal.mean())
        covariance *= 1 - self.shrinkage
        diagonal += self.shrinkage * mean_variance
        return covariance
