"""What learners that are made of sums share: their state, and how samples come and go.

A state holds the sums (integers) and what was solved from them (float64). A sample comes by adding
its terms and goes by subtracting them, whatever came and went before.

References:
    Cao and Yang, "Towards Making Systems Forget with Machine Unlearning", IEEE S&P 2015,
    doi:10.1109/SP.2015.35, section 4 (summation form; theirs is not exact in floating point).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import FormatUnsupported
from expunge.core.types import Task
from expunge.learners.protocol import Samples
from expunge.learners.state import dump, parse

Sums: TypeAlias = dict[str, NDArray[np.int64]]
"""Sums by name. ``count`` is (2,): the samples in them, and those that came with a weight."""

Fit: TypeAlias = dict[str, NDArray[np.float64]]
"""What was solved from sums, by name."""

_FORMAT: Final = 1
_INT32: Final = 1 << 31
_SUM, _FIT = "sum.", "fit."


class Summed(Protocol):
    """A learner that is made of sums."""

    def zeros(self, task: Task) -> Sums:
        """Sums of no samples."""
        ...

    def add(self, task: Task, sums: Sums, samples: Samples, sign: int) -> None:
        """Add ``sign`` times the terms of ``samples`` to ``sums``, in place."""
        ...

    def solve(self, task: Task, sums: Sums) -> Fit:
        """What is predicted with: a pure function of the sums."""
        ...


def learn(learner: Summed, task: Task, parent: bytes | None, samples: Samples) -> bytes:
    """The state after ``samples``, of which the first are in ``parent``."""
    sums = learner.zeros(task) if parent is None else sums_of(parent)
    fresh = samples.behind(int(sums["count"][0])) if parent is not None else samples
    _move(learner, task, sums, fresh, 1)
    return _written(sums, learner.solve(task, sums))


def change(
    learner: Summed, task: Task, state: bytes, gone: Samples | None, come: Samples | None
) -> bytes:
    """The state without the samples ``gone``, which are in it, and with those that ``come``.

    Costs the samples that move and one solution, whatever the number of those that stay.
    """
    sums = sums_of(state)
    for samples, sign in ((gone, -1), (come, 1)):
        if samples is not None:
            _move(learner, task, sums, samples, sign)
    return _written(sums, learner.solve(task, sums))


def sums_of(state: bytes) -> Sums:
    """The sums in a state; they may be written to."""
    found = _read(state).items()
    return {name[len(_SUM) :]: a.astype(np.int64) for name, a in found if name.startswith(_SUM)}


def fit_of(state: bytes) -> Fit:
    """What a state predicts with."""
    return {name[len(_FIT) :]: a for name, a in _read(state).items() if name.startswith(_FIT)}


def _move(learner: Summed, task: Task, sums: Sums, samples: Samples, sign: int) -> None:
    weighted = 0 if samples.weights is None else len(samples)
    sums["count"] += sign * np.array([len(samples), weighted])
    learner.add(task, sums, samples, sign)


def _read(state: bytes) -> Mapping[str, NDArray[Any]]:
    meta, arrays = parse(state)
    if meta["format"] != _FORMAT:
        raise FormatUnsupported("A checkpoint of sums", meta["format"], _FORMAT)
    return arrays


def _written(sums: Sums, fit: Fit) -> bytes:
    named: dict[str, NDArray[Any]] = {_SUM + name: _narrow(a) for name, a in sums.items()}
    return dump({"format": _FORMAT}, named | {_FIT + name: array for name, array in fit.items()})


def _narrow(sums: NDArray[np.int64]) -> NDArray[np.integer[Any]]:
    """As int32 where all fit: half the bytes to write, and a pure function of the sums too."""
    fits = sums.min(initial=0) >= -_INT32 and sums.max(initial=0) < _INT32
    return sums.astype(np.int32) if fits else sums
