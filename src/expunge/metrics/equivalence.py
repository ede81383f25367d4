"""Is a figure as good as that of a retrained model? Two one-sided tests, and a verdict of three.

A test that finds no difference is no evidence that there is none: it may have had too little to
look at. Equivalence is shown where the whole interval of the effect lies within a margin that
was fixed beforehand; a departure where the whole interval lies outside. All else is
inconclusive, however small its p-value.

References:
    Schuirmann, "A comparison of the two one-sided tests procedure and the power approach",
    J. Pharmacokinetics and Biopharmaceutics 15 (1987). Welch, Biometrika 34 (1947) (degrees of
    freedom). Westlake, Biometrics 32 (1976) (the 1 − 2α interval).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from numpy.typing import ArrayLike

from expunge.core.errors import InputError
from expunge.metrics import arrays, intervals
from expunge.metrics.intervals import Interval

Verdict: TypeAlias = Literal["passed", "failed", "inconclusive"]

ALPHA: Final = 0.05
"""Chance, at most, of calling something equivalent that is not."""


@dataclass(frozen=True, slots=True)
class Effect:
    """By how much something departs from its ideal.

    Attributes:
        value: The departure; 0 is ideal.
        narrow: Its 1 − 2α interval (90 %), which has to lie within a margin to pass.
        wide: Its 1 − α interval (95 %), which has to lie outside to fail.
    """

    value: float
    narrow: Interval
    wide: Interval

    def verdict(self, margin: float) -> Verdict:
        """Judge by a margin that was fixed before anything was measured."""
        return judge(self.narrow, self.wide, (-margin, margin))


def judge(narrow: Interval, wide: Interval, allowed: Interval) -> Verdict:
    """*passed* if ``narrow`` is inside ``allowed``, *failed* if ``wide`` is outside, else neither.

    >>> judge((-0.01, 0.02), (-0.02, 0.03), (-0.05, 0.05))
    'passed'
    >>> judge((-0.1, 0.2), (-0.2, 0.3), (-0.05, 0.05))
    'inconclusive'

    Raises:
        InputError: An interval that ends before it begins, or ``narrow`` not within ``wide``.
    """
    if not (wide[0] <= narrow[0] <= narrow[1] <= wide[1] and allowed[0] <= allowed[1]):
        raise InputError(
            f"Intervals {narrow} and {wide}, allowed {allowed}. Expected the first within the second."
        )
    if allowed[0] <= narrow[0] and narrow[1] <= allowed[1]:
        return "passed"
    if wide[1] < allowed[0] or allowed[1] < wide[0]:
        return "failed"
    return "inconclusive"


def effect(value: float, error: float, freedom: float = math.inf, alpha: float = ALPHA) -> Effect:
    """From an estimate and its standard error; Student-t where ``freedom`` is finite.

    Raises:
        InputError: A standard error of zero or less: nothing was seen to vary, so nothing is
            known about how it varies.
    """
    arrays.positive(error, "error")
    halves = [error * intervals.student(1 - level, freedom) for level in (2 * alpha, alpha)]
    narrow, wide = ((value - half, value + half) for half in halves)
    return Effect(value, narrow, wide)


def means(sample: ArrayLike, reference: ArrayLike, alpha: float = ALPHA) -> Effect:
    """Difference of two means over independent runs, (n,) and (m,), n, m ≥ 2 (Welch)."""
    first = arrays.vector(sample, "sample", least=2)
    second = arrays.vector(reference, "reference", least=2)
    parts = first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)
    if not sum(parts) > 0:
        raise InputError(
            "Neither group varies, so no interval can be stated. Expected runs that differ in "
            "their seeds; compare figures of a deterministic training for equality."
        )
    freedom = sum(parts) ** 2 / (
        parts[0] ** 2 / (len(first) - 1) + parts[1] ** 2 / (len(second) - 1)
    )
    return effect(float(first.mean() - second.mean()), math.sqrt(sum(parts)), freedom, alpha)


def one_against(value: float, reference: ArrayLike, alpha: float = ALPHA) -> Effect:
    """A single run against the mean of others, (n,), n ≥ 2: its interval is that of *one more* run.

    One model was served; how it varies with its seed is known from the reference alone.
    """
    others = arrays.vector(reference, "reference", least=2)
    error = float(others.std(ddof=1)) * math.sqrt(1 + 1 / len(others))
    return effect(value - float(others.mean()), error, len(others) - 1, alpha)


def proportions(hits: tuple[int, int], others: tuple[int, int], alpha: float = ALPHA) -> Effect:
    """Difference of two independent proportions, each (successes, trials); Newcombe's intervals."""
    value = hits[0] / hits[1] - others[0] / others[1]
    narrow, wide = (intervals.difference(hits, others, 1 - level) for level in (2 * alpha, alpha))
    return Effect(value, narrow, wide)


def power(margin: float, error: float, shift: float = 0.0, alpha: float = ALPHA) -> float:
    """Chance that equivalence is shown when the true effect is ``shift``; normal, error known.

    0 where no interval of that width fits between the margins.
    """
    arrays.positive(margin, "margin")
    arrays.positive(error, "error")
    reach = margin / error - intervals.normal(1 - 2 * alpha)
    if reach <= 0:
        return 0.0
    return _below(reach - shift / error) - _below(-reach - shift / error)


def _below(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2
