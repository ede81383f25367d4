"""Attacks on models that tell a class and nothing else: the gap, and how far the edge is.

References:
    Choquette-Choo, Tramèr, Carlini and Papernot, "Label-Only Membership Inference Attacks", ICML
    2021, arXiv:2007.14321, sections 3.1 (gap attack) and 3.3 (robustness to noise in place of the
    distance to the boundary).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from expunge.core import rng
from expunge.core.errors import InputError
from expunge.metrics import arrays, chance, intervals
from expunge.metrics.arrays import Numbers

Predict: TypeAlias = Callable[[NDArray[np.float64]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Gap:
    """Accuracy on suspected rows minus accuracy on unseen ones.

    Attributes:
        value: In [−1, 1]; 0 is ideal, and below it is over-forgetting.
        low: Of its interval.
        high: The same.
    """

    value: float
    low: float
    high: float

    @property
    def accuracy(self) -> float:
        """Of the gap attack, which calls every row a member that is predicted rightly."""
        return 0.5 + self.value / 2


def gap(suspected: ArrayLike, unseen: ArrayLike, confidence: float = 0.95) -> Gap:
    """From hits (True or 1) and misses of rows, (n,) and (m,); Newcombe's interval."""
    first, second = _hits(suspected, "suspected"), _hits(unseen, "unseen")
    value = first[0] / first[1] - second[0] / second[1]
    return Gap(value, *intervals.difference(first, second, confidence))


def robustness(
    predict: Predict,
    rows: ArrayLike,
    labels: ArrayLike,
    scales: Sequence[float],
    *,
    repeats: int = 25,
    key: int = 0,
) -> Numbers:
    """Share of noisy copies that keep their true class, (n,), in [0, 1]; higher is more like a member.

    Stands in for the distance to the decision boundary, which members are farther from. The
    noise of a copy depends on the key alone, so all rows and all models see the same.

    Args:
        predict: Classes (n,) of rows (n, features).
        rows: (n, features), of comparable units: noise is added to each feature alike.
        labels: True classes, as ``predict`` tells them, (n,).
        scales: Standard deviations of the noise, in the features' unit.
        repeats: Copies for each scale.
        key: Of the noise.
    """
    given = arrays.population(rows, "rows")
    truth = np.asarray(labels)
    if truth.shape != (len(given),) or not scales or repeats < 1 or min(scales) <= 0:
        raise InputError(
            f"Labels of shape {truth.shape}, scales {list(scales)}, {repeats} repeats. Expected a "
            f"label for each of the {len(given)} rows, positive scales, and a repeat at least."
        )
    kept = np.zeros(len(given))
    for number in range(repeats):
        noise = chance.normal((given.shape[1],), rng.seed("label-only", key, number))
        for scale in scales:
            kept += np.asarray(predict(given + scale * noise)) == truth
    return kept / (repeats * len(scales))


def _hits(values: ArrayLike, name: str) -> tuple[int, int]:
    found = arrays.vector(np.asarray(values, dtype=np.float64), name)
    if not np.isin(found, (0.0, 1.0)).all():
        raise InputError(f"`{name}` holds something other than hits (1) and misses (0).")
    return int(found.sum()), len(found)
