"""The plain attacks: one score for each row, one threshold for all.

They are baselines. They find models that memorise much, and miss single rows that stand out:
a model that passes them may still fail :mod:`expunge.metrics.lira`.

References:
    Yeom, Giacomelli, Fredrikson and Jha, "Privacy Risk in Machine Learning", CSF 2018,
    arXiv:1709.01604, section 3.2 (loss). Song and Mittal, arXiv:2003.10595, section 3 (confidence,
    entropies, a threshold for each class).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from expunge.metrics import arrays, signals
from expunge.metrics.arrays import Numbers

Score: TypeAlias = Callable[[ArrayLike, ArrayLike], Numbers]


def confidence(probabilities: ArrayLike, labels: ArrayLike) -> Numbers:
    """Probability of the true class: members have more of it."""
    return signals.confidence(probabilities, labels)


def loss(probabilities: ArrayLike, labels: ArrayLike) -> Numbers:
    """Minus the cross-entropy, in nats. It ranks as :func:`confidence` does."""
    return -signals.loss(probabilities, labels)


def entropy(probabilities: ArrayLike, labels: ArrayLike) -> Numbers:
    """Minus the entropy of the prediction, in nats; the labels are only checked."""
    signals.confidence(probabilities, labels)
    return -signals.entropy(probabilities)


def modified_entropy(probabilities: ArrayLike, labels: ArrayLike) -> Numbers:
    """Minus the entropy that knows the truth, in nats."""
    return -signals.modified_entropy(probabilities, labels)


SCORES: Final[Mapping[str, Score]] = MappingProxyType(
    {
        "confidence": confidence,
        "loss": loss,
        "entropy": entropy,
        "modified-entropy": modified_entropy,
        "correctness": signals.correctness,
    }
)
"""All of them by name; higher is more like a member."""


def threshold(member: ArrayLike, other: ArrayLike) -> float:
    """The cut with the best balanced accuracy: ``score > cut`` says member.

    Take it on shadow models: one that is chosen on the rows that it judges flatters the attack.
    """
    inside, outside = arrays.vector(member, "member"), arrays.vector(other, "other")
    cuts = np.unique(np.concatenate([inside, outside]))
    passed = 1 - np.searchsorted(np.sort(inside), cuts, "right") / len(inside)
    alarms = 1 - np.searchsorted(np.sort(outside), cuts, "right") / len(outside)
    # Just below the least score there is a cut as well: everything is a member then.
    gains = np.concatenate([[0.0], passed - alarms])
    return float(np.concatenate([[np.nextafter(cuts[0], -np.inf)], cuts])[gains.argmax()])


def advantage(member: ArrayLike, other: ArrayLike, cut: float) -> float:
    """TPR − FPR at a cut, in [−1, 1]; 0 is chance, and below it is a leak as well."""
    inside, outside = arrays.vector(member, "member"), arrays.vector(other, "other")
    return float((inside > cut).mean() - (outside > cut).mean())
