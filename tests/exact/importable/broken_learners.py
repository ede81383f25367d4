"""A sound learner of ten lines, and the ways to break it that ``check_exact`` must find.

It is a linear regression by gradient descent with momentum: small, with a state, and with an
order in which samples are visited. Each class below breaks one rule of DESIGN.md 3.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from expunge.core import rng
from expunge.learners import state


@dataclass(frozen=True)
class Sound:
    """Canonical: a function of task, parent's bytes, samples so far and step."""

    rate: float = 0.05

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    def encode(self, task, features):
        rows = [np.asarray(features[column.name], np.float64) for column in task.features]
        return np.stack(rows, axis=1)

    def learn(self, task, parent, samples, step):
        weights, speed = self.load(parent, samples.inputs.shape[1])
        for row in rng.order(samples.tokens, step.seed):
            error = samples.inputs[row] @ weights - float(np.ravel(samples.targets[row])[0])
            speed = 0.9 * speed - self.rate * error * samples.inputs[row]
            weights = weights + 0.1 * speed
        return self.dump(weights, speed, parent)

    def load(self, parent, width):
        if parent is None:
            return np.zeros(width), np.zeros(width)
        _, arrays = state.parse(parent)
        return arrays["weights"], arrays["speed"]

    def dump(self, weights, speed, parent):
        return state.dump({}, {"weights": weights, "speed": speed})

    def predictor(self, task, states):
        all_weights = [self.load(one, None)[0] for one in states]
        return lambda inputs: np.stack([(inputs @ w)[:, None] for w in all_weights])


@dataclass(frozen=True)
class ScalerOutside(Sound):
    """A scaler fitted on all rows that are there, outside the checkpoint."""

    def encode(self, task, features):
        rows = super().encode(task, features)
        return (rows - rows.mean(axis=0)) / (rows.std(axis=0) + 1e-9)


_SPEED: dict[str, Any] = {}


@dataclass(frozen=True)
class MomentumDropped(Sound):
    """The optimiser's momentum lives beside the state, not in it."""

    def load(self, parent, width):
        if parent is None:
            return super().load(parent, width)
        weights = state.parse(parent)[1]["weights"]
        return weights, _SPEED.get("last", np.zeros(len(weights)))

    def dump(self, weights, speed, parent):
        _SPEED["last"] = speed
        return state.dump({}, {"weights": weights})


_GENERATOR = np.random.default_rng(0)


@dataclass(frozen=True)
class RunningGenerator(Sound):
    """Draws from a generator of the process, which earlier draws have moved on."""

    def learn(self, task, parent, samples, step):
        noise = _GENERATOR.normal(size=samples.inputs.shape[1])
        weights, speed = self.load(super().learn(task, parent, samples, step), None)
        return self.dump(weights + 0.01 * noise, speed, parent)


@dataclass(frozen=True)
class CountsAhead(Sound):
    """The learning rate depends on how many samples there will be in later slices."""

    def encode(self, task, features):
        rows = super().encode(task, features)
        return np.column_stack([rows, np.full(len(rows), math.log1p(len(rows)))])


_CACHE: dict[bytes, Any] = {}


@dataclass(frozen=True)
class ParentInMemory(Sound):
    """Goes on from what it kept in memory, which is finer than the bytes that it wrote."""

    def load(self, parent, width):
        if parent in _CACHE:
            return _CACHE[parent]
        weights, speed = super().load(parent, width)
        return weights.astype(np.float64), speed.astype(np.float64)

    def dump(self, weights, speed, parent):
        written = super().dump(weights.astype(np.float32), speed.astype(np.float32), parent)
        _CACHE[written] = weights, speed
        return written


@dataclass(frozen=True)
class OrderOfASet(Sound):
    """Columns in the order of a set of strings, which the process's hash seed decides."""

    def encode(self, task, features):
        names = {f"{column.name}-{copy}" for column in task.features for copy in range(8)}
        rows = [np.asarray(features[name.rpartition("-")[0]], np.float64) for name in names]
        return np.stack(rows, axis=1)


@dataclass(frozen=True)
class ByProcess(Sound):
    """Which process computes it shapes what comes out, as an uninitialised buffer would."""

    def dump(self, weights, speed, parent):
        return super().dump(weights + 1e-12 * os.getpid(), speed, parent)


@dataclass(frozen=True)
class Mean(Sound):
    """The mean of the targets: a sum that can be taken back, as whole numbers are."""

    def learn(self, task, parent, samples, step):
        return self.written(self.total(samples), len(samples))

    def change(self, task, before, gone, come):
        arrays = state.parse(before)[1]
        total, count = arrays["total"], int(arrays["count"][0])
        for samples, sign in ((gone, -1), (come, 1)):
            if samples is not None:
                total, count = total + sign * self.total(samples), count + sign * len(samples)
        return self.written(total, count)

    def total(self, samples):
        return np.rint(np.ravel(samples.targets) * 1000).astype(np.int64).sum(keepdims=True)

    def written(self, total, count):
        return state.dump({}, {"total": total, "count": np.array([count])})

    def predictor(self, task, states):
        read = [state.parse(one)[1] for one in states]
        means = [float(one["total"][0]) / max(int(one["count"][0]), 1) for one in read]
        return lambda inputs: np.stack([np.full((len(inputs), 1), mean) for mean in means])


@dataclass(frozen=True)
class FloatSums(Mean):
    """Sums in floating point, which subtracting does not bring back."""

    def total(self, samples):
        return np.ravel(samples.targets).astype(np.float64).sum(keepdims=True)


@dataclass(frozen=True)
class KeepsTheTarget(Mean):
    """Subtracting takes a sample out of the count, and leaves what it said."""

    def change(self, task, before, gone, come):
        arrays = state.parse(before)[1]
        return self.written(arrays["total"], int(arrays["count"][0]) - len(gone or ()))


@dataclass(frozen=True)
class CountsWhoLeft(Mean):
    """The state tells how many were forgotten."""

    def change(self, task, before, gone, come):
        arrays = state.parse(super().change(task, before, gone, come))[1]
        return state.dump({}, arrays | {"left": np.array([len(gone or ())])})


@dataclass(frozen=True)
class WarmAndSticky(Sound):
    """It claims that a parent only makes it faster, and keeps something of it."""

    warm: ClassVar[bool] = True


BROKEN: Mapping[str, type[Sound]] = {
    kind.__name__: kind
    for kind in (
        ScalerOutside,
        MomentumDropped,
        RunningGenerator,
        CountsAhead,
        ParentInMemory,
        OrderOfASet,
        ByProcess,
        FloatSums,
        KeepsTheTarget,
        CountsWhoLeft,
    )
}
