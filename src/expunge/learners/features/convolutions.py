"""Random convolutions: what small random filters answer, averaged over parts of an image.

Nothing is learnt but the linear model on top, and that is enough for simple images: 4,000
features and ridge regression beat a plain network on Fashion-MNIST.

Filters are whole numbers drawn from the seed. Pixels of 8 bits times a filter's entries are
summed by a matrix product in float32, and rectified answers are summed over patches, in
groups so small that no sum reaches 2²⁴, to where float32 counts by ones. So any order of
adding, fused or not, gives the same integer. (Winograd's and Fourier's convolutions would
not: they multiply other numbers. There are none here.) The root of a sum is one IEEE
operation per element.

References:
    Coates, Lee and Ng, "An Analysis of Single-Layer Networks in Unsupervised Feature
    Learning", AISTATS 2011, https://proceedings.mlr.press/v15/coates11a.html: all patches,
    a rectified answer, sums over the parts of the image.
    Saxe et al., "On Random Weights and Unsupervised Feature Learning", ICML 2011,
    https://icml.cc/2011/papers/551_icmlpaper.pdf: random filters do nearly as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from math import prod, sqrt
from typing import ClassVar, Final, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column
from expunge.learners.features import draws
from expunge.learners.features.checks import check_between, check_positive, check_shape
from expunge.learners.features.columns import MOST_BITS, check_numbers, numbers
from expunge.learners.protocol import Features

Part: TypeAlias = tuple[slice, slice]
"""Rows and columns of patches that are averaged into one cell of the grid."""

_PIXEL = 255  # the greatest: pixels have 8 bits
_DEVIATION = 4  # of a filter's entries, which are whole: finer ones are no better
_EXACT: Final = 1 << 24  # float32 holds every whole number to here
_BLOCK_CELLS = 1 << 19  # answers at a time, 2 MiB of float32: about what a core's cache holds


@dataclass(frozen=True, slots=True)
class Convolutions:
    """Random filters over an image, both signs rectified, averaged over a coarse grid.

    For a patch x and a filter f of mean 0 (up to rounding) there are two answers,
    max(f·x, 0) and max(-f·x, 0). Each is averaged over the patches in every cell of the
    grid; a feature is the root of that average, rounded to ``bits`` and clipped. The root
    makes few bits go far: it spreads low answers, which are many.

    Takes one tensor column of shape (height, width) or (height, width, channels), or, with
    ``shape``, any columns of numbers that are the pixels in that order. Pixels are rounded
    to 8 bits by each column's declared range (bytes stay as they are); a missing one is 0.

    Costs patches · taps · ``filters`` / 2 multiplications for an image; 60,000 images of
    28 x 28 take 8 s on one core with the defaults. Memory beside the result is
    some MB: the patches of one image in one cell of the grid, if that is more.
    Fails with :class:`RecipeInvalid` where columns are no image, or the image is too small.

    Attributes:
        filters: Answers in each cell of the grid, an even number: two of each random filter.
            There are ``filters`` · ``pool``² features.
        size: Pixels on a side of a filter.
        pool: Cells on a side of the grid.
        stride: Pixels from patch to patch.
        bits: Of a feature, 1 to 15.
        full: The average answer at which a feature is full, as a part of the range of pixels
            for a filter of norm 1. Greater ones are clipped.
        shape: Of an image whose columns are flat, else None.
        seed: Of the filters.
    """

    filters: int = 160
    size: int = 5
    pool: int = 5
    stride: int = 1
    bits: int = 7
    full: float = 0.5
    shape: tuple[int, ...] | None = None
    seed: int = 0

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    def __post_init__(self) -> None:
        check_between("filters", self.filters, 2, 1 << 16)
        if self.filters % 2:
            raise RecipeInvalid(f"`filters` is even (a filter has two), got {self.filters}.")
        check_between("size", self.size, 2, 32)
        check_between("pool", self.pool, 1, 64)
        check_between("stride", self.stride, 1, 64)
        check_between("bits", self.bits, 1, MOST_BITS)
        check_positive("full", self.full)
        if self.shape is not None:
            check_shape(self.shape)

    def width(self, columns: Sequence[Column]) -> int:
        """Features of a row."""
        self._image(columns)
        return self.filters * self.pool**2

    def top(self, columns: Sequence[Column]) -> int:
        """Greatest value of a feature; the least is 0."""
        return int((1 << self.bits) - 1)

    def scale(self, columns: Sequence[Column]) -> float:
        """One unit, as the root of an average answer (range of pixels, filters of norm 1)."""
        return sqrt(self.full) / self.top(columns)

    def integers(self, columns: Sequence[Column], features: Features) -> NDArray[np.int16]:
        """Map images, each by itself; (n, :meth:`width`), from 0 to :meth:`top`.

        Features are in the order (row of the grid, column, sign, filter).
        """
        shape = self._image(columns)
        parts = self._parts(shape)
        out = np.empty((len(features[columns[0].name]), len(parts), self.filters), np.int16)
        bank = _bank(self.seed, self.size, shape[2], self.filters // 2)
        group = min(_group(bank), max(_BLOCK_CELLS // max(bank.shape), 1))
        patches = max((rows.stop - rows.start) * (cols.stop - cols.start) for rows, cols in parts)
        block = max(_BLOCK_CELLS // (patches * max(bank.shape)), 1)
        for begin in range(0, len(out), block):
            rows = slice(begin, begin + block)
            windows = self._windows(_pixels(columns, features, rows).reshape(-1, *shape))
            for index, part in enumerate(parts):
                self._average(windows[:, *part], bank, group, out[rows, index])
        return out.reshape(len(out), len(parts) * self.filters)

    def _image(self, columns: Sequence[Column]) -> tuple[int, int, int]:
        """Height, width and channels."""
        shape = _shape(columns) if self.shape is None else self.shape
        pixels = 0
        for column in columns:
            check_numbers(column)
            pixels += prod(column.shape)
        if pixels != prod(shape):
            raise RecipeInvalid(
                f"The view's features have {pixels} cells, and an image of shape {tuple(shape)} "
                f"has {prod(shape)}. Name the image's columns alone in `features`."
            )
        least = self.size + (self.pool - 1) * self.stride
        if min(shape[:2]) < least:
            raise RecipeInvalid(
                f"Images of {shape[0]} x {shape[1]} pixels are too small for filters of size "
                f"{self.size} on a grid of {self.pool} x {self.pool}, which need {least} on a "
                f"side. Choose a smaller `size` or `pool`."
            )
        return shape[0], shape[1], shape[2] if len(shape) == 3 else 1

    def _parts(self, shape: tuple[int, int, int]) -> list[Part]:
        edges = []
        for side in shape[:2]:
            patches = (side - self.size) // self.stride + 1
            cuts = [patches * cell // self.pool for cell in range(self.pool + 1)]
            edges.append([slice(begin, end) for begin, end in pairwise(cuts)])
        return list(product(*edges))

    def _windows(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """A view of all patches: (n, rows, columns, channels, size, size)."""
        patches = sliding_window_view(images, (self.size, self.size), axis=(1, 2))
        return patches[:, :: self.stride, :: self.stride]

    def _average(
        self,
        patches: NDArray[np.float32],
        bank: NDArray[np.float32],
        group: int,
        out: NDArray[np.int16],
    ) -> None:
        images, taps, top = len(patches), len(bank), (1 << self.bits) - 1
        flat = patches.reshape(images, -1, taps)
        unit = flat.shape[1] * (_PIXEL * _DEVIATION * sqrt(taps)) * self.full / top**2
        for sign, sums in enumerate(_sums(flat, bank, group)):
            roots = np.rint(np.sqrt(sums / unit))
            np.minimum(roots, top, out=roots)
            out[:, sign * bank.shape[1] : (sign + 1) * bank.shape[1]] = roots


def _shape(columns: Sequence[Column]) -> tuple[int, ...]:
    if len(columns) != 1 or len(columns[0].shape) not in {2, 3}:
        raise RecipeInvalid(
            f"Convolutions take one column of images, shaped (height, width) or (height, width, "
            f"channels), and the view has {len(columns)} feature columns. Name that one in "
            f"`features`, or give the `shape` of images whose pixels are flat."
        )
    return columns[0].shape


def _pixels(columns: Sequence[Column], features: Features, rows: slice) -> NDArray[np.float32]:
    cells = [numbers(column, features[column.name][rows], _PIXEL) for column in columns]
    return np.concatenate(cells, axis=1, dtype=np.float32)


def _sums(
    patches: NDArray[np.float32], bank: NDArray[np.float32], group: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums over patches (n, patches, taps) of max(f·x, 0), and of max(-f·x, 0); whole numbers.

    Groups of as many answers are added in float32, and the groups in float64.
    """
    images, count, taps = patches.shape
    filters = bank.shape[1]
    above, all_of = np.zeros((images, filters)), np.zeros((images, filters))
    for begin in range(0, count, group):
        some = patches[:, begin : begin + group].reshape(-1, taps)
        answers = (some @ bank).reshape(images, -1, filters)
        all_of += answers.sum(axis=1)
        np.maximum(answers, 0, out=answers)
        above += answers.sum(axis=1)
    return above, above - all_of  # as max(-a, 0) = max(a, 0) - a


