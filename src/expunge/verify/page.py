"""The page of an audit for people: one HTML file that needs nothing beside itself.

It says what the report says, in plain words, and nothing else. No script, no network, nothing to
install; it can be printed, read on a telephone, in the dark, and by ear.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined, Template

from expunge.ledger import ladder
from expunge.ledger.page import counted, figure, moment
from expunge.verify import limits, plots
from expunge.verify.report import GROUPS, Check, Report

HEADINGS: Final[Mapping[str, str]] = {
    "membership": "Can the forgotten rows be told from rows that no model saw?",
    "gold-standard": "Does the model behave like one that was trained without them?",
    "canaries": "Are planted rows gone?",
    "relearn": "Does it learn them again faster than a model that never saw them?",
    "retained": "What about the rows that stay?",
    "utility": "Is it still of use?",
}
"""What each group of checks asks, in the order of the page."""

ANSWERS: Final[Mapping[str, str]] = {
    "passed": (
        "In every check that was declared to be needed, the model lay within the margin that was "
        "fixed beforehand around a model that never saw the rows."
    ),
    "failed": (
        "At least one check found a difference that is larger than the margin fixed beforehand, "
        "and than what differs between models that never saw the rows."
    ),
    "inconclusive": (
        "Nothing is shown either way. Some check that is needed could not tell, for the reason "
        "that it gives; that is no evidence that the rows are forgotten."
    ),
}
"""What each verdict of a report means."""

MARKS: Final[Mapping[str, str]] = {"passed": "✓", "failed": "✗", "inconclusive": "?"}
"""A sign for each verdict: colour alone would say nothing to many."""

_SPELT: Final[Mapping[str, str]] = {
    **{word.lower(): word for word in ("AUC", "FPR", "KLOM", "RMIA", "TPR", "ZRF", "SHA256")},
    "lira": "LiRA",
    "ulira": "U-LiRA",
}


@dataclass(frozen=True, slots=True)
class Section:
    """The checks of one group, each with its ruler."""

    group: str
    heading: str
    checks: tuple[tuple[Check, plots.Ruler | None], ...]


def render(report: Report) -> str:
    """The page for ``report``."""
    return _template().render(
        r=report,
        answer=ANSWERS[report.verdict],
        marks=MARKS,
        meaning=ladder.MEANINGS[report.level - 1] if report.level else None,
        levels=len(ladder.LEVELS),
        totals=totals(report),
        sections=_sections(report),
        plots=[plots.plot(curve) for curve in report.curves],
        settings=flat(report.settings),
        limits=limits.of(report),
        command=command(report),
        box=plots,
    )


def totals(report: Report) -> str:
    """How many checks came out how.

    The needed ones are those that the verdict rests on.
    """
    verdicts = [check.verdict for check in report.checks]
    parts = [f"{verdicts.count(word)} {word}" for word in MARKS if word in verdicts]
    return ", ".join(parts) or "none"


def measured(value: float | None, unit: str) -> str:
    """A value with its unit, as people read it.

    >>> measured(0.50312499, "AUC"), measured(3.0, ""), measured(None, "AUC")
    ('0.5031 AUC', '3', '–')
    """
    shown = figure(value)
    return f"{shown} {unit}" if unit and value is not None else shown


def command(report: Report) -> str:
    """What makes the audit of a file of scores again."""
    options = [
        f"--{name} {report.settings[name]}"
        for name in ("kind", "margin", "fpr")
        if name in report.settings
    ]
    return " ".join(["expunge audit --scores FILE", *options])


def words(key: str) -> str:
    """A key as words.

    >>> words("membership-auc"), words("shadow_models")
    ('membership AUC', 'shadow models')
    """
    parts = key.replace("_", " ").replace("-", " ").split(" ")
    return " ".join(_SPELT.get(part, part) for part in parts)


def flat(settings: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Settings as lines of a name and a text.

    >>> flat({"seeds": [1, 2, 3], "margins": {"auc": 0.05}})
    [('seeds', '1, 2, 3'), ('margins: AUC', '0.05')]
    """
    lines: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            lines += flat(value, f"{before}{words(name)}: ")
        elif isinstance(value, list | tuple):
            lines.append((before + words(name), ", ".join(map(figure, value)) or "none"))
        else:
            lines.append((before + words(name), figure(value)))
    return lines


def _sections(report: Report) -> tuple[Section, ...]:
    found = []
    for group in GROUPS:
        checks = tuple((c, plots.ruler(c)) for c in report.checks if c.group == group)
        if checks:
            found.append(Section(group, HEADINGS[group], checks))
    return tuple(found)


@lru_cache
def _template() -> Template:
    text = (files("expunge.verify") / "templates/audit.html").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "moment": moment,
        "counted": counted,
        "figure": figure,
        "measured": measured,
        "words": words,
    }
    return environment.from_string(text)
