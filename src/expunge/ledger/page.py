"""The page of a certificate for people: one HTML file that needs nothing beside itself.

It says what the signed statement says, in plain words, and nothing else: every figure on it
stands in the claims it is made from. Its SHA-256 stands in the statement, so it is signed too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined, Template

from expunge.core.types import Guarantee
from expunge.ledger import ladder
from expunge.ledger.predicate import Claims
from expunge.ledger.statement import Audit, Event, Model

_GUARANTEES: Final[Mapping[Guarantee, str]] = {
    Guarantee.EXACT: (
        "The model that is served is the one that would have come out, byte for byte, if the "
        "forgotten rows had never been there. Anybody who has the remaining rows can check it by "
        "building the model again."
    ),
    Guarantee.REBUILT: (
        "The model was built again from the remaining rows alone, on hardware that does not "
        "give the same bytes twice. So it cannot be checked by comparing bytes."
    ),
    Guarantee.CERTIFIED: (
        "It is proved that the model is close to one that never saw the rows. How close, and "
        "under which assumptions, stands below."
    ),
    Guarantee.EMPIRICAL: (
        "Nothing is proved. Known is only what the audits below have measured, if there are any."
    ),
    Guarantee.ATTESTED: (
        "An outside party says that the rows were forgotten. Nobody has checked it."
    ),
}
_KINDS: Final = {
    "erase": "to erase",
    "expire": "to erase rows whose time was over",
    "object": "not to use rows for some models, which is an objection: the rows stay",
    "restrict": "not to use rows, which is a restriction: the rows stay",
    "correct": "to correct, which is to forget the old rows and to take in new ones",
}
# Not strftime's: its months speak the language that a process happens to be set to.
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July", "August"),
    *("September", "October", "November", "December"),
)
_EVENTS: Final = {
    "request.approved": ("Approved", "A second person approved it."),
    "request.held": ("Waiting", "The models were rebuilt. The rows stayed, for {}."),
    "request.released": ("Released", "What the rows had been kept for was over."),
    "deadline.extended": ("Deadline extended", "It is to be answered by {}."),
}
_REASONS: Final = {
    "hold": "a legal hold",
    "undo": "the time in which the request could be undone",
    "restriction": "as long as the restriction lasts",
}
_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True)
class Step:
    """One step of what was done, with how long after the request it was."""

    at: str
    title: str
    text: str
    after: str | None


def render(claims: Claims, key: str) -> str:
    """The page for ``claims``, which were signed by the key of this id (hexadecimal)."""
    return _template().render(
        c=claims,
        key=key,
        kind=_KINDS.get(claims.request.kind, claims.request.kind),
        steps=_steps(claims),
        meanings=ladder.MEANINGS,
        audits=ladder.AUDITS,
        guarantees=_GUARANTEES,
        thresholds=_thresholds,
    )


def moment(time: str) -> str:
    """A time in words, to the second.

    >>> moment("2026-11-21T14:03:07.123456Z")
    '21 November 2026, 14:03:07 UTC'
    """
    at = datetime.fromisoformat(time)
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M:%S} UTC"


def span(start: str, end: str) -> str:
    """How long from one time to another, in the two largest units that are not zero.

    >>> span("2026-11-21T14:03:07Z", "2026-11-21T15:04:10Z")
    '1 hour 1 minute'
    >>> span("2026-11-21T14:03:07Z", "2026-11-21T14:03:07.2Z")
    'less than a second'
    """
    delta = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    left, parts = int(delta.total_seconds()), []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(counted(count, unit))
    return " ".join(parts[:2]) or "less than a second"


def counted(count: float, unit: str, plural: str | None = None) -> str:
    """A number with its unit.

    >>> counted(1, "row"), counted(12_000, "row")
    ('1 row', '12,000 rows')
    """
    return f"{count:,} {unit if count == 1 else plural or unit + 's'}"


def figure(value: Any) -> str:  # noqa: ANN401 - any JSON
    """A measured value as people read it.

    >>> figure(0.50312499), figure([0.48, 0.52]), figure(None)
    ('0.5031', '0.48 to 0.52', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple) and len(value) == 2:
        return " to ".join(map(figure, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _steps(claims: Claims) -> Sequence[Step]:
    """What happened, in the order of time."""
    request = claims.request
    start = request.received
    steps = [Step(start, "Received", _received(claims), None)]
    for event in request.events:
        title, text = _EVENTS[event.kind]
        steps.append(Step(event.at, title, text.format(_detail(event)), span(start, event.at)))
    for model in claims.models:
        if model.forgotten is not None:
            at, text = model.forgotten.at, _forgot(model)
            steps.append(Step(at, f"Forgotten by “{model.name}”", text, span(start, at)))
        if model.rebuilt is not None:
            at, text = model.rebuilt.at, _rebuilt(model)
            steps.append(Step(at, f"“{model.name}” whole again", text, span(start, at)))
    if claims.destroyed is not None:
        at, text = claims.destroyed.at, _destroyed(claims)
        steps.append(Step(at, "Destroyed", text, span(start, at)))
    issued = "Signed, and entered into the log together with the key that signed it."
    steps.append(Step(claims.issued, "Certified", issued, span(start, claims.issued)))
    return sorted(steps, key=lambda step: datetime.fromisoformat(step.at))


def _detail(event: Event) -> str:
    if event.detail is None:
        return ""
    return _REASONS.get(event.detail) or moment(event.detail)


def _received(claims: Claims) -> str:
    request = claims.request
    text = (
        f"The request named {counted(request.identifiers, 'id')} of rows or people. It concerned "
        f"{counted(request.samples, 'row')} of the dataset “{claims.dataset.name}”."
    )
    if request.already:
        text += f" {counted(request.already, 'row')} more had been forgotten before."
    return text


def _forgot(model: Model) -> str:
    change = model.forgotten
    if change is None or change.changed == 0:
        return "No part of the model had learnt from the rows; nothing had to change."
    return (
        f"{change.changed:,} of the model’s {counted(len(model.served.names), 'part')} had learnt "
        f"from the rows. Each was swapped for an earlier state of it that had not, or left out. "
        f"From then on the model answered without them."
    )


def _rebuilt(model: Model) -> str:
    done = model.rebuilt
    assert done is not None
    gone = counted(done.destroyed, "stored state")
    before = f"{gone} that had learnt from forgotten rows went first. " if done.destroyed else ""
    return (
        f"{before}Built again from the remaining rows: "
        f"{counted(done.units, 'piece')} of work, {counted(done.samples, 'visit')} to rows, "
        f"{_seconds(done.seconds)} of computing. Other requests may have shared them."
    )


def _seconds(seconds: float) -> str:
    # Whole seconds where there are many; two digits where there are few, so that none reads 0.
    return f"{seconds:,.0f} seconds" if seconds >= 10 else f"{seconds:.2g} seconds"


def _destroyed(claims: Claims) -> str:
    done = claims.destroyed
    assert done is not None
    text = f"{counted(done.rows, 'row')} overwritten"
    if claims.request.keeps_rows:
        text = "The rows of this request stay. " + text
    if done.checkpoints:
        text += f", and {counted(done.checkpoints, 'stored state')} more of models removed"
    if done.requests > 1:
        return f"{text}, for {done.requests:,} requests together."
    return f"{text}."


def _thresholds(audit: Audit) -> list[tuple[str, Any, Any]]:
    """What an audit measured beside what it was compared with, one line for each figure."""
    names = [*audit.figures, *(name for name in audit.thresholds if name not in audit.figures)]
    return [(name, audit.figures.get(name), audit.thresholds.get(name)) for name in names]


@lru_cache
def _template() -> Template:
    text = (files("expunge.ledger") / "templates/certificate.html").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"moment": moment, "counted": counted, "figure": figure}
    return environment.from_string(text)
