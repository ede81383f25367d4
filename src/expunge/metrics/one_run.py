"""Lower bounds of ε: from error rates of an attack, and from one run with many canaries.

They are lower bounds only. A low one shows nothing: the attack may have been weak, or the
trials few (:func:`expunge.metrics.power.epsilon_ceiling`). Upper bounds come from proofs.

References:
    Kairouz, Oh and Viswanath, "The Composition Theorem for Differential Privacy", ICML 2015,
    arXiv:1311.0776, theorem 2.1 (error rates). Jagielski, Ullman and Oprea, NeurIPS 2020,
    arXiv:2006.07709 (Clopper–Pearson). Steinke, Nasr and Jagielski, "Privacy Auditing with One (1)
    Training Run", NeurIPS 2023, arXiv:2305.08846, theorem 5.2 and appendix D.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from expunge.core import rng
from expunge.core.errors import InputError
from expunge.metrics import arrays, chance, intervals
from expunge.metrics.arrays import Mask

_HIGHEST: Final = 60.0
_STEPS: Final = 60


def from_errors(
    false_positives: tuple[int, int],
    false_negatives: tuple[int, int],
    delta: float = 0.0,
    confidence: float = 0.95,
) -> float:
    """Lower bound of ε, ≥ 0, from errors of an attack whose threshold was fixed beforehand.

    Each rate takes half of 1 − ``confidence``: at 0.95, one-sided bounds of 97.5 %.

    Args:
        false_positives: (errors, trials) with the row absent.
        false_negatives: (errors, trials) with the row present.
        delta: Of (ε, δ), in [0, 1).
        confidence: That the bound is right.

    Raises:
        InputError: No trials, more errors than trials, a share out of range.
    """
    _check_delta(delta)
    each = 1 - (1 - arrays.share(confidence, "confidence")) / 2
    fpr = intervals.upper(*false_positives, each)
    fnr = intervals.upper(*false_negatives, each)
    best = max((1 - delta - fpr) / fnr, (1 - delta - fnr) / fpr)
    return math.log(best) if best > 1 else 0.0


def correct_guesses(scores: ArrayLike, member: ArrayLike, guesses: int) -> int:
    """How many of ``guesses`` are right: half of them *member* for the highest scores, half not.

    Rows between are abstained from. Ties are broken by a keyed order, which knows no truth.

    Args:
        scores: Higher is more like a member, (m,).
        member: Whether each canary was included, decided by a fair coin of its own, (m,).
        guesses: Even, at most m.
    """
    told = arrays.vector(scores, "scores")
    truth: Mask = np.asarray(member, dtype=np.bool_)
    arrays.same_rows(told, truth.astype(np.float64))
    if guesses % 2 or not 2 <= guesses <= len(told):
        raise InputError(f"{guesses} guesses. Expected an even number, 2 … {len(told)}.")
    ties = chance.shuffled(len(told), rng.seed("one-run", len(told)))
    ranked = truth[np.lexsort((ties, told))]
    half = guesses // 2
    return int(ranked[-half:].sum() + (~ranked[:half]).sum())


def epsilon(
    correct: int, guesses: int, canaries: int, delta: float = 0.0, confidence: float = 0.95
) -> float:
    """Lower bound of ε, ≥ 0, from one run in which each canary was included by a fair coin.

    It holds for canaries that were included at random and independently. Rows that people
    asked to forget were not: for them it is what the bound would be *if* they had been.

    Args:
        correct: Guesses that were right.
        guesses: How many were made; the others were abstained from.
        canaries: All of them, guessed or not.
        delta: Of (ε, δ), in [0, 1).
        confidence: That the bound is right.
    """
    _check_delta(delta)
    arrays.share(confidence, "confidence")
    if not 0 <= correct <= guesses <= canaries or guesses < 1:
        raise InputError(
            f"{correct} of {guesses} guesses right, for {canaries} canaries. Expected "
            f"correct ≤ guesses ≤ canaries, and a guess at least."
        )
    low, high = 0.0, _HIGHEST
    if p_value(correct, guesses, canaries, 0.0, delta) >= 1 - confidence:
        return 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        refuted = p_value(correct, guesses, canaries, middle, delta) < 1 - confidence
        low, high = (middle, high) if refuted else (low, middle)
    return low


def p_value(correct: int, guesses: int, canaries: int, epsilon: float, delta: float) -> float:
    """Chance, at most, of this many right guesses about an (ε, δ)-private training."""
    if correct == 0:
        return 1.0
    right = float(special.expit(epsilon))
    beta = float(special.bdtrc(correct - 1, guesses, right))
    if delta == 0:
        return beta
    # Chance of the i counts just below: all below, without those lower still.
    counts = np.arange(correct - 1, -1, -1)
    lower = np.where(counts > 0, special.bdtr(counts - 1.0, guesses, right), 0.0)
    below = special.bdtr(correct - 1, guesses, right) - lower
    alpha = float((below / np.arange(1, correct + 1)).max())
    return min(1.0, beta + 2 * canaries * delta * alpha)


def _check_delta(delta: float) -> None:
    if not 0 <= delta < 1:
        raise InputError(f"`delta` must be in [0, 1), got {delta}.")
