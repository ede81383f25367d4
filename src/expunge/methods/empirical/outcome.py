"""What comes out of post-hoc methods and of the search among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from expunge.core.digest import Json
from expunge.core.errors import ForgettingNotAchieved
from expunge.core.types import Guarantee


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One candidate, and what came of it.

    Attributes:
        method: Name in the catalogue.
        knobs: What was set.
        steps: Of descent; 0 where it ended with an error.
        seconds: That it took.
        accuracy_points: Lost on the choosing half; None where it ended with an error.
        forget_auc: Two-sided, on the choosing half; likewise.
        outcome: "kept", "not kept", "out of time", or the error that ended it.
    """

    method: str
    knobs: Mapping[str, Json]
    steps: int
    seconds: float
    accuracy_points: float | None
    forget_auc: float | None
    outcome: str


@dataclass(frozen=True, slots=True, eq=False)
class Forgotten:
    """A network after a post-hoc method. Nothing is promised of it; audit it.

    Attributes:
        module: The new network, in the modes of the one that was given.
        method: Name in the catalogue.
        knobs: What was set, by name.
        seed: Of all its chance.
        steps: Of descent; dampening takes none.
        seconds: That it took.
        finished: False where the budget ended, or ``watch`` ended it; what was done by then
            is in ``module``.
        before: Figures of the network as it was given; where they were measured.
        after: The same of ``module``.
        tried: All candidates, where it was searched for.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    achieved: ClassVar[bool] = True

    module: nn.Module
    method: str
    knobs: Mapping[str, Json]
    seed: int
    steps: int
    seconds: float
    finished: bool
    before: Mapping[str, float] | None = None
    after: Mapping[str, float] | None = None
    tried: tuple[Trial, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class NotAchieved:
    """No candidate kept the constraints. There is no network in here.

    Attributes:
        why: In words.
        tried: All candidates, in order.
        before: Figures of the network as it was given, and still is.
    """

    achieved: ClassVar[bool] = False

    why: str
    tried: tuple[Trial, ...]
    before: Mapping[str, float]

    @property
    def module(self) -> nn.Module:
        """There is none.

        Raises:
            ForgettingNotAchieved: Always.
        """
        raise ForgettingNotAchieved(self.why, len(self.tried))
