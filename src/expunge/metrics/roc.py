"""How well scores tell two groups of rows apart: ROC, AUC both ways, TPR at a low FPR.

Scores are higher for rows that look more like members. ``positive`` rows are those that are
suspected (forgotten ones, members), ``negative`` ones were never seen. A figure below chance is
as much of a leak as one above: over-forgotten rows stand out too. So a one-sided AUC is never a
verdict; :func:`two_sided` is.

Intervals take rows as independent. Rows of one person are not: give one row for each then.

References:
    Newcombe, "Confidence intervals for an effect size measure based on the Mann–Whitney
    statistic. Part 2", Statistics in Medicine 25 (2006), method 5 (interval of the AUC; holds at 0
    and 1 too). Carlini et al., arXiv:2112.03570, section III (why TPR at a low FPR).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from expunge.core.errors import InputError
from expunge.metrics import arrays, intervals
from expunge.metrics.arrays import Numbers
from expunge.metrics.intervals import Interval


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """Rates at all thresholds, from (0, 0) to (1, 1).

    Attributes:
        fpr: Share of the negatives at or above each threshold, rising: (k,).
        tpr: Share of the positives: (k,).
    """

    fpr: Numbers
    tpr: Numbers


@dataclass(frozen=True, slots=True)
class Rate:
    """A true-positive rate.

    Attributes:
        value: successes / trials.
        low: Of its Clopper–Pearson interval, for the threshold as it fell.
        high: The same.
        successes: Positives above the threshold.
        trials: All positives.
        allowed: Negatives that may be above the threshold: ⌊fpr · negatives⌋. At 0 there are too
            few negatives for this rate, and the figure is the TPR at no false positives.
    """

    value: float
    low: float
    high: float
    successes: int
    trials: int
    allowed: int


def roc(positive: ArrayLike, negative: ArrayLike) -> Roc:
    """ROC curve of scores (p,) and (n,); tied scores are one point."""
    above, below = _groups(positive, negative)
    thresholds = np.unique(np.concatenate([above, below]))[::-1]
    return Roc(_shares(below, thresholds), _shares(above, thresholds))


def auc(positive: ArrayLike, negative: ArrayLike) -> float:
    """Chance that a positive scores above a negative, ties counting half; O(n log n).

    >>> auc([2.0, 1.0], [1.0, 0.0])
    0.875
    """
    above, below = _groups(positive, negative)
    below.sort()
    wins = np.searchsorted(below, above, "left") + np.searchsorted(below, above, "right")
    return float(wins.sum() / (2 * len(above) * len(below)))


def two_sided(area: float) -> float:
    """max(a, 1 − a): 0.5 cannot be told apart, 1 perfectly, whichever group scores higher."""
    return max(area, 1 - area)


def null_standard_error(positives: int, negatives: int) -> float:
    """Of the AUC between groups of one distribution: √((p + n + 1) / (12 p n)).

    >>> [round(null_standard_error(n, n), 3) for n in (64, 128, 512)]
    [0.051, 0.036, 0.018]
    """
    return math.sqrt((positives + negatives + 1) / (12 * positives * negatives))


def auc_interval(area: float, positives: int, negatives: int, confidence: float = 0.95) -> Interval:
    """Interval of an AUC: those areas that are within z standard errors *of their own* of it.

    At 0.5 the standard error is that of :func:`null_standard_error`. Ties only make it wider
    than it has to be.
    """
    if not 0 <= area <= 1:
        raise InputError(f"An AUC must be in [0, 1], got {area}.")
    z = intervals.normal(confidence)

    def beyond(candidate: float) -> float:
        return abs(candidate - area) - z * math.sqrt(_variance(candidate, positives, negatives))

    # At 0 and 1 the standard error vanishes, so the search begins just beside them.
    inside = min(max(area, 1e-9), 1 - 1e-9)
    low = 0.0 if area == 0 else _edge(beyond, inside, 0.0)
    high = 1.0 if area == 1 else _edge(beyond, inside, 1.0)
    return low, high


def tpr_at(positive: ArrayLike, negative: ArrayLike, fpr: float, confidence: float = 0.95) -> Rate:
    """Share of positives above the lowest threshold that at most ``fpr`` of negatives exceed.

    Needs 1 / fpr negatives to mean what it says; see ``Rate.allowed``.
    """
    above, below = _groups(positive, negative)
    # A little more than the product, so that 0.1 · 30 allows 3.
    allowed = math.floor(arrays.share(fpr, "fpr") * len(below) + 1e-9)
    threshold = np.partition(below, len(below) - 1 - allowed)[len(below) - 1 - allowed]
    hits = int((above > threshold).sum())
    low, high = intervals.clopper_pearson(hits, len(above), confidence)
    return Rate(hits / len(above), low, high, hits, len(above), allowed)


def tpr_both_ways(
    positive: ArrayLike, negative: ArrayLike, fpr: float, confidence: float = 0.95
) -> tuple[Rate, Rate]:
    """:func:`tpr_at` of the scores and of their negatives: under- and over-forgetting."""
    above, below = _groups(positive, negative)
    return tpr_at(above, below, fpr, confidence), tpr_at(-above, -below, fpr, confidence)


def tpr_null(positives: int, negatives: int, fpr: float, confidence: float = 0.95) -> Interval:
    """Where :func:`tpr_at` lies for two groups of one distribution, threshold's chance included.

    Exact without ties: the positives above the (allowed + 1)-th highest negative follow a
    negative hypergeometric (here: beta-binomial) distribution.
    """
    allowed = math.floor(arrays.share(fpr, "fpr") * negatives + 1e-9)
    law = stats.betabinom(positives, allowed + 1, negatives - allowed)
    tail = (1 - arrays.share(confidence, "confidence")) / 2
    return float(law.ppf(tail)) / positives, float(law.ppf(1 - tail)) / positives


def _groups(positive: ArrayLike, negative: ArrayLike) -> tuple[Numbers, Numbers]:
    return arrays.vector(positive, "positive"), arrays.vector(negative, "negative").copy()


def _shares(scores: Numbers, thresholds: Numbers) -> Numbers:
    ranked = np.sort(scores)
    passed = len(ranked) - np.searchsorted(ranked, thresholds, "left")
    shares: Numbers = np.concatenate([[0.0], passed / len(ranked)])
    return shares


def _variance(area: float, positives: int, negatives: int) -> float:
    more = (positives + negatives) / 2 - 1
    spread = 1 + more * (1 - area) / (2 - area) + more * area / (1 + area)
    return area * (1 - area) * spread / (positives * negatives)


def _edge(beyond: Callable[[float], float], inside: float, outside: float) -> float:
    """Where ``beyond`` crosses zero, between a candidate that is near enough and one that is not."""
    return float(optimize.brentq(beyond, inside, outside, xtol=1e-12))
