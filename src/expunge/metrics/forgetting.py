"""The forgetting quality F of the NeurIPS 2023 challenge, beside what retraining itself scores.

For each forgotten row, scalars of N unlearned and N retrained models are told apart by
thresholds, whose error rates give an estimate of ε; rows score 2 / 2ⁿ for the n-th bin of width
½. The estimates are not bounds: they are the best over many thresholds, without correction.

So exact unlearning does not score 1. Two groups of one normal distribution come out near 0.36
at N = 128. F says something beside F between two groups of retrained models only
(:func:`calibrated`), and is comparable between equal N only.

References:
    Triantafillou, Pedregosa, Hayes et al., "Are we making progress in unlearning? Findings from
    the first NeurIPS unlearning competition", 2024, arXiv:2406.09073, section 3; the competition's
    "Evaluation for the NeurIPS Machine Unlearning Competition", 2023, sections 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from expunge.core.errors import InputError
from expunge.metrics import arrays
from expunge.metrics.arrays import Numbers

_WIDTH: Final = 0.5
_BINS: Final = 13
_GRID: Final = 24


@dataclass(frozen=True, slots=True, eq=False)
class Quality:
    """Forgetting quality.

    Attributes:
        value: F: mean over rows of 2 / 2ⁿ, in [0, 1].
        epsilon: Estimate for each row, (n,); infinite where two thresholds tell all models apart.
    """

    value: float
    epsilon: Numbers


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """F, and what stands for 1.

    Attributes:
        unlearned: F of unlearned against retrained models.
        retrained: F of retrained against other retrained models, as many.
    """

    unlearned: Quality
    retrained: Quality

    @property
    def ratio(self) -> float:
        """F over F of retraining: about 1 is ideal. Above 1 is chance, or worth a look."""
        return self.unlearned.value / self.retrained.value


def quality(
    unlearned: ArrayLike, retrained: ArrayLike, delta: float = 0.0, *, intervals: bool = False
) -> Quality:
    """F of two groups of models.

    All thresholds are tried, with the group of the higher median above. An attack without one error makes ε infinite, and
    the row score 0; one with errors of one kind only is left out, as the competition does.
    Costs models² · n.

    Args:
        unlearned: Signals (``signals.phi``) about forgotten rows, (models, n).
        retrained: The same; as many models.
        delta: Of (ε, δ), in [0, 1).
        intervals: Also tries intervals between 24 quantiles: they see groups with one middle and
            unequal spread, and lower F of retraining itself.
    """
    first, second = _checked(unlearned, retrained)
    if not 0 <= delta < 1:
        raise InputError(f"`delta` must be in [0, 1), got {delta}.")
    epsilon = np.array(
        [_row(a, b, delta, intervals) for a, b in zip(first.T, second.T, strict=True)]
    )
    bins = np.floor(np.minimum(epsilon, _BINS) / _WIDTH) + 1
    scores = np.where(bins <= _BINS, 2.0 / 2.0**bins, 0.0)
    return Quality(float(scores.mean()), epsilon)


def calibrated(
    unlearned: ArrayLike,
    retrained: ArrayLike,
    again: ArrayLike,
    delta: float = 0.0,
    *,
    intervals: bool = False,
) -> Calibrated:
    """F beside F of ``again``: as many further retrained models, with seeds of their own."""
    if np.shape(again) != np.shape(unlearned):
        raise InputError(
            f"{np.shape(again)} signals of further retrained models, {np.shape(unlearned)} of "
            f"unlearned ones. F depends on the number of models: give as many."
        )
    null = quality(again, retrained, delta, intervals=intervals)
    return Calibrated(quality(unlearned, retrained, delta, intervals=intervals), null)


def score(forgetting: float, retain: tuple[float, float], test: tuple[float, float]) -> float:
    """The competition's figure: F · RA_U / RA_R · TA_U / TA_R; accuracies (unlearned, retrained)."""
    arrays.positive(retain[1], "retain accuracy of retraining")
    arrays.positive(test[1], "test accuracy of retraining")
    return forgetting * retain[0] / retain[1] * test[0] / test[1]


def _row(unlearned: Numbers, retrained: Numbers, delta: float, intervals: bool) -> float:
    """The best estimate of ε over all attacks on one row."""
    cuts = np.unique(np.concatenate([unlearned, retrained]))
    lower, upper = sorted((unlearned, retrained), key=lambda group: float(np.median(group)))
    shares = [_above(np.sort(each), cuts) for each in (lower, upper)]
    singles = _estimate(shares[0], 1 - shares[1], delta)
    if not intervals:
        return singles
    inside, outside = (_between(each) for each in shares)
    # Either group may be the one in the middle.
    return max(
        singles, _estimate(inside, 1 - outside, delta), _estimate(outside, 1 - inside, delta)
    )


def _above(ranked: Numbers, cuts: Numbers) -> Numbers:
    shares: Numbers = 1 - np.searchsorted(ranked, cuts, "right") / len(ranked)
    return shares


def _between(shares: Numbers) -> Numbers:
    """Share between any two of some cuts, from the shares above all of them."""
    some = shares[np.unique(np.linspace(0, len(shares) - 1, _GRID).astype(int))]
    low, high = np.triu_indices(len(some), 1)
    inside: Numbers = some[low] - some[high]
    return inside


def _estimate(fpr: Numbers, fnr: Numbers, delta: float) -> float:
    # Shares of whole models: what rounding leaves of zero is zero.
    no_alarm, no_miss = fpr < 1e-12, fnr < 1e-12
    if (no_alarm & no_miss).any():
        return float("inf")
    usable = ~(no_alarm | no_miss)
    fpr, fnr = fpr[usable], fnr[usable]
    best = np.maximum((1 - delta - fpr) / fnr, (1 - delta - fnr) / fpr)
    return float(np.log(max(best.max(initial=1.0), 1.0)))


def _checked(unlearned: ArrayLike, retrained: ArrayLike) -> tuple[Numbers, Numbers]:
    first = arrays.population(unlearned, "unlearned", models=4)
    second = arrays.population(retrained, "retrained", models=4)
    if first.shape != second.shape:
        raise InputError(
            f"Signals of shapes {first.shape} and {second.shape}. Expected as many unlearned as "
            f"retrained models, and the same rows."
        )
    return first, second
