"""Multinomial naive Bayes that forgets by subtraction.

For counts, such as those of words: a class draws features as often as their sums say.

References:
    Manning, Raghavan and Schütze, "Introduction to Information Retrieval", 2008, chapter 13.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import ViewInvalid
from expunge.core.types import Task
from expunge.learners import features as maps
from expunge.learners.features.columns import Columns
from expunge.learners.features.protocol import FeatureMap
from expunge.learners.features.rows import Rows, rows
from expunge.learners.protocol import Features, Predictor, Samples, Step
from expunge.learners.sums import classes, integers, learning
from expunge.learners.sums.learning import Fit, Sums
from expunge.learners.sums.predicting import log_linear, predictor


@dataclass(frozen=True)
class MultinomialBayes:
    """MultinomialBayes naive Bayes on integer features.

    Training is one pass, and costs samples · width · classes multiplications at most; forgetting
    costs the samples that leave. A class without samples is never predicted.

    Attributes:
        smoothing: Added to the sum of every feature in every class, as the map scales them.
        features: What is made of the cells: a feature map, its name, or JSON that says it.

    Raises:
        RecipeInvalid: A field is out of its range; or, when it learns, targets are no classes.
        ViewInvalid: When it learns, a feature is negative.
    """

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scipy")

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
        classes.check(task, "MultinomialBayes")
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
        return predictor(task, states, log_linear)

    def zeros(self, task: Task) -> Sums:
        """Sums of no samples."""
        return classes.zeros(task, {"sums": self.map.width(task.features)})

    def add(self, task: Task, sums: Sums, samples: Samples, sign: int) -> None:
        """Add or subtract sums of features."""
        top = self.map.top(task.features)

        def terms(x: NDArray[np.int16]) -> dict[str, tuple[NDArray[np.integer], int]]:
            _check_counts(x)
            return {"sums": (x, top)}

        classes.add(task, sums, samples, sign, terms)

    def solve(self, task: Task, sums: Sums) -> Fit:
        """Logarithms of each feature's part of its class (width, classes), and of the shares."""
        scale = self.map.scale(task.features)
        found = sums["sums"] * (scale * integers.unit(sums["count"])) + self.smoothing
        parts = np.log(found / found.sum(axis=1, keepdims=True))
        return {
            "coefficients": np.ascontiguousarray(parts.T) * scale,
            "intercepts": classes.log_shares(sums["sizes"]),
        }


def _check_counts(x: NDArray[np.int16]) -> None:
    if len(x) and x.min() < 0:
        raise ViewInvalid(
            "Multinomial naive Bayes counts, and a feature is negative. Use a map without "
            "negative features, such as `columns` or `ngrams`."
        )
