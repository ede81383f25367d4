"""The knobs of post-hoc methods: one name for one thing, and what it may be."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Final

from expunge.core.digest import Json
from expunge.core.errors import InputError


@dataclass(frozen=True, slots=True)
class Span:
    """What a knob may be: numbers from ``low`` to ``high``, whole ones or not.

    Attributes:
        above: ``low`` itself is not allowed.
        whole: Integers only.
        optional: None is allowed, too.
    """

    low: float
    high: float = math.inf
    above: bool = False
    whole: bool = False
    optional: bool = False

    def holds(self, value: object) -> bool:
        """Whether ``value`` is allowed."""
        if value is None:
            return self.optional
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        enough = value > self.low if self.above else value >= self.low
        return math.isfinite(value) and enough and value <= self.high

    def __str__(self) -> str:
        kind = "an integer" if self.whole else "a number"
        least = f"above {self.low:g}" if self.above else f"of at least {self.low:g}"
        most = "" if math.isinf(self.high) else f" and at most {self.high:g}"
        return f"{kind} {least}{most}{', or None' if self.optional else ''}"


_POSITIVE: Final = Span(0, above=True)
_COUNT: Final = Span(1, whole=True)
_NONE_OR_MORE: Final = Span(0, whole=True)
_SHARE: Final = Span(0, 1, above=True)

SPANS: Final[dict[str, Span]] = {
    "alpha": Span(0),
    "batch": _COUNT,
    "ceiling": Span(0, above=True, optional=True),
    "clip": Span(0, above=True, optional=True),
    "dampening": Span(0),
    "epochs": _COUNT,
    "forget_batch": _COUNT,
    "gamma": Span(0),
    "impair_epochs": _COUNT,
    "impair_lr": _POSITIVE,
    "kept_rate": Span(0, 1),
    "lr": _POSITIVE,
    "max_epochs": _NONE_OR_MORE,
    "momentum": Span(0, 0.9999),
    "noise_batches": _COUNT,
    "noise_decay": Span(0),
    "noise_lr": _POSITIVE,
    "noise_steps": _COUNT,
    "penalty": Span(0),
    "repair_epochs": _NONE_OR_MORE,
    "repair_lr": _POSITIVE,
    "retained_per_class": _COUNT,
    "retained_share": _SHARE,
    "retained_weight": _SHARE,
    "selection": _POSITIVE,
    "share": _SHARE,
    "temperature": _POSITIVE,
    "weight_decay": Span(0),
}


def check(method: Any) -> None:  # noqa: ANN401 - any method: a frozen dataclass
    """See that all knobs are what they may be.

    Raises:
        InputError: One is not.
    """
    for field in fields(method):
        value = getattr(method, field.name)
        if not SPANS[field.name].holds(value):
            raise InputError(
                f"`{field.name}` of {method.name!r} must be {SPANS[field.name]}, got {value!r}."
            )


def as_json(method: Any) -> dict[str, Json]:  # noqa: ANN401 - any method: a frozen dataclass
    """The knobs by name."""
    return {field.name: getattr(method, field.name) for field in fields(method)}