def _group(bank: NDArray[np.float32]) -> int:
    """How many answers of this bank can be added in float32, each as great as can be.

    Every partial sum, in any order, lies between the sums of the terms below and above 0.
    """
    sides = (np.maximum(bank, 0).sum(axis=0), np.maximum(-bank, 0).sum(axis=0))
    return _EXACT // (_PIXEL * max(int(np.max(sides)), 1))


@lru_cache(maxsize=4)
def _bank(seed: int, size: int, channels: int, filters: int) -> NDArray[np.float32]:
    """Filters as columns: whole numbers of deviation 4 and mean 0; (taps, filters)."""
    taps = size * size * channels
    drawn = np.stack(
        [
            draws.normals((filters,), "convolutions", seed, size, channels, tap)
            for tap in range(taps)
        ]
    )
    # Rounded once, of integers: (drawn - mean) · deviation / ONE.
    below = draws.ONE * taps
    whole = ((drawn * taps - drawn.sum(axis=0)) * _DEVIATION + below // 2) // below
    bank: NDArray[np.float32] = whole.astype(np.float32)
    bank.flags.writeable = False
    if not _group(bank):
        raise RecipeInvalid(
            f"Filters of {taps} taps have sums that float32 cannot count. Choose a smaller `size`."
        )
    return bank
