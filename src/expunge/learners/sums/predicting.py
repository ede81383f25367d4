"""Predict with what was solved from sums, block by block of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from expunge.core.types import Task
from expunge.learners.features.rows import Rows
from expunge.learners.protocol import Predictor
from expunge.learners.sums import learning
from expunge.learners.sums.learning import Fit

Answer: TypeAlias = Callable[[Task, Fit, NDArray[np.float64]], NDArray[np.float64]]
"""Features (n, width), as integers in float64, to outputs (n, outputs)."""


def predictor(task: Task, states: Sequence[bytes], answer: Answer) -> Predictor:
    """As :meth:`expunge.learners.protocol.Learner.predictor`."""
    fits = [learning.fit_of(state) for state in states]

    def predict(inputs: Rows) -> NDArray[np.float64]:
        found = np.empty((len(fits), len(inputs), task.outputs))
        for span, x in inputs.blocks():
            exact = x.astype(np.float64)
            for number, fit in enumerate(fits):
                found[number, span] = answer(task, fit, exact)
        return found

    return predict


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (n, classes) from their logarithms up to a constant; -inf is 0."""
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return found


def log_linear(task: Task, fit: Fit, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities whose logarithms are linear in the features, up to a constant."""
    return softmax(x @ fit["coefficients"] + fit["intercepts"])
