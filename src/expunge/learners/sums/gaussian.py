"""Gaussian naive Bayes that forgets by subtraction.

Each feature of each class is Gaussian by itself: counts, sums and sums of squares say all.

References:
    Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning", 2nd edition,
    section 6.6.3.
    Sheppard, "On the Calculation of the most Probable Values of Frequency-Constants", Proc.
    London Math. Soc. 1897: rounding to units adds a variance of 1/12.
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
from expunge.learners.sums import classes, learning
from expunge.learners.sums.learning import Fit, Sums
from expunge.learners.sums.predicting import predictor, softmax


@dataclass(frozen=True)
class GaussianBayes:
    """GaussianBayes naive Bayes on integer features.

    Training is one pass, and costs samples · width · classes multiplications at most; forgetting
    costs the samples that leave. A class without samples is never predicted.

    Attributes:
        smoothing: Added to every variance, in units of a feature's integers, squared. The
            default is what rounding to them adds by itself, so a constant feature is no trap.
        features: What is made of the cells: a feature map, its name, or JSON that says it.

    Raises:
        RecipeInvalid: A field is out of its range; or, when it learns, targets are no classes.
    """

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scipy")

    smoothing: float = 1 / 12
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
        classes.check(task, "GaussianBayes")
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
        return predictor(task, states, _answer)

    def zeros(self, task: Task) -> Sums:
        """Sums of no samples."""
        width = self.map.width(task.features)
        return classes.zeros(task, {"sums": width, "squares": width})

    def add(self, task: Task, sums: Sums, samples: Samples, sign: int) -> None:
        """Add or subtract sums and sums of squares."""
        top = self.map.top(task.features)

        def terms(x: NDArray[np.int16]) -> dict[str, tuple[NDArray[np.integer], int]]:
            return {"sums": (x, top), "squares": (np.square(x, dtype=np.int32), top**2)}

        classes.add(task, sums, samples, sign, terms)

    def solve(self, task: Task, sums: Sums) -> Fit:
        """Means and variances (classes, width), and logarithms of the classes' shares."""
        sizes = np.maximum(sums["sizes"], 1)[:, None]
        means = sums["sums"] / sizes
        variances = np.maximum(sums["squares"] / sizes - means**2, 0) + self.smoothing
        return {
            "means": means,
            "precisions": 1 / variances,
            "priors": classes.log_shares(sums["sizes"]) + 0.5 * _log_sum(1 / variances),
        }


def _log_sum(precisions: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.log(precisions).sum(axis=1)
    return found


def _answer(task: Task, fit: Fit, x: NDArray[np.float64]) -> NDArray[np.float64]:
    # One class at a time: (n, classes, width) would be large.
    distances = [
        (np.square(x - mean) @ precision)
        for mean, precision in zip(fit["means"], fit["precisions"], strict=True)
    ]
    return softmax(fit["priors"] - 0.5 * np.stack(distances, axis=1))
