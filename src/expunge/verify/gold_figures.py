"""Further figures beside retrained models: losses, calibration, classes, activations, tug of war.

None of them is needed for an audit to pass: they say where a model differs, and how. All can fail it.

References:
    Golatkar, Achille and Soatto, arXiv:1911.04933, section 5. Guo et al., "On Calibration of Modern
    Neural Networks", ICML 2017, section 2. Golatkar et al., arXiv:2003.02960, section 5
    (activation distance). Zhao et al., arXiv:2406.01257, section 3 (ToW).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from expunge.metrics import divergence, signals, tow
from expunge.metrics.arrays import Labels, Numbers
from expunge.verify import beside
from expunge.verify.report import Check, Group
from expunge.verify.score_plan import Ask, judged, unanswered

_FLOOR: Final = 1e-6  # what a model that is quite certain, and wrong, is held to
_LOSS: Final = "Golatkar et al., arXiv:1911.04933, section 5"
_CALIBRATION: Final = "Guo et al., arXiv:1706.04599, section 2"
_ACTIVATION: Final = "Golatkar et al., arXiv:2003.02960, section 5"
_TOW: Final = "Zhao et al., arXiv:2406.01257, section 3"

Figure: TypeAlias = Callable[[Numbers, Labels], float]
"""Of one model's probabilities (n, classes), and true classes (n,)."""
Distance: TypeAlias = Callable[[Numbers, Numbers, Labels], float]
"""Of two models' probabilities."""


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What models answered about one group of rows.

    Attributes:
        classes: True ones, (n,).
        models: Probabilities: of the audited model, and behind it of retrained ones.
    """

    classes: Labels
    models: Sequence[Numbers]


@dataclass(frozen=True, slots=True)
class Margins:
    """How far from retrained models is near enough; fixed beforehand.

    Attributes:
        loss: Of mean losses. Unit: nats.
        calibration: Of expected calibration errors.
        activation: Of mean distances of predictions, 0 to √2.
        per_class: Of the largest difference of a class's accuracy.
        tow: Of the tug of war.
    """

    loss: float = 0.2
    calibration: float = 0.05
    activation: float = 0.1
    per_class: float = 0.1
    tow: float = 0.1


def checks(groups: Mapping[str, Told], margins: Margins) -> Iterator[Check]:
    """Ask them all, of those groups that there are."""
    for name, group in groups.items():
        where = _GROUPS[name]
        ask = _ask(
            f"gold-loss-{name}", where, f"Are losses on {_ROWS[name]} those of", "nats", _LOSS
        )
        yield _alone(ask, loss, group, margins.loss)
    good = "unseen" if "unseen" in groups else "retained"
    of, rows = groups[good], _ROWS[good]
    question = f"Is confidence on {rows} as well calibrated as that of"
    ask = _ask(f"gold-calibration-{good}", "utility", question, "", _CALIBRATION)
    yield _alone(ask, divergence.calibration_error, of, margins.calibration)
    question = f"Is each class of {rows} as often recognised as by"
    ask = _ask(f"gold-classes-{good}", "utility", question, "share of rows", _LOSS)
    yield _apart(ask, per_class, of, margins.per_class)
    question = "Are probabilities for forgotten rows as near to those of"
    ask = _ask("gold-activation-forgotten", "gold-standard", question, "", _ACTIVATION)
    yield _apart(ask, _activation, groups["forgotten"], margins.activation)
    if len(groups) == len(_ROWS):
        yield _tug(groups, margins.tow)


def loss(probabilities: Numbers, classes: Labels) -> float:
    """Mean cross-entropy, in nats; a probability counts for a millionth at least."""
    mixed = (probabilities + _FLOOR) / (1 + _FLOOR * probabilities.shape[1])
    return float(signals.loss(mixed / mixed.sum(axis=1, keepdims=True), classes).mean())


def per_class(one: Numbers, other: Numbers, classes: Labels) -> float:
    """Largest difference of two models' accuracies on one class."""
    hits = (one.argmax(axis=1) == classes).astype(float) - (other.argmax(axis=1) == classes)
    return max(abs(float(hits[classes == code].mean())) for code in np.unique(classes))


def _activation(one: Numbers, other: Numbers, _: Labels) -> float:
    return divergence.activation_distance(one, other)


def _alone(ask: Ask, figure: Figure, group: Told, margin: float) -> Check:
    """A figure of one model beside those of retrained models."""
    served, *again = (figure(each, group.classes) for each in group.models)
    words = ("it is larger than retrained models'", "it is smaller than retrained models'")
    return _judged(ask, served, again, len(group.classes), words, margin)


def _apart(ask: Ask, distance: Distance, group: Told, margin: float) -> Check:
    """How far a model is from retrained ones, beside how far these are from each other."""
    served, *others = group.models
    far = [_mean(distance, served, others, group.classes)] if others else [0.0]
    far += [
        _mean(distance, each, [*others[:at], *others[at + 1 :]], group.classes)
        for at, each in enumerate(others)
        if len(others) > 1
    ]
    words = ("it is farther from retrained models than these from each other", "")
    return _judged(ask, far[0], far[1:], len(group.classes), words, margin, upper=True)


def _mean(distance: Distance, one: Numbers, others: Sequence[Numbers], classes: Labels) -> float:
    return float(np.mean([distance(one, each, classes) for each in others]))


def _tug(groups: Mapping[str, Told], margin: float) -> Check:
    question = "Is it, on all three groups of rows at once, as accurate as"
    ask = _ask("gold-tow", "gold-standard", question, "", _TOW)
    figures = [tow.Figures(*each) for each in zip(*(_rates(groups[n]) for n in _ROWS), strict=True)]
    served, *again = figures
    value = float(np.mean([tow.tow(served, each) for each in again])) if again else 1.0
    null = [
        float(np.mean([tow.tow(each, other) for other in [*again[:at], *again[at + 1 :]]]))
        for at, each in enumerate(again)
        if len(again) > 1
    ]
    words = ("", "it is farther from retrained models than these from each other")
    rows = min(len(group.classes) for group in groups.values())
    return _judged(ask, value, null, rows, words, margin)


def _rates(group: Told) -> list[float]:
    return [float((each.argmax(axis=1) == group.classes).mean()) for each in group.models]


def _judged(  # noqa: PLR0913 - a check is made of all of these
    ask: Ask,
    value: float,
    again: Sequence[float],
    rows: int,
    words: tuple[str, str],
    margin: float,
    *,
    upper: bool = False,
) -> Check:
    if len(again) < 3:
        return unanswered(ask, "It takes three retrained models to compare them with each other.")
    # A mean over n rows is known to half a row at best, though models agree.
    found = beside.found(value, again, {"rows": rows}, words, margin, least=0.5 / rows)
    return judged(ask, found, margin, upper=upper)


def _ask(name: str, group: Group, question: str, unit: str, source: str) -> Ask:
    return Ask(name, group, f"{question} retrained models?", unit, source, (), needed=False)


_ROWS: Final[Mapping[str, str]] = {
    "forgotten": "forgotten rows",
    "retained": "rows that stay",
    "unseen": "unseen rows",
}
_GROUPS: Final[Mapping[str, Group]] = {
    "forgotten": "gold-standard",
    "retained": "retained",
    "unseen": "utility",
}
