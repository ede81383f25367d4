"""Convex models whose weights are the exact minimiser, correctly rounded.

Logistic regression, support vector machines, Poisson and robust regression on integer features.
The state is a function of the samples alone (``expunge.learners.convex.rounded``), not of how it was
found: so forgetting goes on from the old weights, and gives the bytes of a build from nothing.

References:
    Boyd and Vandenberghe, "Convex Optimization", 2004, section 9.1.2 (distance to the minimiser).
    Rifkin and Klautau, "In Defense of One-Vs-All Classification", JMLR 2004,
    https://jmlr.org/papers/v5/rifkin04a.html (several classes).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import FormatUnsupported, RecipeInvalid
from expunge.core.types import Task
from expunge.learners import features as maps
from expunge.learners.convex import problems
from expunge.learners.convex.losses import Floats
from expunge.learners.convex.objective import objective
from expunge.learners.convex.rounded import rounded_minimiser, weights_of
from expunge.learners.features.columns import Columns
from expunge.learners.features.protocol import FeatureMap
from expunge.learners.features.rows import Rows, rows
from expunge.learners.protocol import Features, Predictor, Samples, Step
from expunge.learners.state import dump, parse

_FORMAT: Final = 1


@dataclass(frozen=True)
class Convex:
    """A penalised linear model: the rounded minimiser of Σ wᵢ·loss(xᵢ·v, yᵢ) + (λ/2)‖v‖².

    Costs a few passes over the features, and width³ for each factor of a Hessian. How weights
    round follows from a bound on the distance to the exact minimiser. All features are in
    memory, 12 bytes each. Fails with :class:`GuaranteeUnproved` where the penalty is so small that
    no distance can be proved.

    Attributes:
        loss: ``logistic`` or ``squared-hinge`` (several classes one against the rest),
            ``multinomial``, ``huber`` or ``poisson`` (numbers, each target by itself).
        penalty: λ > 0, on the sum of losses and on all weights, the intercept's too. Features
            count as their map scales them.
        grid: To which weights are rounded, nearly: the next smaller power of two in units of
            the map's integers. Unit: weight.
        knee: Of ``huber``: from where on errors count linearly. Unit: target.
        features: What is made of the cells: a feature map, its name, or JSON that says it.

    Raises:
        RecipeInvalid: A field is out of its range; or, when it learns, the loss does not fit the target.
    """

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scipy")
    warm: ClassVar[Literal[True]] = True

    loss: str = "logistic"
    penalty: float = 1.0
    grid: float = 2.0**-12
    knee: float = 1.0
    features: FeatureMap | str | Mapping[str, Any] = field(default_factory=Columns)

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", maps.of(self.features))
        problems.check_known(self.loss)
        for name in ("penalty", "grid", "knee"):
            if not 0 < getattr(self, name) < math.inf:
                raise RecipeInvalid(f"`{name}` must be above 0, got {getattr(self, name)}.")

    @property
    def map(self) -> FeatureMap:
        """The feature map."""
        return self.features  # type: ignore[return-value]  # made so above

    def check(self, task: Task) -> None:
        """See that the loss fits the targets, and that the map takes the columns."""
        problems.check_fits(self.loss, task)
        self.map.width(task.features)

    def encode(self, task: Task, features: Features) -> Rows:
        """Rows that become integers when they are learnt from."""
        self.check(task)
        return rows(self.map, task.features, features)

    def learn(self, task: Task, parent: bytes | None, samples: Samples, step: Step) -> bytes:
        """The rounded minimiser over ``samples``. A parent only makes it faster."""
        x, exponent = self._integers(task, samples.inputs), self._exponent(task)
        starts = _read(parent) if parent is not None else {}
        scale = self.map.scale(task.features)
        found = {}
        every = problems.each(self.loss, self.knee, task, samples.targets)
        for number, (loss, targets) in enumerate(every):
            whole = objective(
                loss, x, targets, penalty=self.penalty / scale**2, weights=samples.weights
            )
            name = f"cells.{number:05d}"
            start = weights_of(starts[name], exponent) if name in starts else None
            found[name] = rounded_minimiser(whole, exponent, number, start)
        return dump({"format": _FORMAT}, found)

    def predictor(self, task: Task, states: Sequence[bytes]) -> Predictor:
        """Probabilities per declared class, or values per target, of each state.

        Those of ``squared-hinge`` and of several classes one against the rest are squashed and
        scaled to a sum of 1, and mean no more than their order.
        """
        exponent = self._exponent(task)
        models = [self._weights(_read(state), exponent) for state in states]

        def predict(inputs: Rows) -> NDArray[np.float64]:
            found = np.empty((len(models), len(inputs), task.outputs))
            for span, x in inputs.blocks():
                exact = self._with_ones(task, x)
                for number, weights in enumerate(models):
                    found[number, span] = problems.answers(self.loss, exact @ weights)
            return found

        return predict

    def _exponent(self, task: Task) -> int:
        return math.frexp(self.grid * self.map.scale(task.features))[1] - 1

    def _integers(self, task: Task, inputs: Rows) -> Floats:
        parts = [self._with_ones(task, x) for _, x in inputs.blocks()]
        return np.concatenate(parts)

    def _with_ones(self, task: Task, x: NDArray[np.int16]) -> Floats:
        """Features, and behind them a column that is 1 as the map scales it, nearly."""
        one = max(round(1 / self.map.scale(task.features)), 1)
        return np.concatenate([x, np.full((len(x), 1), one)], axis=1, dtype=np.float64)

    def _weights(self, cells: Mapping[str, NDArray[Any]], exponent: int) -> Floats:
        found = [weights_of(cells[name], exponent) for name in sorted(cells)]
        return np.concatenate([one.reshape(len(one), -1) for one in found], axis=1)


def _read(state: bytes) -> dict[str, NDArray[Any]]:
    meta, arrays = parse(state)
    if meta["format"] != _FORMAT:
        raise FormatUnsupported("A checkpoint of a convex model", meta["format"], _FORMAT)
    return arrays
