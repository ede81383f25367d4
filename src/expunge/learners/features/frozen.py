"""Features of a frozen network: any function that was never trained on these samples.

Floating-point networks round differently in batches of another shape. So the function sees
one row at a time, always in the same shape, and what it answers is rounded to a few bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column
from expunge.learners.features.checks import check_between
from expunge.learners.features.columns import MOST_BITS, quantise
from expunge.learners.protocol import Features

_LINE = 64  # bytes of a cache line, and of the widest vector


@dataclass(frozen=True, slots=True)
class Frozen:
    """What a function of one row says, each value rounded to bits of a range.

    The function takes a dict of columns' cells, every array with exactly one row, and gives
    ``features`` floats, (1, ``features``) or (``features``,). It must have no state: no
    dropout, no statistics of batches, no random draw. Its answer v becomes
    ``round((v - low) / (high - low) · (2^bits - 1))``, clipped; NaN becomes 0.

    Costs one call per row: some 0.1 to 10 ms each, so hours for a million rows. Where the
    embedding can be computed before ingest, store it as a tensor column with a declared
    range and use :class:`~expunge.learners.features.columns.Columns`: that is the fast way.

    Its integers are exact as long as the function gives the same floats for the same row:
    on one thread, with one version of its libraries and weights, on one kind of processor.
    Name those libraries beside yours where you pin a runtime: this map cannot know them.
    Fails with :class:`RecipeInvalid` where the function cannot be imported, or answers in
    another width.

    Attributes:
        function: ``package.module:name``; workers import it by that.
        features: Width of its answer.
        low: Answers below are clipped.
        high: Answers above are clipped.
        bits: Of a feature, 1 to 15.
    """

    function: str
    features: int
    low: float
    high: float
    bits: int = 8

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    def __post_init__(self) -> None:
        check_between("features", self.features, 1, 1 << 20)
        check_between("bits", self.bits, 1, MOST_BITS)
        if not -1e30 < self.low < self.high < 1e30:
            raise RecipeInvalid(
                f"`low` is a finite number below `high`, got {self.low!r} and {self.high!r}."
            )
        if self.function.count(":") != 1:
            raise RecipeInvalid(f"`function` is `package.module:name`, got {self.function!r}.")

    def width(self, columns: Sequence[Column]) -> int:
        """Features of a row."""
        if not columns:
            raise RecipeInvalid("The view has no feature columns. Name at least one in `features`.")
        return self.features

    def top(self, columns: Sequence[Column]) -> int:
        """Greatest value of a feature; the least is 0, for ``low``."""
        return int((1 << self.bits) - 1)

    def scale(self, columns: Sequence[Column]) -> float:
        """One unit, in the function's own unit."""
        return (self.high - self.low) / self.top(columns)

    def integers(self, columns: Sequence[Column], features: Features) -> NDArray[np.int16]:
        """Ask the function for each row by itself; (n, ``features``), from 0 to :meth:`top`."""
        self.width(columns)
        function, top = self._function(), self.top(columns)
        out = np.empty((len(features[columns[0].name]), self.features), np.int16)
        for row in range(len(out)):
            cells = {c.name: _aligned(features[c.name][row : row + 1]) for c in columns}
            answer = np.asarray(function(cells))
            if answer.shape not in {(1, self.features), (self.features,)}:
                raise RecipeInvalid(
                    f"`{self.function}` answers in shape {answer.shape} for one row, and "
                    f"`features` says {self.features}. Correct one of them."
                )
            quantise(answer.reshape(1, -1), self.low, self.high, top, out[row : row + 1])
        return out

    def _function(self) -> Callable[[dict[str, NDArray[Any]]], Any]:
        try:
            function = resolve_name(self.function)
        except (ImportError, AttributeError, ValueError) as problem:
            raise RecipeInvalid(
                f"`{self.function}` cannot be imported: {problem}. Define it at the top level of "
                f"a module that workers can import."
            ) from problem
        if not callable(function):
            raise RecipeInvalid(f"`{self.function}` is no function, but a {type(function)}.")
        return function  # type: ignore[no-any-return]  # whatever it is, its answer is looked at


def _aligned(cells: NDArray[Any]) -> NDArray[Any]:
    """A copy that begins at a whole cache line, wherever the row lay among the others.

    Vectorised sums begin with what lies before the first whole vector, so that another
    address may be another order of adding.
    """
    if cells.dtype.hasobject:
        return cells.copy()
    room = np.empty(cells.nbytes + _LINE, np.uint8)
    begin = -room.ctypes.data % _LINE
    copy = room[begin : begin + cells.nbytes].view(cells.dtype).reshape(cells.shape)
    copy[...] = cells
    return copy
