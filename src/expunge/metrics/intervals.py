"""Intervals: exact ones of proportions, of means over runs, and where one more run would lie.

References:
    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika 26 (1934). Newcombe, "Interval estimation for the difference between
    independent proportions", Statistics in Medicine 17 (1998), method 10. Hahn and Meeker,
    "Statistical Intervals", 1991, section 4.6 (prediction of one further observation).
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from expunge.core.errors import InputError
from expunge.metrics import arrays

Interval: TypeAlias = tuple[float, float]


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Interval of a proportion with at least this coverage, half of the rest on each side.

    >>> [round(end, 4) for end in clopper_pearson(0, 16)]
    [0.0, 0.2059]

    Raises:
        InputError: No trials, or more successes than trials.
    """
    tail = (1 - arrays.share(confidence, "confidence")) / 2
    return lower(successes, trials, 1 - tail), upper(successes, trials, 1 - tail)


def upper(successes: int, trials: int, confidence: float = 0.95) -> float:
    """One-sided: the proportion is below this, but for a chance of 1 − ``confidence``."""
    _check(successes, trials, confidence)
    if successes == trials:
        return 1.0
    return float(special.betaincinv(successes + 1, trials - successes, confidence))


def lower(successes: int, trials: int, confidence: float = 0.95) -> float:
    """One-sided: the proportion is above this, but for a chance of 1 − ``confidence``."""
    _check(successes, trials, confidence)
    return 1 - upper(trials - successes, trials, confidence)


def mean(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Student-t interval of the mean over independent runs, (n,), n ≥ 2."""
    runs = arrays.vector(values, "values", least=2)
    half = student(confidence, len(runs) - 1) * float(runs.std(ddof=1)) / math.sqrt(len(runs))
    return float(runs.mean()) - half, float(runs.mean()) + half


def one_more(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Where one more run of the same kind would lie: m ± t·s·√(1 + 1/n), of (n,), n ≥ 2.

    With retrained models' figures, this is the band in which a truly retrained model is. It is
    wide for few runs, as it has to be, and counts on the figure being near to normal.
    """
    runs = arrays.vector(values, "values", least=2)
    spread = float(runs.std(ddof=1)) * math.sqrt(1 + 1 / len(runs))
    half = student(confidence, len(runs) - 1) * spread
    return float(runs.mean()) - half, float(runs.mean()) + half


def difference(
    hits: tuple[int, int], others: tuple[int, int], confidence: float = 0.95
) -> Interval:
    """Interval of the difference of two independent proportions, each (successes, trials)."""
    (first, first_ends), (second, second_ends) = (
        _wilson(*each, confidence) for each in (hits, others)
    )
    below = math.hypot(first - first_ends[0], second_ends[1] - second)
    above = math.hypot(first_ends[1] - first, second - second_ends[0])
    return first - second - below, first - second + above


def normal(confidence: float) -> float:
    """Half-width, in standard errors, of a two-sided normal interval: 1.96 at 0.95."""
    return float(special.ndtri((1 + arrays.share(confidence, "confidence")) / 2))


def student(confidence: float, freedom: float) -> float:
    """Half-width, in standard errors, of a two-sided Student-t interval."""
    return float(special.stdtrit(freedom, (1 + arrays.share(confidence, "confidence")) / 2))


def _wilson(successes: int, trials: int, confidence: float) -> tuple[float, Interval]:
    _check(successes, trials, confidence)
    z, rate = normal(confidence), successes / trials
    middle = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = (
        z * math.sqrt(rate * (1 - rate) / trials + (z / (2 * trials)) ** 2) / (1 + z * z / trials)
    )
    return rate, (float(np.clip(middle - half, 0, rate)), float(np.clip(middle + half, rate, 1)))


def _check(successes: int, trials: int, confidence: float) -> None:
    arrays.share(confidence, "confidence")
    if trials < 1 or not 0 <= successes <= trials:
        raise InputError(
            f"{successes} successes in {trials} trials. Expected at least one trial, and not more "
            f"successes than trials."
        )
