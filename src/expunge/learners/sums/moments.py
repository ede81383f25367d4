"""First and second moments of features and targets: the sums behind linear models.

With a column of ones behind features x and targets y, the sums are xᵀWx and xᵀWy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from expunge.core.types import Task
from expunge.learners.features.protocol import FeatureMap
from expunge.learners.features.rows import Rows
from expunge.learners.protocol import Samples
from expunge.learners.sums import integers, products
from expunge.learners.sums.learning import Sums


def zeros(task: Task, mapped: FeatureMap) -> Sums:
    """Moments of no samples.

    ``square`` is the panels of Σ w·x·xᵀ, and ``cross`` (width + 1, outputs + 1) the sum of
    w·(x, 1)·(y, 1)ᵀ: its last row and column are the sums of y, of x and of the weights.
    """
    width = mapped.width(task.features)
    return {
        "count": np.zeros(2, np.int64),
        "square": np.zeros(products.panelled(width), np.int64),
        "cross": np.zeros((width + 1, task.outputs + 1), np.int64),
    }


def add(task: Task, sums: Sums, samples: Samples, bits: int, sign: int) -> None:
    """Add ``sign`` times the moments of ``samples``, in place. Targets have so many bits.

    Raises:
        RecipeInvalid: There are more samples than the sums have room for.
        ViewInvalid: A weight is too large.
    """
    rows: Rows = samples.inputs
    top = rows.map.top(rows.columns)
    heaviest = 1 if samples.weights is None else integers.WEIGHT_TOP
    highest = 1 if task.classes else (1 << bits) - 1
    products.check_capacity(int(sums["count"][0]), heaviest * top * max(top, highest))
    for span, x in rows.blocks():
        w = integers.weights(None if samples.weights is None else samples.weights[span])
        y = integers.targets(task, samples.targets[span], bits)
        products.add_square(sums["square"], x, w, heaviest * top * top, sign)
        right = _weighted(_with_ones(y), w)
        products.add_cross(sums["cross"], _with_ones(x), right, heaviest * top * highest, sign)


def totals(sums: Sums) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Weight of all samples, and sums of features (width,) and of targets (outputs,).

    Weights, where there are any, count in units of 1/256 here and in all sums.
    """
    cross = sums["cross"].astype(np.float64)
    return float(cross[-1, -1]), cross[:-1, -1], cross[-1, :-1]


def _with_ones(values: NDArray[np.integer]) -> NDArray[np.integer]:
    return np.concatenate([values, np.ones((len(values), 1), values.dtype)], axis=1)


def _weighted(
    values: NDArray[np.integer], weights: NDArray[np.int64] | None
) -> NDArray[np.integer]:
    return values if weights is None else values * weights[:, None]


def centre(
    square: NDArray[np.float64], sums: NDArray[np.float64], shares: NDArray[np.float64]
) -> None:
    """Take Σₖ shareₖ · sumₖ · sumₖᵀ out of the lower triangle of ``square``, in place.

    Args:
        square: (width, width) in Fortran's order.
        sums: (width, k).
        shares: (k,).
    """
    weighed = sums * shares
    for start in range(0, len(square), products.PANEL):
        stop = min(start + products.PANEL, len(square))
        # Element by element and not by BLAS, whose order of adding may depend on the alignment.
        for k in range(sums.shape[1]):
            columns = square[start:, start:stop].T  # one after the other in memory
            columns -= np.multiply.outer(sums[start:stop, k], weighed[start:, k])
