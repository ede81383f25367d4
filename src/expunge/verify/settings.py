"""What an audit is given: everything that is fixed before anything is measured, and rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from expunge.core.errors import InputError
from expunge.metrics import arrays
from expunge.verify.gold_figures import Margins

_LEAST_SHADOWS: Final = 4
_LEAST_RETRAINS: Final = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """What is fixed before anything is measured.

    Attributes:
        shadows: Models of half of the rows; even, at least 4.
        retrains: Models of all rows that remain, with other seeds; at least 2.
        retained: At most so many rows that stay are asked about, drawn by key.
        margin: How far an AUC, or a share of rows and models, may be from its ideal.
        rates: Rates of false alarms, each with how far the share of forgotten rows that stand out
            at it may be above its ideal. The audit rests on the first one.
        accuracy: How far accuracies may be from those of retrained models; share of rows.
        divergence: By how much predictions may be farther from retrained models' than those from
            each other. Unit: nats.
        epsilon: What a lower bound of ε may reach. Unit: nats.
        seed: Of halves, trainings and draws.
        further: How far figures that are not needed to pass may be from retrained models'.
    """

    shadows: int = 16
    retrains: int = 8
    retained: int = 2000
    margin: float = 0.05
    rates: tuple[tuple[float, float], ...] = ((0.01, 0.02), (0.001, 0.01))
    accuracy: float = 0.05
    divergence: float = 0.05
    epsilon: float = 0.5
    seed: int = 0
    further: Margins = field(default_factory=Margins)

    def __post_init__(self) -> None:
        if self.shadows < _LEAST_SHADOWS or self.shadows % 2:
            raise InputError(f"`shadows` must be even and at least 4, got {self.shadows}.")
        if self.retrains < _LEAST_RETRAINS or self.retained < 1:
            raise InputError(
                f"`retrains` must be at least 2 and `retained` at least 1, got {self.retrains} and "
                f"{self.retained}."
            )
        if not 0 < self.margin < 0.5:
            raise InputError(f"`margin` must be above 0 and below 0.5, got {self.margin}.")
        if not all(0 < rate < 0.5 and 0 < margin < 0.5 for rate, margin in self.rates):
            raise InputError(f"`rates` must be pairs above 0 and below 0.5, got {self.rates}.")
        for name in ("accuracy", "divergence", "epsilon"):
            arrays.positive(getattr(self, name), name)
        for name, margin in asdict(self.further).items():
            arrays.positive(margin, name)


@dataclass(frozen=True, slots=True)
class Given:
    """Rows of the caller's own: tables with the view's features and its target.

    Attributes:
        forgot: Those that were forgotten; None: those that are held still.
        unseen: Like rows that were never in the dataset; None where there are none.
        unseen_dataset: Name of another dataset of the home that has such rows, in place of
            ``unseen``.
    """

    forgot: Any = None
    unseen: Any = None
    unseen_dataset: str | None = None

    def __post_init__(self) -> None:
        if self.unseen is not None and self.unseen_dataset is not None:
            raise InputError("Rows that no model saw were given twice. Give a table or a dataset.")
