"""Further figures beside retrained models: losses, calibration, classes, activations, tug of war.

None of them is needed for an audit to pass: they say where a model differs, and how. All can fail it.

References:
    Golatkar, Achille and Soatto, arXiv:1911.04933, section 5. Guo et al., "On Calibration of Modern
    Neural Networks", ICML 2017, section 2. Golatkar et al., arXiv:2003.02960, section 5
    (activation distance). Zhao et al., arXiv:2406.01257, section 3 (ToW).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from expunge.metrics import divergence, tow
from expunge.metrics.arrays import Labels, Numbers
from expunge.verify import gold
from expunge.verify.gold import GROUPS, ROWS, Answers, Rule
from expunge.verify.report import Check, Group
from expunge.verify.score_plan import Ask

_LOSS: Final = "Golatkar et al., arXiv:1911.04933, section 5"
_CALIBRATION: Final = "Guo et al., arXiv:1706.04599, section 2"
_ACTIVATION: Final = "Golatkar et al., arXiv:2003.02960, section 5"
_TOW: Final = "Zhao et al., arXiv:2406.01257, section 3"
_SIZE: Final = ("it is larger than retrained models'", "it is smaller than retrained models'")


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


def checks(groups: Mapping[str, Answers], margins: Margins) -> Iterator[Check]:
    """Ask them all, of those groups that there are."""
    for name, of in groups.items():
        ask = _ask(
            f"gold-loss-{name}", GROUPS[name], f"Are losses on {ROWS[name]} those of", "nats", _LOSS
        )
        yield gold.compared(ask, losses(of), len(of), _rule(of, margins.loss, _SIZE))
    good = "unseen" if "unseen" in groups else "retained"
    yield from _good(good, groups[good], margins)
    forgotten = groups["forgotten"]
    question = "Are probabilities for forgotten rows as near to those of"
    ask = _ask("gold-activation-forgotten", "gold-standard", question, "", _ACTIVATION)
    far = gold.distances(forgotten.models, divergence.activation_distance)
    rule = _rule(forgotten, margins.activation, gold.FARTHER, upper=True)
    yield gold.compared(ask, far, len(forgotten), rule)
    if len(groups) == len(ROWS):
        yield _tug(groups, margins.tow)


def losses(of: Answers) -> list[float]:
    """Mean cross-entropies, in nats: of the audited model, and behind it of retrained ones."""
    return [float(np.logaddexp(0, -phi).mean()) for phi in (of.phi, *of.retrained_phi)]


def per_class(one: Numbers, other: Numbers, classes: Labels) -> float:
    """Largest difference of two models' accuracies on one class."""
    hits = (one.argmax(axis=1) == classes).astype(float) - (other.argmax(axis=1) == classes)
    return max(abs(float(hits[classes == code].mean())) for code in np.unique(classes))


def _good(name: str, of: Answers, margins: Margins) -> Iterator[Check]:
    question = f"Is confidence on {ROWS[name]} as well calibrated as that of"
    ask = _ask(f"gold-calibration-{name}", "utility", question, "", _CALIBRATION)
    errors = [divergence.calibration_error(each, of.classes) for each in of.models]
    yield gold.compared(ask, errors, len(of), _rule(of, margins.calibration, _SIZE))
    question = f"Is each class of {ROWS[name]} as often recognised as by"
    ask = _ask(f"gold-classes-{name}", "utility", question, "share of rows", _LOSS)
    far = gold.distances(of.models, lambda one, other: per_class(one, other, of.classes))
    rule = _rule(of, margins.per_class, gold.FARTHER, upper=True)
    yield gold.compared(ask, far, len(of), rule)


def _tug(groups: Mapping[str, Answers], margin: float) -> Check:
    question = "Is it, on all three groups of rows at once, as accurate as"
    ask = _ask("gold-tow", "gold-standard", question, "", _TOW)
    rates = zip(*(groups[name].accuracies for name in ROWS), strict=True)
    near = gold.distances([tow.Figures(*each) for each in rates], tow.tow)
    smallest = min(groups.values(), key=len)
    rule = _rule(smallest, margin, ("", gold.FARTHER[0]))
    return gold.compared(ask, near, len(smallest), rule)


def _rule(of: Answers, margin: float, words: tuple[str, str], *, upper: bool = False) -> Rule:
    # A mean over n rows is known to half a row at best, though models agree.
    return Rule(margin, words, least=0.5 / len(of), upper=upper)


def _ask(name: str, group: Group, question: str, unit: str, source: str) -> Ask:
    return Ask(name, group, f"{question} retrained models?", unit, source, (), needed=False)
