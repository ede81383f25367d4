"""Variances of many rows from few models each: own, common, or something between.

With 8 models on each side a row's own variance is mostly noise, and a common one ignores that
rows differ. In between, each row's variance is drawn towards the common one as if ``strength``
further models had shown that; how strongly, the spread of the variances tells. A prediction
from it is a Student-t, not a normal: that is what makes few models honest.

References:
    Smyth, "Linear Models and Empirical Bayes Methods for Assessing Differential Expression",
    Statistical Applications in Genetics and Molecular Biology 3 (2004), section 6.2 (strength and
    common variance by moments of log variances).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from scipy import optimize, special

from expunge.core.errors import InputError
from expunge.metrics.arrays import Mask, Numbers

Variance: TypeAlias = Literal["row", "global", "moderated"]

# A variance below this part of the common one is rounding, not knowledge.
_FLOOR: Final = 1e-4
_ABSOLUTE: Final = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What a signal does over models, row by row.

    Attributes:
        mean: (n,).
        scale: Of the prediction for one more model, (n,), above zero.
        freedom: Degrees of the Student-t, (n,); infinite for a normal.
    """

    mean: Numbers
    scale: Numbers
    freedom: Numbers

    def log_density(self, values: Numbers) -> Numbers:
        """Log density of the signals (n,), in nats."""
        z, many = (values - self.mean) / self.scale, self.freedom
        log: Numbers = _normaliser(many) - np.log(self.scale)
        finite = np.where(np.isinf(many), 1.0, many)
        tails = np.where(np.isinf(many), -z * z / 2, -(finite + 1) / 2 * np.log1p(z * z / finite))
        return log + tails

    def surprise(self, values: Numbers) -> Numbers:
        """−log Pr[one more model's signal > value], (n,): high for values too high, in nats."""
        z = (values - self.mean) / self.scale
        above = np.where(
            np.isinf(self.freedom), special.log_ndtr(-z), _log_student(-z, self.freedom)
        )
        return -above


def fit(signals: Numbers, mask: Mask, variance: Variance) -> Fit:
    """Fit each row's signals over the models that ``mask`` marks, both (models, n).

    Raises:
        InputError: A row has no models, or fewer than 2 where its variance is needed.
    """
    counts = mask.sum(axis=0)
    least = 2 if variance == "row" else 1
    if counts.min() < least or counts.max() < 2:
        raise InputError(
            f"A row has {counts.min()} models on one side. Expected at least {least}, and 2 for some "
            f"row. Train more shadow models, and put each row into half of them."
        )
    mean = np.where(mask, signals, 0.0).sum(axis=0) / counts
    squares = np.where(mask, (signals - mean) ** 2, 0.0).sum(axis=0)
    freedom = (counts - 1).astype(np.float64)
    common = float(squares.sum() / freedom.sum())
    strength, centre = _prior(squares, freedom, variance, common)
    spread, many = _posterior(squares, freedom, strength, centre)
    spread = np.maximum(spread, max(_FLOOR * common, _ABSOLUTE))
    return Fit(mean, np.sqrt(spread * (1 + 1 / counts)), many)


def _prior(
    squares: Numbers, freedom: Numbers, variance: Variance, common: float
) -> tuple[float, float]:
    """How many further models stand behind the common variance, and what it is."""
    if variance == "row":
        return 0.0, common
    if variance == "global":
        return math.inf, common
    return strength(squares, freedom)


def _posterior(
    squares: Numbers, freedom: Numbers, strength: float, centre: float
) -> tuple[Numbers, Numbers]:
    if math.isinf(strength):
        return np.full_like(squares, centre), np.full_like(squares, math.inf)
    many = freedom + strength
    return (squares + strength * centre) / many, many


def strength(squares: Numbers, freedom: Numbers) -> tuple[float, float]:
    """Estimate the prior of variances: its degrees of freedom (0 … inf) and its centre.

    Args:
        squares: Sums of squares about each row's mean, (n,).
        freedom: Models − 1 of each row, (n,).
    """
    known = (freedom > 0) & (squares > 0)
    common = float(squares.sum() / freedom.sum())
    if known.sum() < 2:
        return math.inf, common
    half = freedom[known] / 2
    logs = np.log(squares[known] / freedom[known]) - special.psi(half) + np.log(half)
    excess = float(logs.var(ddof=1) - special.polygamma(1, half).mean())
    if excess <= 1e-6:
        return math.inf, common
    prior = 2 * _trigamma_inverse(excess)
    return prior, math.exp(float(logs.mean()) + special.psi(prior / 2) - math.log(prior / 2))


def _trigamma_inverse(value: float) -> float:
    def off(log: float) -> float:
        return math.log(float(special.polygamma(1, math.exp(log)))) - math.log(value)

    return math.exp(optimize.brentq(off, -30.0, 30.0))


def _normaliser(freedom: Numbers) -> Numbers:
    finite = np.where(np.isinf(freedom), 1.0, freedom)
    student = (
        special.gammaln((finite + 1) / 2) - special.gammaln(finite / 2) - np.log(finite * np.pi) / 2
    )
    normaliser: Numbers = np.where(np.isinf(freedom), -math.log(2 * math.pi) / 2, student)
    return normaliser


def _log_student(z: Numbers, freedom: Numbers) -> Numbers:
    """Log of the Student-t distribution function, (n,); its tail is floored at 1e-300."""
    finite = np.where(np.isinf(freedom), 1.0, freedom)
    logarithm: Numbers = np.log(np.maximum(special.stdtr(finite, z), 1e-300))
    return logarithm
