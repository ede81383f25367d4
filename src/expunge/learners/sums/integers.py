"""Targets and weights as integers: sums of integers are exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import RecipeInvalid, ViewInvalid
from expunge.core.types import Column, Task

WEIGHT_UNIT: Final = 1 / 256
WEIGHT_TOP: Final = (1 << 16) - 1


@dataclass(frozen=True, slots=True)
class Scale:
    """How a target's declared range lies on integers: value = low + integer · unit."""

    low: float
    unit: float

    def integers(self, values: NDArray[np.float64], top: int) -> NDArray[np.int64]:
        """The nearest integers from 0 to ``top``; what is out of range becomes its end."""
        return np.clip(np.rint((values - self.low) / self.unit), 0, top).astype(np.int64)

    def values(self, integers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Back to what people declared."""
        return self.low + integers * self.unit


def scale(column: Column, bits: int) -> Scale:
    """For a numeric target of so many bits.

    Raises:
        RecipeInvalid: It has no declared range.
    """
    if column.low is None or column.high is None:
        raise RecipeInvalid(
            f"Target {column.name!r} has no declared range, and sums are exact over integers "
            f"only. Declare `low` and `high` of it in the schema."
        )
    width = column.high - column.low
    return Scale(column.low, width / ((1 << bits) - 1) if width > 0 else 1.0)


def targets(task: Task, values: NDArray[Any], bits: int) -> NDArray[np.int64]:
    """Integers (n, outputs): one column per class, or per target on its declared range."""
    if task.classes:
        members: NDArray[np.int64] = np.equal.outer(values, np.arange(task.outputs)).astype(
            np.int64
        )
        return members
    top = (1 << bits) - 1
    columns = [
        scale(column, bits).integers(values[:, index], top)
        for index, column in enumerate(task.targets)
    ]
    return np.stack(columns, axis=1)


def weights(values: NDArray[np.float64] | None) -> NDArray[np.int64] | None:
    """Weights in units of 1/256, (n,); None where all are the same.

    Raises:
        ViewInvalid: One is too heavy.
    """
    if values is None:
        return None
    whole = np.rint(values / WEIGHT_UNIT)
    if heavy := int((whole > WEIGHT_TOP).sum()):
        raise ViewInvalid(
            f"{heavy:,} rows weigh more than {WEIGHT_TOP * WEIGHT_UNIT:.0f}. Weights are counted "
            f"in units of 1/256: divide all of them by one number."
        )
    return whole.astype(np.int64)


def unit(count: NDArray[np.int64]) -> float:
    """What one unit of a sum is worth: weights are counted in 1/256.

    Args:
        count: Of the samples in the sum, and of those that came with a weight.
    """
    return WEIGHT_UNIT if count[1] else 1.0
