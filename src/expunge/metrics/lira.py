"""The likelihood-ratio attack, online and offline, honest with few shadow models.

Shadow models are trained on halves of the rows, so that each row is inside some and outside the
others. A row's signal under the attacked model is compared with what the two kinds of models
say about this very row. The result is a score: higher is more like a member.

Variances are moderated by default (:mod:`expunge.metrics.moderated`), which suits 16 shadow
models; ``row`` and ``global`` are what the paper calls per-example and fixed variance, with the
heavier tails of a Student-t where a row's own few models are all that is known. Inside and
outside each have a variance of their own, also when it is global.

Signals should be near to normal over models, as ``signals.phi`` and ``signals.margin`` are.
Hits and misses are refused.

References:
    Carlini, Chien, Nasr, Song, Terzis and Tramèr, "Membership Inference Attacks From First
    Principles", IEEE S&P 2022, arXiv:2112.03570, algorithm 1 (online) and section V-B (offline).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from expunge.core.errors import InputError
from expunge.metrics import arrays, moderated, signals
from expunge.metrics.arrays import Mask, Numbers
from expunge.metrics.moderated import Variance


def online(
    target: ArrayLike, shadows: ArrayLike, member: ArrayLike, variance: Variance = "moderated"
) -> Numbers:
    """Log likelihood ratio of *inside* to *outside*, (n,), in nats; 0 is undecided.

    Far below both it says little: over-forgetting is for :func:`offline` to see.

    Args:
        target: Signals of the attacked model, (n,).
        shadows: Signals of the shadow models, (models, n).
        member: Whether each shadow model was trained on each row, (models, n).
        variance: How each row's variance is found.

    Raises:
        InputError: Shapes that do not fit, hits and misses for signals, too few models.
    """
    told, others, inside = _checked(target, shadows, member)
    held = moderated.fit(others, inside, variance).log_density(told)
    return held - moderated.fit(others, ~inside, variance).log_density(told)


def offline(
    target: ArrayLike, shadows: ArrayLike, member: ArrayLike, variance: Variance = "moderated"
) -> Numbers:
    """−log Pr[a model that never saw the row has a higher signal], (n,), in nats.

    Needs only models that never saw a row. 0.69 is their middle; 3.0 is what a non-member has
    once in twenty. Values below are for signals that are *too low* (see :func:`unlikely`).
    """
    told, others, inside = _checked(target, shadows, member)
    return moderated.fit(others, ~inside, variance).surprise(told)


def p_values(
    target: ArrayLike, shadows: ArrayLike, member: ArrayLike, variance: Variance = "moderated"
) -> Numbers:
    """One-sided: chance of as high a signal from a model that never saw the row, (n,).

    Uniform over rows of a model that never saw them, as far as signals are normal.
    """
    chances: Numbers = np.exp(-offline(target, shadows, member, variance))
    return chances


def unlikely(p_values: ArrayLike) -> Numbers:
    """Two-sided p-values of one-sided ones, (n,): too low a signal is as telling as too high."""
    one = arrays.vector(p_values, "p_values")
    both: Numbers = np.minimum(1.0, 2 * np.minimum(one, 1 - one))
    return both


def _checked(
    target: ArrayLike, shadows: ArrayLike, member: ArrayLike
) -> tuple[Numbers, Numbers, Mask]:
    told = arrays.vector(target, "target")
    others = arrays.population(shadows, "shadows", models=2)
    inside = np.asarray(member)
    arrays.same_rows(told, others)
    if inside.shape != others.shape or inside.dtype != np.bool_:
        raise InputError(
            f"`member` has shape {inside.shape} and type {inside.dtype}. Expected True or False for "
            f"each shadow model and row, {others.shape}."
        )
    signals.need_spread(others, "shadows")
    return told, others, inside
