"""A learner and rows that cost nothing, so that tests of the engine test the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import CorrectionFailed
from expunge.core.types import Column, Guarantee, Kind, Task
from expunge.learners import state
from expunge.learners.protocol import (
    Features,
    Forgot,
    Inputs,
    Predictor,
    Promise,
    Samples,
    Step,
)

_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Tiny:
    """A linear model by gradient steps, in NumPy alone.

    Its bytes depend on all that an exact build must keep: the parent, every sample, their
    visiting order, the seed and the share of the schedule.

    Attributes:
        passes: Over the samples so far, times the slice's share and rounded up.
        rate: Of learning.
        batch: Samples of one step.
        wide: Zeros to append to the state, to make it larger.
    """

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    passes: int = 2
    rate: float = 0.1
    batch: int = 16
    wide: int = 0

    def encode(self, task: Task, features: Features) -> Inputs:
        """As :meth:`expunge.learners.protocol.Learner.encode`."""
        parts = [_encoded(column, features[column.name]) for column in task.features]
        return np.concatenate([*parts, np.ones((len(parts[0]), 1))], axis=1)

    def learn(self, task: Task, parent: bytes | None, samples: Samples, step: Step) -> bytes:
        """As :meth:`expunge.learners.protocol.Learner.learn`."""
        x, y = samples.inputs, _wanted(task, samples.targets)
        weights = np.zeros((x.shape[1], y.shape[1])) if parent is None else _weights(parent)
        for number in range(int(np.ceil(self.passes * step.share))):
            seed = np.uint64((step.seed + number) % (1 << 64))
            order = np.argsort((samples.tokens ^ seed) * _MIX, kind="stable")
            for start in range(0, len(order), self.batch):
                chosen = order[start : start + self.batch]
                error = _outputs(task, x[chosen], weights) - y[chosen]
                weights = weights - self.rate * x[chosen].T @ error / len(chosen)
        return state.dump({"seen": len(samples)}, {"weights": weights, "wide": np.zeros(self.wide)})

    def predictor(self, task: Task, states: Sequence[bytes]) -> Predictor:
        """As :meth:`expunge.learners.protocol.Learner.predictor`."""
        loaded = [_weights(one) for one in states]
        return lambda inputs: np.stack([_outputs(task, inputs, weights) for weights in loaded])


@dataclass(frozen=True, slots=True)
class Nudged:
    """:class:`Tiny`, but that it forgets by one more pass over those that stay. Promises nothing.

    Attributes:
        passes: As :class:`Tiny` has them.
        fails: Whether the method cannot do it.
    """

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)
    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    method: ClassVar[str] = "nudge"
    canonical: ClassVar[bool] = True

    passes: int = 2
    fails: bool = False

    def encode(self, task: Task, features: Features) -> Inputs:
        """As :meth:`expunge.learners.protocol.Learner.encode`."""
        return Tiny().encode(task, features)

    def learn(self, task: Task, parent: bytes | None, samples: Samples, step: Step) -> bytes:
        """As :meth:`expunge.learners.protocol.Learner.learn`."""
        return Tiny(self.passes).learn(task, parent, samples, step)

    def predictor(self, task: Task, states: Sequence[bytes]) -> Predictor:
        """As :meth:`expunge.learners.protocol.Learner.predictor`."""
        return Tiny().predictor(task, states)

    def forget(self, task: Task, state: bytes, stay: Samples, gone: Samples) -> Forgot:
        """As :meth:`expunge.learners.protocol.Forgetting.forget`."""
        if self.fails:
            raise CorrectionFailed("The method was told to fail.")
        return Forgot(Tiny(1).learn(task, state, stay, Step(0, 1.0)), {"gone": len(gone)})

    def promise(self, task: Task, releases: int) -> Promise:
        """As :meth:`expunge.learners.protocol.Forgetting.promise`."""
        return Promise(Guarantee.EMPIRICAL, "Nothing in particular.")


def people(count: int, *, seed: int = 0, first: int = 0, each: int = 4) -> dict[str, NDArray[Any]]:
    """Rows about people: ``id``, ``who``, numbers ``x0`` to ``x2``, ``job``, and a class ``y``.

    Args:
        count: Of rows.
        seed: Of their content.
        first: Number of the first id, "s<number>".
        each: How many rows in a row are about the same person, "p<number>".
    """
    rng = np.random.default_rng(seed)
    numbers = np.arange(first, first + count)
    x = rng.normal(size=(count, 3))
    return {
        "id": np.array([f"s{n}" for n in numbers]),
        "who": np.array([f"p{n // each}" for n in numbers]),
        **{f"x{i}": x[:, i] for i in range(3)},
        "job": rng.choice(["cook", "nurse", "smith"], count),
        "y": np.where(x[:, 0] + 0.1 * rng.normal(size=count) > 0, "yes", "no"),
    }


def _encoded(column: Column, cells: NDArray[Any]) -> NDArray[np.float64]:
    if column.kind is Kind.CATEGORICAL:
        return np.asarray(cells[:, None] == np.arange(len(column.categories)), np.float64)
    if column.kind is Kind.TEXT:
        return np.array([[float(len(text))] for text in cells]).reshape(len(cells), 1)
    numbers = np.nan_to_num(cells.astype(np.float64).reshape(len(cells), -1))
    return np.asarray(numbers / (1 + np.abs(numbers)))


def _wanted(task: Task, targets: NDArray[Any]) -> NDArray[np.float64]:
    return np.eye(task.outputs)[targets] if task.classes else targets


def _weights(stored: bytes) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = state.parse(stored)[1]["weights"]
    return weights


def _outputs(
    task: Task, x: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    raw = x @ weights
    if not task.classes:
        return raw
    odds = np.exp(raw - raw.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
