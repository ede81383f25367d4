"""Random integers for directions and filters: keyed, and the same on every machine.

No logarithm and no cosine stands between the key and the number, because libraries round
these differently; what is drawn is a sum of uniform integers.

References:
    Irwin, "On the Frequency Distribution of the Means of Samples from a Population Having
    any Law of Frequency with Finite Moments", Biometrika 1927, doi:10.2307/2331960: twelve
    uniform parts have a variance of 1, and are nearly Gaussian.
"""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from expunge.core import rng

ONE: Final = 1 << 16
"""Standard deviation of :func:`normals`."""

_WORDS = 3  # 64 bits each, of four uniform parts: twelve in all
_HALF = 12 * (ONE - 1) // 2  # the mean of twelve parts, which is whole


def uniforms(shape: tuple[int, ...], *about: str | int) -> NDArray[np.int64]:
    """Whole numbers below :data:`ONE`, all equally likely."""
    return (_words(prod(shape), *about) >> np.uint64(48)).astype(np.int64).reshape(shape)


def normals(shape: tuple[int, ...], *about: str | int) -> NDArray[np.int64]:
    """Nearly Gaussian whole numbers: mean 0, deviation :data:`ONE`, at most 6 deviations.

    >>> drawn = normals((100_000,), "an example")
    >>> bool(abs(drawn.mean()) < 0.02 * ONE and abs(drawn.std() / ONE - 1) < 0.02)
    True
    """
    count = prod(shape)
    parts = _words(count * _WORDS, *about).astype("<u8", copy=False).view("<u2")
    sums: NDArray[np.int64] = parts.reshape(count, 12).sum(axis=1, dtype=np.int64)
    return (sums - _HALF).reshape(shape)


def _words(count: int, *about: str | int) -> NDArray[np.uint64]:
    return rng.mix(np.arange(count, dtype=np.uint64), rng.seed("features", *about))
