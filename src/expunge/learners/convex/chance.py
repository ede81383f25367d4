"""Exact chance for privacy: uniform dither, and normal deviates to any number of digits.

Floating-point normal deviates are not normal in their last bits, and that has been used to undo
the privacy that they should give (Mironov 2012). Here a deviate is an integer and a uniform
fraction whose digits are drawn as they are needed, so that its rounding to a grid has
exactly the probabilities of a rounded normal deviate.

Words come from the operating system, are used once, and are kept nowhere: the opposite of
:mod:`expunge.core.rng`.

References:
    Karney, "Sampling exactly from the normal distribution", ACM TOMS 42(1), 2016,
    arXiv:1303.6257, algorithms N, H and B. Mironov, "On significance of the least significant
    bits for differential privacy", CCS 2012.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np
from numpy.typing import NDArray

_WORD: Final = 64
_TOP: Final = 1 << _WORD
_HALF: Final = 1 << (_WORD - 1)


def uniform_words(number: int) -> NDArray[np.uint64]:
    """``number`` uniform 64-bit words, fresh from the operating system."""
    return np.frombuffer(os.urandom(8 * number), np.uint64)


def words() -> Iterator[int]:
    """Uniform 64-bit words without end, fresh from the operating system."""
    while True:
        yield from uniform_words(256).tolist()


@dataclass(frozen=True, slots=True)
class Normal:
    """A standard normal deviate: ±(whole + 0.d₁d₂d₃…), digits of 64 bits, drawn as needed.

    Attributes:
        sign: 1 or -1.
        whole: Integer part of its size.
        digits: Those that were drawn so far; whoever wants more appends them.
    """

    sign: int
    whole: int
    digits: list[int]


def normal(draw: Iterator[int]) -> Normal:
    """A standard normal deviate (algorithm N). Takes about 20 words."""
    while True:
        whole = 0
        while _half(draw):
            whole += 1
        digits: list[int] = []
        if all(_half(draw) for _ in range(whole * (whole - 1))) and all(
            _falls(whole, digits, draw) for _ in range(whole + 1)
        ):
            return Normal(1 if next(draw) & 1 else -1, whole, digits)


def nearest(
    centre: float, sigma: float, exponent: int, deviate: Normal, draw: Iterator[int]
) -> int:
    """The integer nearest to (centre + sigma·deviate)/2^exponent, in exact arithmetic."""
    (a, p), (b, q) = _dyadic(centre, exponent), _dyadic(sigma, exponent)
    for known in count(max(len(deviate.digits), 1)):
        _extend(deviate.digits, known, draw)
        shift = _WORD * known
        size = (deviate.whole << shift) + _fraction(deviate.digits)
        # a/2^p + sign·(b/2^q)·(size/2^shift) + 1/2, over the denominator 2^(p + q + shift + 1)
        base = ((2 * a) + (1 << p)) << (q + shift)
        ends = [(base + ((deviate.sign * b * part) << (p + 1))) for part in (size, size + 1)]
        low, high = (end >> (p + q + shift + 1) for end in ends)
        if low == high:
            return low
    raise AssertionError("count() does not end")


def _half(draw: Iterator[int]) -> bool:
    """True with probability exp(-1/2): how often uniforms fall, from 1/2 on, is even (H)."""
    before = [next(draw)]
    if before[0] >= _HALF:
        return True
    even = False
    while True:
        after: list[int] = []
        if not _less(after, before, draw):
            return even
        before, even = after, not even


def _falls(whole: int, x: list[int], draw: Iterator[int]) -> bool:
    """True with probability exp(-x(2k + x)/(2k + 2)), k = ``whole`` (B)."""
    before, even = x, True
    while True:
        after: list[int] = []
        if not _less(after, before, draw):
            return even
        # Going on with probability (2k + x)/(2k + 2).
        chosen = _below(2 * whole + 2, draw)
        if chosen == 0 or (chosen == 1 and not _less([], x, draw)):
            return even
        before, even = after, not even


def _less(a: list[int], b: list[int], draw: Iterator[int]) -> bool:
    for place in count():
        _extend(a, place + 1, draw)
        _extend(b, place + 1, draw)
        if a[place] != b[place]:
            return a[place] < b[place]
    raise AssertionError("count() does not end")


def _below(limit: int, draw: Iterator[int]) -> int:
    """A uniform integer from 0 to ``limit`` - 1, by rejection."""
    fair = _TOP - _TOP % limit
    while True:
        word = next(draw)
        if word < fair:
            return word % limit


def _extend(digits: list[int], length: int, draw: Iterator[int]) -> None:
    while len(digits) < length:
        digits.append(next(draw))


def _fraction(digits: list[int]) -> int:
    total = 0
    for digit in digits:
        total = (total << _WORD) + digit
    return total


def _dyadic(value: float, exponent: int) -> tuple[int, int]:
    """``value``/2^``exponent`` as (a, p), which is a/2^p with p ≥ 0."""
    above, below = value.as_integer_ratio()
    power = below.bit_length() - 1 + exponent
    return (above, power) if power >= 0 else (above << -power, 0)
