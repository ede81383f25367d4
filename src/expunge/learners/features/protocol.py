"""The socket of a feature map: rows become small integers, each row by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from expunge.core.types import Column
from expunge.learners.protocol import Features


class FeatureMap(Protocol):
    """A function from one row to integers, the same whenever it is computed again.

    Sums over integers can be taken back, if the integers of a sample that leaves are those
    with which it came. So a map is exact by construction: sums of products stay below 2²⁴ in
    float32, or 2⁵³ in float64, where any order of adding gives the same; all else is integer
    arithmetic, a table, or one IEEE operation per element. Nothing is fitted: directions,
    filters and ranges come from the fields and the declared columns. A map is a frozen
    dataclass whose fields are JSON values, and stands in the recipe.

    Attributes:
        revision: Of what it computes; part of the recipe.
        libraries: The distributions whose versions its integers depend on; part of the runtime.
    """

    revision: ClassVar[int]
    libraries: ClassVar[tuple[str, ...]]

    def width(self, columns: Sequence[Column]) -> int:
        """Features of a row.

        Raises:
            RecipeInvalid: The map cannot take these columns.
        """
        ...

    def top(self, columns: Sequence[Column]) -> int:
        """Greatest absolute value that a feature can have; at most 32,767."""
        ...

    def scale(self, columns: Sequence[Column]) -> float:
        """What one unit is worth: a feature's value for people is integer × scale."""
        ...

    def integers(self, columns: Sequence[Column], features: Features) -> NDArray[np.int16]:
        """Map rows, each by itself; (n, :meth:`width`), no entry above :meth:`top`."""
        ...
