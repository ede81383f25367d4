"""Bernoulli naive Bayes that forgets by subtraction.

A feature is there or not: only how many samples of each class have it is counted.

References:
    Manning, Raghavan and Schütze, "Introduction to Information Retrieval", 2008, chapter 13.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from expunge.core.types import Task
from expunge.learners import features as maps
from expunge.learners.features.columns import Columns
from expunge.learners.features.protocol import FeatureMap
from expunge.learners.features.rows import Rows, rows
from expunge.learners.protocol import Features, Predictor, Samples, Step
from expunge.learners.sums import classes, integers, learning
from expunge.learners.sums.learning import Fit, Sums
from expunge.learners.sums.predicting import predictor, softmax


@dataclass(frozen=True)
class BernoulliBayes:
    """BernoulliBayes naive Bayes on integer features.

    Training is one pass, and costs samples · width · classes multiplications at most; forgetting
    costs the samples that leave. A class without samples is never predicted.

    Attributes:
        above: A feature is there where its integer is greater than this.
        smoothing: Added to how many samples of a class have a feature, and to how many lack it.
        features: What is made of the cells: a feature map, its name, or JSON that says it.

    Raises:
        RecipeInvalid: A field is out of its range; or, when it learns, targets are no classes.
    """

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scipy")

    above: int = 0
    smoothing: float = 1.0
    features: FeatureMap | str | Mapping[str, Any] = field(default_factory=Columns)

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", maps.of(self.features))
        classes.check_smoothing(self.smoothing)

    @property
    def map(self) -> FeatureMap:
        """The feature map."""
        return self.features  # type: ignore[return-value]  # made so above

    def check(self, task: Task) -> None:
        """See that targets are classes, and that the map takes the columns."""
        classes.check(task, "BernoulliBayes")
        self.map.width(task.features)

    def encode(self, task: Task, features: Features) -> Rows:
        """Rows that become integers when they are summed."""
        self.check(task)
        return rows(self.map, task.features, features)

    def learn(self, task: Task, parent: bytes | None, samples: Samples, step: Step) -> bytes:
        """Add the samples that are new to the parent's sums."""
        return learning.learn(self, task, parent, samples)

    def change(self, task: Task, state: bytes, gone: Samples | None, come: Samples | None) -> bytes:
        """As :meth:`expunge.learners.protocol.Changing.change`."""
        return learning.change(self, task, state, gone, come)

    def predictor(self, task: Task, states: Sequence[bytes]) -> Predictor:
        """Probabilities per declared class, of each state."""
        return predictor(task, states, self._answer)

    def zeros(self, task: Task) -> Sums:
        """Sums of no samples."""
        return classes.zeros(task, {"having": self.map.width(task.features)})

    def add(self, task: Task, sums: Sums, samples: Samples, sign: int) -> None:
        """Add or subtract how many have each feature."""

        def terms(x: NDArray[np.int16]) -> dict[str, tuple[NDArray[np.integer], int]]:
            return {"having": ((x > self.above).astype(np.int8), 1)}

        classes.add(task, sums, samples, sign, terms)

    def solve(self, task: Task, sums: Sums) -> Fit:
        """Log-odds of each feature (width, classes), and what no feature at all says."""
        unit = integers.unit(sums["count"])
        sizes = sums["sizes"][:, None] * unit
        share = (sums["having"] * unit + self.smoothing) / (sizes + 2 * self.smoothing)
        return {
            "coefficients": np.ascontiguousarray((np.log(share) - np.log1p(-share)).T),
            "intercepts": classes.log_shares(sums["sizes"]) + np.log1p(-share).sum(axis=1),
        }

    def _answer(self, task: Task, fit: Fit, x: NDArray[np.float64]) -> NDArray[np.float64]:
        there = (x > self.above).astype(np.float64)
        return softmax(there @ fit["coefficients"] + fit["intercepts"])
