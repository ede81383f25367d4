"""Random Fourier features: a linear model on them is a kernel machine with a Gaussian kernel.

Inputs are whole numbers, directions are whole numbers, and their products are summed in
float64 below 2⁵³, to where it counts by ones. The phase is that sum modulo a full turn,
which is a power of two; its cosine stands in a table of integers.

References:
    Rahimi and Recht, "Random Features for Large-Scale Kernel Machines", NIPS 2007, section
    3, https://papers.nips.cc/paper/3182-random-features-for-large-scale-kernel-machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi, sqrt
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column
from expunge.learners.features import draws
from expunge.learners.features.checks import check_between, check_positive
from expunge.learners.features.columns import MOST_BITS, Columns
from expunge.learners.protocol import Features

_INPUTS = Columns(bits=12)
_TURN = 1 << 16  # phases in a full turn: what the table has
_FINER = 16  # bits by which a direction is finer than a phase
_EXACT: Final = 1 << 53  # float64 holds every whole number to here
_BLOCK_CELLS = 1 << 20  # phases at a time: 8 MiB, and the same again


@dataclass(frozen=True, slots=True)
class Fourier:
    """Cosines of random projections: cos(w·x / bandwidth + phase), w Gaussian.

    The product of two rows' features, times :meth:`scale`², is about
    exp(-‖x - x'‖² / (2·σ²)), where x are the columns as :class:`Columns` has them (12 bits,
    a range is 1 long) and σ is ``bandwidth`` times the diagonal of their box, √(width of x).

    Costs n · width of x · ``features`` multiplications, and one table look-up per feature;
    60,000 rows of 784 cells and 4,096 features take 9 s on one core. Memory beside the
    result is the directions (8 bytes each) and about 20 MB.
    Fails with :class:`RecipeInvalid` as :class:`Columns` does.

    Attributes:
        features: How many.
        bits: Of a feature with its sign, 2 to 15.
        bandwidth: Of the kernel, as a part of the diagonal. Smaller is more local.
        seed: Of the directions and phases.
    """

    features: int = 1024
    bits: int = 8
    bandwidth: float = 0.25
    seed: int = 0

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    def __post_init__(self) -> None:
        check_between("features", self.features, 1, 1 << 20)
        check_between("bits", self.bits, 2, MOST_BITS)
        check_positive("bandwidth", self.bandwidth)

    def width(self, columns: Sequence[Column]) -> int:
        """Features of a row."""
        _INPUTS.width(columns)
        return self.features

    def top(self, columns: Sequence[Column]) -> int:
        """Greatest absolute value of a feature."""
        return int((1 << self.bits - 1) - 1)

    def scale(self, columns: Sequence[Column]) -> float:
        """One unit, for features whose products are the kernel."""
        return sqrt(2 / self.features) / self.top(columns)

    def integers(self, columns: Sequence[Column], features: Features) -> NDArray[np.int16]:
        """Map rows, each by itself; (n, ``features``), within ±:meth:`top`."""
        width = _INPUTS.width(columns)
        directions = _directions(self.seed, width, self.features, self.bandwidth)
        begins = draws.uniforms((self.features,), "fourier", "phases", self.seed) << _FINER
        table = _cosines(self.top(columns))
        out = np.empty((len(features[columns[0].name]), self.features), np.int16)
        block = max(_BLOCK_CELLS // max(self.features, width), 1)
        for begin in range(0, len(out), block):
            rows = {c.name: features[c.name][begin : begin + block] for c in columns}
            inputs = _INPUTS.integers(columns, rows).astype(np.float64)
            phases = (inputs @ directions).astype(np.int64)
            phases += begins
            phases >>= _FINER
            phases &= _TURN - 1
            np.take(table, phases, out=out[begin : begin + block], mode="clip")
        return out


@lru_cache(maxsize=2)
def _directions(seed: int, width: int, features: int, bandwidth: float) -> NDArray[np.float64]:
    """Gaussian whole numbers: parts of a phase per unit of an input; (width, features)."""
    unit = 2 * pi * _INPUTS.top(()) * bandwidth * sqrt(width)
    # Two roundings per element, each as IEEE 754 has it.
    factor = (_TURN << _FINER) / unit / draws.ONE
    directions = np.empty((width, features))
    for index in range(width):
        drawn = draws.normals((features,), "fourier", "directions", seed, index)
        np.rint(drawn * factor, out=directions[index])
    if not np.abs(directions).sum(axis=0).max() * _INPUTS.top(()) < _EXACT:
        raise RecipeInvalid(
            f"A bandwidth of {bandwidth} over {width} inputs has phases that float64 cannot "
            f"count. Choose a greater `bandwidth`."
        )
    directions.flags.writeable = False
    return directions


@lru_cache(maxsize=4)
def _cosines(top: int) -> NDArray[np.int16]:
    """``round(top · cos(phase))``; (_TURN,).

    No value lies as near to a half as a library's cosine may be wrong (a test looks at all),
    so the table is the same everywhere.
    """
    values = [round(top * cos(2 * pi * phase / _TURN)) for phase in range(_TURN)]
    table = np.array(values, np.int16)
    table.flags.writeable = False
    return table
