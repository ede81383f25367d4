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
    )
}
