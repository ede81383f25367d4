"""The robust membership attack: a row's likelihood ratio against those of rows never seen.

A row is compared not with other models' signals alone but with other *rows*: its ratio
p(x) / P(x), where P averages reference models, has to beat the ratios of a population that
nobody trained on. Works with few reference models, where LiRA's variances do not.

References:
    Zarifzadeh, Liu and Shokri, "Low-Cost High-Power Membership Inference Attacks", ICML 2024,
    arXiv:2312.03262, section 3 (score), appendix B.2 (offline: ``a``).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from expunge.core.errors import InputError
from expunge.metrics import arrays, roc
from expunge.metrics.arrays import Mask, Numbers

_GRID: Final = tuple(step / 10 for step in range(11))
_TINY: Final = 1e-45


def ratios_online(target: ArrayLike, references: ArrayLike, member: ArrayLike) -> Numbers:
    """p(x) / P(x) with P the mean of (mean over models that saw x) and (over those that did not).

    Args:
        target: Probability of the true class under the attacked model, (n,), in [0, 1].
        references: The same under reference models, (models, n).
        member: Whether each was trained on each row, (models, n); both kinds for each row.
    """
    told, others, inside = _checked(target, references, member)
    return _ratio(told, (_mean(others, inside) + _mean(others, ~inside)) / 2)


def ratios_offline(
    target: ArrayLike, references: ArrayLike, member: ArrayLike, a: float = 0.3
) -> Numbers:
    """p(x) / P(x) with P = ((1 + a)·P_out + (1 − a)) / 2, from models that never saw x.

    Args:
        target: As for :func:`ratios_online`.
        references: As for :func:`ratios_online`.
        member: Whether each was trained on each row; only those that were not are used.
        a: How P_in follows from P_out (P_in = a·P_out + 1 − a), in [0, 1]: :func:`choose_a`.
    """
    if not 0 <= a <= 1:
        raise InputError(f"`a` must be in [0, 1], got {a}.")
    told, others, inside = _checked(target, references, member)
    return _ratio(told, ((1 + a) * _mean(others, ~inside) + (1 - a)) / 2)


def score(rows: ArrayLike, population: ArrayLike, gamma: float = 1.0) -> Numbers:
    """Share of the population whose ratio the row's beats by ``gamma``: (n,), in [0, 1].

    Args:
        rows: Ratios of the rows in question, (n,).
        population: Ratios of rows that neither model was trained on, (z,).
        gamma: 1 or more.
    """
    mine, theirs = arrays.vector(rows, "rows"), np.sort(arrays.vector(population, "population"))
    beaten = np.searchsorted(theirs * arrays.positive(gamma, "gamma"), mine, "right")
    shares: Numbers = beaten / len(theirs)
    return shares


def choose_a(references: ArrayLike, member: ArrayLike) -> float:
    """The ``a`` of 0, 0.1 … 1 that attacks the reference models best, each by the others.

    Costs models² · n for each. Never looks at the attacked model, so nothing is tuned on it.
    """
    _, others, inside = _checked(np.zeros(np.shape(references)[-1]), references, member)
    best = [
        np.mean([_attacked(others, inside, one, a) for one in range(len(others))]) for a in _GRID
    ]
    return _GRID[int(np.argmax(best))]


def _attacked(others: Numbers, inside: Mask, one: int, a: float) -> float:
    rest = np.arange(len(others)) != one
    usable = (~inside[rest]).any(axis=0)
    ratios = ratios_offline(
        others[one, usable], others[rest][:, usable], inside[rest][:, usable], a
    )
    truth = inside[one, usable]
    return roc.auc(ratios[truth], ratios[~truth])


def _mean(others: Numbers, mask: Mask) -> Numbers:
    if not mask.any(axis=0).all():
        raise InputError(
            "A row has no reference model on one side. Train more, each on half of the rows."
        )
    mean: Numbers = np.where(mask, others, 0.0).sum(axis=0) / mask.sum(axis=0)
    return mean


def _ratio(told: Numbers, expected: Numbers) -> Numbers:
    return told / np.maximum(expected, _TINY)


def _checked(
    target: ArrayLike, references: ArrayLike, member: ArrayLike
) -> tuple[Numbers, Numbers, Mask]:
    told = arrays.vector(target, "target")
    others = arrays.population(references, "references")
    inside = np.asarray(member, dtype=np.bool_)
    arrays.same_rows(told, others)
    if inside.shape != others.shape:
        raise InputError(f"`member` has shape {inside.shape}. Expected {others.shape}.")
    if min(told.min(), others.min()) < 0 or max(told.max(), others.max()) > 1:
        raise InputError("A probability is outside [0, 1]. Give those of the true class.")
    return told, others, inside
