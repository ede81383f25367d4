"""Ridge regression and least squares, for values and for classes, forgetting by subtraction.

Minimises Σ wᵢ‖yᵢ − Bᵀxᵢ − b‖² + λ‖B‖² by its normal equations; the intercept b is not penalised.
λ stands on the sum, not on the mean, so that it keeps its meaning as samples leave. Classes are
fitted as columns of zeros and ones.

References:
    Hoerl and Kennard, "Ridge Regression", Technometrics 12 (1970), doi:10.1080/00401706.1970.10488634.
    Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning", 2nd edition,
    sections 3.4.1 and 4.2 (classes by indicators).
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
from expunge.learners.sums import integers, learning, moments, products
from expunge.learners.sums.learning import Fit, Sums
from expunge.learners.sums.predicting import predictor
from expunge.learners.sums.solving import aligned, solve


@dataclass(frozen=True)
class Ridge:
    """Ridge regression on integer features; with a penalty of 0, least squares.

    Training costs samples · width² multiplications, and each solution width³/3. Forgetting costs
    the samples that leave and one solution. A state takes 4 · width² bytes and a little more.

    Classes get probabilities by cutting the fitted values at 0 and scaling their sum to 1.
    Where the penalty is 0, or so small that rounding cannot tell the system from a singular one,
    as little is added to the penalty as it takes; a state says how much.

    Attributes:
        penalty: λ, on the sum of squared errors; at least 0. Features count as their map scales
            them, numbers of a declared range from 0 to 1; targets on their declared range, likewise.
        features: What is made of the cells: a feature map, its name, or JSON that says it.
        target_bits: Of a numeric target, on its declared range. Unused for classes.

    Raises:
        RecipeInvalid: A field is out of its range.
    """

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scipy")

    penalty: float = 1.0
    features: FeatureMap | str | Mapping[str, Any] = field(default_factory=Columns)
    target_bits: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", maps.of(self.features))
        if not (self.penalty >= 0 and np.isfinite(self.penalty)):
            raise RecipeInvalid(f"`penalty` must be at least 0, got {self.penalty}.")
        if not 1 <= self.target_bits <= 24:
            raise RecipeInvalid(f"`target_bits` must be from 1 to 24, got {self.target_bits}.")

    @property
    def map(self) -> FeatureMap:
        """The feature map."""
        return self.features  # type: ignore[return-value]  # made so above

    def check(self, task: Task) -> None:
        """See that numeric targets have a range, and that the map takes the columns."""
        for column in () if task.classes else task.targets:
            integers.scale(column, self.target_bits)
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
        """Probabilities per declared class, or values per target, of each state."""
        return predictor(task, states, self._predict)

    def zeros(self, task: Task) -> Sums:
        """Sums of no samples."""
        return moments.zeros(task, self.map)

    def add(self, task: Task, sums: Sums, samples: Samples, sign: int) -> None:
        """Add or subtract second moments."""
        moments.add(task, sums, samples, self.target_bits, sign)

    def solve(self, task: Task, sums: Sums) -> Fit:
        """Coefficients (width, outputs) and intercepts (outputs,), of integers to integers."""
        weight, x, y = moments.totals(sums)
        if weight == 0:
            return _nothing(len(x), task.outputs)
        square = aligned(len(x), len(x))
        products.unfold(sums["square"], square)
        moments.centre(square, x[:, None], np.array([1 / weight]))
        np.einsum("ii->i", square)[...] += self._penalty(task, sums)
        found = solve(square, sums["cross"][:-1, :-1] - np.outer(x, y / weight))
        return {
            "coefficients": found.values,
            "intercepts": (y - (x[:, None] * found.values).sum(axis=0)) / weight,
            "solution": np.array([found.condition, found.added]),
        }

    def _penalty(self, task: Task, sums: Sums) -> float:
        """λ in units of the sums: of integer features, and of weights in 1/256."""
        unit = self.map.scale(task.features)
        return self.penalty / unit**2 / integers.unit(sums["count"])

    def _predict(self, task: Task, fit: Fit, x: NDArray[np.float64]) -> NDArray[np.float64]:
        found = x @ fit["coefficients"] + fit["intercepts"]
        if task.classes:
            return _probabilities(found)
        scales = [integers.scale(column, self.target_bits) for column in task.targets]
        return np.stack([s.values(found[:, k]) for k, s in enumerate(scales)], axis=1)


def _nothing(width: int, outputs: int) -> Fit:
    """Where no sample weighs anything: all answers are alike."""
    return {
        "coefficients": np.zeros((width, outputs)),
        "intercepts": np.zeros(outputs),
        "solution": np.array([0.0, 0.0]),
    }


def _probabilities(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values, whose sum is about 1, cut at 0 and scaled to a sum of 1; alike where all are cut."""
    cut = np.maximum(values, 0)
    total = cut.sum(axis=1, keepdims=True)
    alike = np.full_like(cut, 1 / cut.shape[1])
    found: NDArray[np.float64] = np.divide(cut, total, out=alike, where=total > 0)
    return found
