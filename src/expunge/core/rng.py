"""Canonical randomness: every choice is a keyed hash of what it is about.

Nothing here is a stream that several consumers share. Taking one sample out leaves
every choice about every other sample as it was (DESIGN.md 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from expunge.core.digest import digest

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def seed(*about: str | int) -> int:
    """Derive a 64-bit seed from what it is about.

    >>> seed("shard", 1) == seed("shard", "1")
    False
    """
    parts = [f"{type(part).__name__}:{part}".encode() for part in about]
    return int.from_bytes(digest("seed", *parts)[:8], "little")


def mix(tokens: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """Mix each 64-bit token with a 64-bit key; shape (n,). Vectorised, wraps around.

    The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, figure 17), a
    bijection of the token for each key, so that distinct tokens never tie.
    """
    x = (tokens ^ np.uint64(key)) + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def order(tokens: NDArray[np.uint64], key: int) -> NDArray[np.int64]:
    """Order in which to visit the samples with these tokens; indices, shape (n,).

    Removing a sample removes it from the order and moves nothing else.
    """
    return np.argsort(mix(tokens, key), kind="stable")
