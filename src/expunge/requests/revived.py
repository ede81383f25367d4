"""A request's row, made again of what the journal says about it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from expunge.core.errors import InputError, UnknownName
from expunge.requests import deadlines, moments
from expunge.requests.journaled import APPROVED, ENDS, EXTENDED, SCOPED, TERMS, Told
from expunge.requests.kinds import Kind
from expunge.requests.sql import Request, State
from expunge.requests.states import WAITING
from expunge.requests.terms import EVERY_MODEL, Terms
from expunge.training import scopes
from expunge.training.sql import Model

_PLAIN: Final[Mapping[str, Any]] = MappingProxyType(moments.conditions(Terms()))

_NEVER: Final = WAITING | {State.CANCELLED, State.REFUSED}
"""States of requests that have not taken effect."""


def request(told: Told, dataset: int, models: Sequence[Model], now: datetime) -> Request:
    """The row, as if all that the journal says had happened here.

    Args:
        told: What it says.
        dataset: Id of its dataset.
        models: That learn from it.
        now: This moment.
    """
    accepted, body, terms = told.received.at, told.received.body, _terms(told)
    came = min(terms["received"] or accepted, accepted)
    began, state = _began(told), _state(told, moments.stamp(now))
    deadline, confirm_by = _deadlines(terms["regime"], came)
    extended, end = told.entries.get(EXTENDED), told.end
    undo_s = float(terms["undo_s"])
    never = state in _NEVER
    return Request(
        id=told.request,
        dataset=dataset,
        kind=Kind(body["kind"]),
        state=state,
        samples=body["samples"],
        accepted=accepted,
        done=end.at if end else None,
        scopes=_scopes(told, models),
        method=terms["method"],
        regime=terms["regime"],
        received=came,
        deadline=extended.body["until"] if extended else deadline,
        confirm_by=confirm_by,
        extended=extended is not None,
        effective=terms["effective"] if never else began,
        undo_s=undo_s,
        undo_until=None if never or not undo_s else moments.later(moments.read(began), undo_s),
        error=end.body.get("reason") if end else None,
    )


def _terms(told: Told) -> Mapping[str, Any]:
    return told.entries[TERMS].body if TERMS in told.entries else _PLAIN


def _began(told: Told) -> str:
    """When it took effect, or will."""
    approved = told.entries.get(APPROVED)
    known = (told.received.at, _terms(told)["effective"], approved.at if approved else None)
    return max(one for one in known if one is not None)


def _state(told: Told, now: str) -> State:
    if told.end is not None:
        return ENDS[told.end.kind]
    if _terms(told)["approval"] and APPROVED not in told.entries:
        return State.SUBMITTED
    return State.SCHEDULED if _began(told) > now else State.FORGOTTEN


def _scopes(told: Told, models: Sequence[Model]) -> tuple[str, ...]:
    if SCOPED not in told.entries:
        return EVERY_MODEL
    body = told.entries[SCOPED].body
    found = {scopes.of_model(folder) for folder in body["models"] or ()}
    if body["purpose"] is not None:
        found.add(_purpose(body["purpose"], models))
    return tuple(sorted(found))


def _purpose(digest: str, models: Sequence[Model]) -> str:
    """The scope of a purpose that is known by its hash: a model that has it knows its words."""
    words = {model.recipe.view.purpose for model in models}
    known = (one for one in words if sha256(one.encode()).hexdigest() == digest)
    text = next(known, None)
    return scopes.of_hashed_purpose(digest) if text is None else scopes.of_purpose(text)


def _deadlines(regime: str | None, came: str) -> tuple[str | None, str | None]:
    if regime is None:
        return None, None
    try:
        rules = deadlines.named(regime)
    except (InputError, UnknownName):  # a regime of another version's
        return None, None
    due, confirm = (
        deadlines.deadline(rules, moments.read(came)),
        deadlines.confirm_by(rules, moments.read(came)),
    )
    return moments.stamp(due), moments.stamp(confirm) if confirm else None
