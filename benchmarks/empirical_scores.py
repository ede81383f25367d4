"""What tells networks that forgot from networks that never saw the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from empirical_models import Said
from numpy.typing import NDArray

from expunge.core import rng
from expunge.metrics import divergence, roc, ulira

_KLOM_NETWORKS, _KLOM_BINS = 8, 4
_SPLITS = 6  # of the retrained networks, for what chance alone gives

Margins = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Figures of one arm.

    Attributes:
        forget: Mean accuracy in percent; likewise ``retain`` and ``test``.
        gap: Mean distance of these three from those of retrained networks, in points.
        activation: Mean distance of predictions on rows to forget, network by network.
        auc: U-LiRA per example, two-sided, mean over rows.
        tpr: Of the same attack, rows and networks together, at 1 % false positives; in percent.
        klom: In nats, mean over rows, eight networks against eight, four bins.
        share: Seconds of the processor, of those of retraining; in percent.
    """

    forget: float
    retain: float
    test: float
    gap: float
    activation: float
    auc: float
    tpr: float
    klom: float
    share: float


def score(said: Sequence[Said], never: Sequence[Said]) -> Scores:
    """Of networks that are not retrained, or are so with other seeds."""
    accuracies, wanted = (np.mean([one.accuracies for one in of], axis=0) for of in (said, never))
    ours, theirs = (np.stack([one.margins for one in of]) for of in (said, never))
    spent, whole = (np.mean([one.seconds for one in of]) for of in (said, never))
    return Scores(
        *(float(each) for each in accuracies),
        gap=float(np.abs(accuracies - wanted).mean()),
        activation=_activation(said, never),
        auc=roc.two_sided(ulira.per_example(ours, theirs).mean),
        tpr=100 * _tpr(ours, theirs),
        klom=_klom(ours, theirs),
        share=100 * float(spent / whole),
    )


def null(never: Sequence[Said]) -> Scores:
    """The same between halves of the retrained networks, mean over some splits: what is ideal."""
    found = []
    for split in range(_SPLITS):
        order = rng.order(np.arange(len(never), dtype=np.uint64), rng.seed("null", split))
        one, other = (
            [never[i] for i in part] for part in (order[::2].tolist(), order[1::2].tolist())
        )
        found.append(score(one, other))
    means = {
        name: float(np.mean([getattr(each, name) for each in found])) for name in vars(found[0])
    }
    return Scores(**means)


def gap(said: Sequence[Said], never: Sequence[Said]) -> float:
    """Of three accuracies, in points: what knobs are chosen by."""
    mine, theirs = (np.mean([one.accuracies for one in of], axis=0) for of in (said, never))
    return float(np.abs(mine - theirs).mean())


def _activation(said: Sequence[Said], never: Sequence[Said]) -> float:
    pairs = zip(said, never, strict=False)
    return float(
        np.mean(
            [divergence.activation_distance(a.probabilities, b.probabilities) for a, b in pairs]
        )
    )


def _klom(ours: Margins, theirs: Margins) -> float:
    """Eight networks against eight, all that there are, so that it compares with the null.

    Of so few, the twenty bins as published hold one network each at most, and say nothing.
    """
    size = min(len(ours), len(theirs), _KLOM_NETWORKS)
    found = [
        divergence.klom(ours[a : a + size], theirs[b : b + size], bins=_KLOM_BINS)
        for a in range(0, len(ours) - size + 1, size)
        for b in range(0, len(theirs) - size + 1, size)
    ]
    return float(np.mean(found))


def _tpr(ours: Margins, theirs: Margins) -> float:
    """Each network is judged by normal distributions that were fitted without it."""
    positive = _ratios(ours, ours, theirs, own=0)
    negative = _ratios(theirs, ours, theirs, own=1)
    return roc.tpr_at(positive, negative, 0.01).value


def _ratios(judged: Margins, ours: Margins, theirs: Margins, own: int) -> NDArray[np.float64]:
    out = []
    for place, one in enumerate(judged):
        fits = [
            np.delete(of, place, axis=0) if own == i else of for i, of in enumerate((ours, theirs))
        ]
        densities = [_log_density(one, fit.mean(axis=0), _variance(fit)) for fit in fits]
        out.append(densities[0] - densities[1])
    return np.concatenate(out)


def _variance(of: Margins) -> Margins:
    variance = of.var(axis=0, ddof=1)
    # Of so few networks some rows' variances come out next to nothing.
    floored: Margins = np.maximum(variance, 0.05 * variance.mean())
    return floored


def _log_density(values: Margins, mean: Margins, variance: Margins) -> Margins:
    density: Margins = -((values - mean) ** 2) / (2 * variance) - np.log(variance) / 2
    return density
