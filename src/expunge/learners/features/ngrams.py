"""Hashed n-grams: how often words, pairs of words or pieces of words stand in a text.

No vocabulary is learnt, so none can remember a word that only a forgotten text had: an
n-gram's place is a keyed hash of it.

References:
    Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009,
    doi:10.1145/1553374.1553516.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from expunge.core import rng
from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column, Kind
from expunge.learners.features.checks import check_between, check_lengths
from expunge.learners.features.columns import MOST_BITS
from expunge.learners.protocol import Features

_WORD: Final = re.compile(r"\w+")
_BLOCK_ROWS = 1 << 12  # rows whose n-grams are remembered together, to be hashed once


@dataclass(frozen=True, slots=True)
class NGrams:
    """Counts of n-grams, each at a hashed place, clipped.

    Texts are put in lower case. Words are runs of letters, digits and underscores; pieces
    are runs of characters within a word with a blank at each of its ends. Several text
    columns have places of their own. Two n-grams may share a place, the more the smaller
    ``features`` is: their counts are added. So pairs of words, and pieces, are worth their
    while from some 16,384 places on; with 4,096 single words alone do better.

    Costs about 2 µs per n-gram. A Python with another edition of Unicode may lower and
    split rare characters in another way: it is another runtime.
    Fails with :class:`RecipeInvalid` on columns that hold no text.

    Attributes:
        features: How many places, shared by all columns.
        words: Least and greatest number of words of an n-gram, or None for none.
        characters: Least and greatest number of characters of a piece, or None for none.
        bits: Of a count, 1 to 15; greater counts are clipped. 1 says only what occurs.
        seed: Of the hash.
    """

    features: int = 4096
    words: tuple[int, ...] | None = (1, 1)
    characters: tuple[int, ...] | None = None
    bits: int = 4
    seed: int = 0

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    def __post_init__(self) -> None:
        check_between("features", self.features, 1, 1 << 24)
        check_between("bits", self.bits, 1, MOST_BITS)
        for name, lengths in (("words", self.words), ("characters", self.characters)):
            if lengths is not None:
                check_lengths(name, lengths)
        if self.words is None and self.characters is None:
            raise RecipeInvalid("Neither `words` nor `characters` are counted. Give one of them.")

    def width(self, columns: Sequence[Column]) -> int:
        """Features of a row."""
        if not columns:
            raise RecipeInvalid("The view has no feature columns. Name at least one in `features`.")
        for column in columns:
            if column.kind is not Kind.TEXT:
                raise RecipeInvalid(
                    f"Column {column.name!r} is {column.kind.value}, and n-grams take text. Leave "
                    f"it out of the view's `features`, or use the feature map `columns`."
                )
        return self.features

    def top(self, columns: Sequence[Column]) -> int:
        """Greatest count; the least is 0."""
        return int((1 << self.bits) - 1)

    def scale(self, columns: Sequence[Column]) -> float:
        """One unit is one occurrence."""
        return 1.0

    def integers(self, columns: Sequence[Column], features: Features) -> NDArray[np.int16]:
        """Count in each row by itself; (n, ``features``), from 0 to :meth:`top`."""
        self.width(columns)
        rows, top = len(features[columns[0].name]), self.top(columns)
        out = np.empty((rows, self.features), np.int16)
        for begin in range(0, rows, _BLOCK_ROWS):
            places = _Places(self)
            for row in range(begin, min(begin + _BLOCK_ROWS, rows)):
                found = [
                    places[column.name, gram]
                    for column in columns
                    for gram in self._grams(features[column.name][row])
                ]
                counts = np.bincount(np.array(found, np.int64), minlength=self.features)
                np.minimum(counts, top, out=out[row], casting="unsafe")
        return out

    def _grams(self, text: str) -> Iterator[str]:
        words = _WORD.findall(text.lower())
        if self.words is not None:
            yield from map(" ".join, _runs(words, *self.words))
        if self.characters is not None:
            for word in words:
                # No word has a NUL, so that no piece is taken for a word.
                yield from (f"\0{piece}" for piece in _runs(f" {word} ", *self.characters))


def _runs(whole: Sequence[str], least: int, most: int) -> Iterator[Sequence[str]]:
    """All runs of ``least`` to ``most`` items, short ones first."""
    for length in range(least, most + 1):
        for begin in range(len(whole) - length + 1):
            yield whole[begin : begin + length]


class _Places(dict[tuple[str, str], int]):
    """(Column, n-gram) → place, hashed when first asked for."""

    def __init__(self, grams: NGrams) -> None:
        super().__init__()
        self._features = grams.features
        self._key = rng.seed("features", "ngrams", grams.seed).to_bytes(8, "little")

    def __missing__(self, key: tuple[str, str]) -> int:
        column, gram = (part.encode(errors="surrogatepass") for part in key)
        parts = len(column).to_bytes(4, "little") + column + gram
        hashed = blake2b(parts, digest_size=8, key=self._key).digest()
        place = self[key] = int.from_bytes(hashed, "little") % self._features
        return place
