"""Draws for permutations and noise: keyed hashes of where they are used, never a stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from expunge.core import rng
from expunge.metrics.arrays import Numbers


def uniform(shape: tuple[int, ...], key: int) -> Numbers:
    """Numbers strictly between 0 and 1, of this shape; 53 bits each."""
    tokens = np.arange(int(np.prod(shape)), dtype=np.uint64)
    high = (rng.mix(tokens, key) >> np.uint64(11)).astype(np.float64)
    return ((high + 0.5) * 2.0**-53).reshape(shape)


def normal(shape: tuple[int, ...], key: int) -> Numbers:
    """Standard normal numbers of this shape, by the inverse of the distribution function."""
    drawn: Numbers = special.ndtri(uniform(shape, key))
    return drawn


def shuffled(count: int, key: int) -> NDArray[np.int64]:
    """The numbers 0 … count − 1 in an order that the key decides."""
    return rng.order(np.arange(count, dtype=np.uint64), key)
