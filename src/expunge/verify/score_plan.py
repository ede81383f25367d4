"""What is asked of scores, what is fixed beforehand, and how figures become checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from expunge.core.errors import InputError
from expunge.metrics import intervals
from expunge.verify import report
from expunge.verify.report import Check, Group, Range, Verdict

POWER: Final = 0.8


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fixed before anything is measured.

    Attributes:
        margin: How far an AUC, a rate or a share of pairs may be from its ideal; in (0, 0.5).
        fpr: Rate of false alarms at which rows are counted; in (0, 0.5).
        nats: How far KLOM may be above that of retrained models. Unit: nats.
        ratio: How far F over F of retraining may be from 1.
        bits: How far the mean exposure of canaries may be from its ideal. Unit: bits.
        speed: How far the anamnesis index may be from 1.
        draws: How often populations of models are mixed, to see what chance does.
        seed: What the mixing depends on.
    """

    margin: float = 0.05
    fpr: float = 0.01
    nats: float = 0.5
    ratio: float = 0.2
    bits: float = 0.5
    speed: float = 0.25
    draws: int = 99
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("margin", self.margin), ("fpr", self.fpr)):
            if not 0 < value < 0.5:
                raise InputError(f"`{name}` must be above 0 and below 0.5, got {value}.")
        for name in ("nats", "ratio", "bits", "speed"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise InputError(f"`{name}` must be positive, got {value}.")
        if self.draws < 19:
            raise InputError(f"{self.draws} draws. Expected at least 19, for an interval of 95 %.")


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to scores.

    Attributes:
        needs: Arrays without which it cannot be answered.
        needed: Whether the audit rests on it, once its arrays are given.
    """

    name: str
    group: Group
    question: str
    unit: str
    source: str
    needs: tuple[str, ...]
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """A figure, before it is judged.

    Attributes:
        narrow: 90 % interval.
        wide: 95 % interval.
        null: Where truly retrained models lie.
        least: The smallest departure from ``ideal`` that was to be seen.
        counts: Of rows and models.
        more: What it would take to pass, in words; None where there is enough of it to pass four
            times of five, if nothing is left to be seen.
        high: What a value above the ideal means; likewise ``low``.
    """

    value: float
    narrow: Range
    wide: Range
    null: Range | None
    ideal: float
    least: float
    counts: Mapping[str, int]
    more: str | None
    high: str
    low: str


def missing(ask: Ask, names: list[str]) -> Check:
    """The check that says which arrays it would take."""
    listed = " and ".join(f"`{name}`" for name in names)
    why = f"Could not be asked: there {'are' if len(names) > 1 else 'is'} no {listed}."
    return replace(unanswered(ask, why), needed=False)


def unanswered(ask: Ask, why: str) -> Check:
    """The check that could not be computed."""
    return Check(
        name=ask.name,
        group=ask.group,
        question=ask.question,
        value=None,
        interval=None,
        null=None,
        ideal=None,
        minimum_effect=None,
        margin=None,
        unit=ask.unit,
        counts={},
        verdict="inconclusive",
        why=why,
        source=ask.source,
        needed=ask.needed,
    )


def judged(ask: Ask, found: Found, margin: float, *, upper: bool = False) -> Check:
    """A figure as a check, by the rules of :mod:`expunge.verify.report`.

    Args:
        ask: The question.
        found: The figure.
        margin: Fixed beforehand.
        upper: Whether only values above the ideal are worse.
    """
    rule = report.judge_upper if upper else report.judge
    verdict = rule(found.narrow, found.wide, found.ideal, margin, found.null)
    return Check(
        name=ask.name,
        group=ask.group,
        question=ask.question,
        value=found.value,
        interval=found.wide,
        null=found.null,
        ideal=found.ideal,
        minimum_effect=found.least,
        margin=margin,
        unit=ask.unit,
        counts=dict(found.counts),
        verdict=verdict,
        why=_why(verdict, found, margin),
        source=ask.source,
        needed=ask.needed,
    )


def seen(confidence: float = 0.95) -> float:
    """In standard errors: the departure that a test of this confidence finds at :data:`POWER`."""
    return intervals.normal(confidence) + intervals.normal(2 * POWER - 1)


def shown() -> float:
    """In standard errors: the margin within which equality is shown at :data:`POWER`."""
    return intervals.normal(0.9) + intervals.normal(POWER)


def span(pair: Range) -> str:
    """A range, in words."""
    return f"{pair[0]:.3f} to {pair[1]:.3f}"


def _why(verdict: Verdict, found: Found, margin: float) -> str:
    allowed = f"{found.ideal:.3g} ± {margin:g}"
    if verdict == "passed":
        return f"The whole 90 % interval, {span(found.narrow)}, lies within {allowed}."
    if verdict == "failed":
        above = found.value > found.ideal
        beyond = "" if found.null is None else ", and outside of where retrained models lie"
        return (
            f"The whole 95 % interval, {span(found.wide)}, lies {'above' if above else 'below'} "
            f"{allowed}{beyond}: {found.high if above else found.low}."
        )
    takes = (
        "There is enough of everything to pass a model without a trace four times of five, so this "
        "one may lie near the edge."
        if found.more is None
        else f"To show a pass four times of five takes about {found.more}."
    )
    return (
        f"The interval, {span(found.narrow)}, is neither inside of {allowed} nor outside. {takes}"
    )
