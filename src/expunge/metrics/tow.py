"""Tug of war: accuracy on forgotten, retained and unseen rows at once, against retraining.

References:
    Zhao, Kurmanji, Bărbulescu, Triantafillou and Triantafillou, "What makes unlearning hard and
    what to do about it", NeurIPS 2024, arXiv:2406.01257, section 3 (ToW) and appendix (ToW-MIA).
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

from expunge.core.errors import InputError


@dataclass(frozen=True, slots=True)
class Figures:
    """One model's figures on three groups of rows, each in [0, 1], all of one kind.

    Attributes:
        forget: Accuracy on forgotten rows; for ToW-MIA, an attack's success on them.
        retain: Accuracy on rows that stay.
        test: Accuracy on rows never seen.
    """

    forget: float
    retain: float
    test: float

    def __post_init__(self) -> None:
        if not all(0 <= each <= 1 for each in astuple(self)):
            raise InputError(f"{self}: expected shares in [0, 1], not percent.")


def tow(unlearned: Figures, retrained: Figures) -> float:
    """Product of 1 − |difference| over the groups, in [0, 1].

    1 is ideal, and only one retraining's: two of them score less by as much as they differ, so
    put :func:`tow` of two retrainings beside it. It sees averages, and no single row.
    """
    pairs = zip(astuple(unlearned), astuple(retrained), strict=True)
    return float(math.prod(1 - abs(a - b) for a, b in pairs))
