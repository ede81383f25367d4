"""Where each method's knobs are searched: ranges about the defaults, and keyed draws from them.

The first draw of a method is its defaults. The others are independent, so that a search may be
stopped anywhere; :func:`near` goes on from the best of them. The ranges are our choice, about one
power of ten around published values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from expunge.core import rng
from expunge.core.errors import UnknownName
from expunge.methods.empirical import POSTHOC
from expunge.methods.empirical.protocol import Posthoc


@dataclass(frozen=True, slots=True)
class Range:
    """Values from ``low`` to ``high``, evenly in their logarithm; whole numbers if both are.

    Attributes:
        below_one: Evenly in the logarithm of what they lack to one, for weights close to it.
    """

    low: float
    high: float
    below_one: bool = False

    def at(self, place: float) -> float:
        """The value at a place in [0, 1)."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return self.low + int(place * (self.high - self.low + 1))
        if self.below_one:
            return float(1 - (1 - self.low) * ((1 - self.high) / (1 - self.low)) ** place)
        return float(self.low * (self.high / self.low) ** place)

    def place(self, value: float) -> float:
        """Where a value is, from 0 to 1: what :meth:`at` takes."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return (value - self.low + 0.5) / (self.high - self.low + 1)
        if self.below_one:
            return math.log((1 - value) / (1 - self.low)) / math.log(
                (1 - self.high) / (1 - self.low)
            )
        return math.log(value / self.low) / math.log(self.high / self.low)


_STEP: Final = 0.2  # of a range, on either side
_LAST: Final = 1 - 1e-9  # places are below 1

_EPOCHS: Final = Range(2, 10)
_WEIGHT: Final = Range(0.7, 0.998, below_one=True)
# Few rows to forget are few steps in batches of a usual size, so that size is searched, too.
_FORGET_BATCH: Final = Range(2, 32)
_LABELS: Final = {"lr": Range(1e-3, 5e-2), "epochs": _EPOCHS, "forget_batch": _FORGET_BATCH}
_SCRUB: Final = {
    "lr": Range(1e-4, 1e-2),
    "forget_batch": _FORGET_BATCH,
    "epochs": Range(3, 10),
    "max_epochs": Range(1, 5),
    "alpha": Range(0.01, 1.0),
}

SPACES: Final[Mapping[str, Mapping[str, Range]]] = {
    "bad-teacher": {"lr": Range(3e-5, 3e-3), "epochs": Range(1, 5), "temperature": Range(1.0, 4.0)},
    "ct": {"lr": Range(1e-3, 1e-1), "epochs": _EPOCHS},
    "fine-tuning": {"lr": Range(3e-3, 1e-1), "epochs": _EPOCHS},
    "gradient-ascent": {
        "lr": Range(1e-5, 1e-2),
        "epochs": Range(1, 10),
        "repair_lr": Range(1e-3, 5e-2),
        "repair_epochs": Range(0, 4),
    },
    "l1-sparse": {"penalty": Range(1e-5, 1e-3), "lr": Range(3e-3, 1e-1), "epochs": _EPOCHS},
    "msg": {"lr": Range(1e-3, 1e-1), "share": Range(0.1, 0.6), "epochs": _EPOCHS},
    "neg-grad-plus": {
        "retained_weight": _WEIGHT,
        "lr": Range(1e-3, 5e-2),
        "epochs": _EPOCHS,
    },
    "random-labels": _LABELS,
    "salun": {
        "share": Range(0.2, 1.0),
        "retained_weight": _WEIGHT,
        "lr": Range(1e-3, 5e-2),
        "epochs": _EPOCHS,
    },
    "scrub": _SCRUB,
    "scrub-r": _SCRUB,
    "ssd": {"selection": Range(1.0, 100.0), "dampening": Range(0.1, 1.0)},
    "unsir": {"impair_lr": Range(1e-4, 2e-2), "repair_lr": Range(1e-4, 1e-2)},
}


def drawn(name: str, number: int, seed: int) -> Posthoc:
    """Draw ``number`` of a method's knobs; 0 is its defaults.

    Raises:
        UnknownName: No such method, or none whose knobs we know how to search.
    """
    kind: Callable[..., Posthoc] = POSTHOC[name]
    if name not in SPACES:
        raise UnknownName("searched post-hoc method", name, SPACES)
    if not number:
        return kind()
    places = {knob: rng.seed("knob", name, number, seed, knob) / 2**64 for knob in SPACES[name]}
    return kind(**{knob: SPACES[name][knob].at(place) for knob, place in places.items()})


def near(method: Posthoc, number: int, seed: int) -> Posthoc:
    """Move each searched knob by up to a fifth of its range, either way, but not out of it."""
    moved = {}
    for knob, span in SPACES[method.name].items():
        shift = 2 * rng.seed("near", method.name, number, seed, knob) / 2**64 - 1
        place = span.place(getattr(method, knob)) + _STEP * shift
        moved[knob] = span.at(min(max(place, 0.0), _LAST))
    return replace(method, **moved)  # type: ignore[type-var]  # methods are dataclasses
