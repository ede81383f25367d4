"""What models answered about rows, and figures of one model beside those of retrained ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from expunge.metrics.arrays import Labels, Numbers
from expunge.verify import beside
from expunge.verify.report import Check, Group
from expunge.verify.score_plan import Ask, judged, unanswered

T = TypeVar("T")

ROWS: Final[Mapping[str, str]] = {
    "forgotten": "forgotten rows",
    "retained": "rows that stay",
    "unseen": "unseen rows",
}
"""Groups of rows, in words."""
GROUPS: Final[Mapping[str, Group]] = {
    "forgotten": "gold-standard",
    "retained": "retained",
    "unseen": "utility",
}
"""Where figures of them stand in a report."""
FARTHER: Final = ("it is farther from retrained models than these from each other", "")


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What models answered about one group of rows.

    Attributes:
        classes: True ones, (n,).
        served: Probabilities of the audited model, (n, classes).
        retrained: Of retrained models, (retrained, n, classes).
        phi: How sure the audited model is of the truth, (n,).
        retrained_phi: The same of retrained ones, (retrained, n).
    """

    classes: Labels
    served: Numbers
    retrained: Numbers
    phi: Numbers
    retrained_phi: Numbers

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def models(self) -> list[Numbers]:
        """Probabilities: of the audited model, and behind it of retrained ones."""
        return [self.served, *self.retrained]

    @property
    def accuracies(self) -> list[float]:
        """How often they are right, in the same order."""
        return [float((each.argmax(axis=1) == self.classes).mean()) for each in self.models]


@dataclass(frozen=True, slots=True)
class Rule:
    """How a figure is judged.

    Attributes:
        margin: How far from retrained models is near enough; fixed beforehand.
        words: What more and less than retrained models have mean.
        least: What the figure is known to at best; deterministic trainings do not vary at all.
        fewest: Retrained models that it takes.
        upper: Whether only more is worse.
    """

    margin: float
    words: tuple[str, str]
    least: float
    fewest: int = 3
    upper: bool = False


def compared(ask: Ask, figures: Sequence[float], rows: int, rule: Rule) -> Check:
    """A model's figure, the first, beside those of retrained models behind it."""
    value, *again = figures
    if len(again) < rule.fewest:
        few = "It takes three retrained models to compare them with each other."
        return unanswered(ask, beside.TOO_FEW if rule.fewest == 2 else few)
    counts = {"rows": rows}
    found = beside.found(value, again, counts, rule.words, rule.margin, least=rule.least)
    return judged(ask, found, rule.margin, upper=rule.upper)


def distances(models: Sequence[T], distance: Callable[[T, T], float]) -> list[float]:
    """Mean distance of each model from the retrained ones, itself left out: the audited one first.

    Of the audited one alone, where there are fewer than two to be compared with each other.
    """
    served, *others = models
    far = [_mean(distance, served, others)] if others else [0.0]
    if len(others) < 2:
        return far
    return far + [
        _mean(distance, each, [*others[:at], *others[at + 1 :]]) for at, each in enumerate(others)
    ]


def _mean(distance: Callable[[T, T], float], one: T, others: Sequence[T]) -> float:
    return float(np.mean([distance(one, each) for each in others]))
