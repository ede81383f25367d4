"""Exposure of canaries: how far ahead of others a secret stands that was once in the data.

References:
    Carlini, Liu, Erlingsson, Kos and Song, "The Secret Sharer", USENIX Security 2019,
    arXiv:1802.08232, section 4.3 (exposure), 4.4 (by sampling).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from expunge.metrics import arrays
from expunge.metrics.arrays import Numbers


def ranks(canaries: ArrayLike, references: ArrayLike) -> Numbers:
    """Rank of each canary among itself and all references by loss, from 1; ties at their middle.

    Args:
        canaries: Losses of the secrets, (n,): lower is better known.
        references: Losses of secrets of the same form that were never in the data, (r,).
    """
    mine, others = (
        arrays.vector(canaries, "canaries"),
        np.sort(arrays.vector(references, "references")),
    )
    below, upto = (np.searchsorted(others, mine, side) for side in ("left", "right"))
    middle: Numbers = 1 + (below + upto) / 2
    return middle


def exposure(canaries: ArrayLike, references: ArrayLike) -> Numbers:
    """log₂ |R| − log₂ rank of each canary, in bits, (n,): 0 … :func:`highest`.

    A secret that was never there has a rank that any other might have, so its exposure is above
    k bits with a chance of 2⁻ᵏ and 1.44 bits in the mean: not 0.
    """
    size = len(arrays.vector(references, "references")) + 1
    found: Numbers = math.log2(size) - np.log2(ranks(canaries, references))
    return found


def highest(references: int) -> float:
    """The most that so many references can show, in bits."""
    return math.log2(references + 1)


def p_values(canaries: ArrayLike, references: ArrayLike) -> Numbers:
    """Chance of a rank as good for a secret that was never there, each, (n,)."""
    size = len(arrays.vector(references, "references")) + 1
    found: Numbers = np.ceil(ranks(canaries, references)) / size
    return found
