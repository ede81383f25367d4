"""Correlations, as the harness needs them: undefined is None, never a number that is made up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]


def pearson(a: Numbers, b: Numbers) -> float | None:
    """Linear correlation of (n,) and (n,); None where either is constant or not finite.

    >>> pearson(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0]))
    0.98198...
    >>> pearson(np.array([1.0, 1.0]), np.array([1.0, 2.0])) is None
    True
    """
    if len(a) < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    # Scaled before they are squared: neither overflow nor underflow then matters.
    a, b = (_scaled(each - each.mean()) for each in (a, b))
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.clip(a @ b / size, -1, 1)) if size > 0 else None


def _scaled(a: Numbers) -> Numbers:
    largest = np.abs(a).max()
    return a / largest if largest > 0 else a


def ranks(a: Numbers) -> Numbers:
    """Ranks from 1, ties sharing their mean: (n,).

    >>> ranks(np.array([0.5, 0.1, 0.5])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, places, counts = np.unique(a, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: Numbers = ends - (counts - 1) / 2
    return means[places]


def spearman(a: Numbers, b: Numbers) -> float | None:
    """Correlation of the ranks; None as for :func:`pearson`."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    return pearson(ranks(a), ranks(b))


def mean_over_outputs(
    correlate: Callable[[Numbers, Numbers], float | None], a: Numbers, b: Numbers
) -> float | None:
    """Mean over outputs of the correlation over groups, of (groups, outputs) twice.

    Outputs for which it is undefined are left out; None where it is for all.
    """
    found = [correlate(a[:, i], b[:, i]) for i in range(a.shape[1])]
    known = [each for each in found if each is not None]
    return float(np.mean(known)) if known else None
