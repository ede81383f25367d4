"""The state of a classifier whose samples so far are all of one class: that class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from expunge.core.types import Task
from expunge.learners.protocol import Inputs, Samples


def only_class(task: Task, samples: Samples) -> int | None:
    """The code of the one class that the samples have; None for several, and for values."""
    if not task.classes or (samples.targets != samples.targets[0]).any():
        return None
    return int(samples.targets[0])


def always(task: Task, code: int, inputs: Inputs) -> NDArray[np.float64]:
    """Probability 1 for one class, for each row; (n, classes)."""
    probabilities = np.zeros((len(inputs), task.outputs))
    probabilities[:, code] = 1
    return probabilities
