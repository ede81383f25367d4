"""Moments of a request, as text that sorts like time: UTC, RFC 3339, to the microsecond."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import sqlalchemy as sa

from expunge.core.errors import InputError
from expunge.ledger.lease import Clock, shared_clock
from expunge.requests import deadlines
from expunge.requests.terms import Terms


@dataclass(frozen=True, slots=True)
class Moments:
    """When a request came, and until when what is due.

    Attributes:
        now: When it is accepted.
        deadline: The first moment that is too late to have answered it.
        confirm_by: The first moment that is too late to have confirmed it.
        effective: When it takes effect, where that was chosen and is not past.
    """

    now: datetime
    received: datetime
    deadline: datetime | None
    confirm_by: datetime | None
    effective: datetime | None


def of(terms: Terms, now: datetime) -> Moments:
    """The moments of a request that is accepted ``now``.

    Raises:
        InputError: It takes effect behind its deadline, or was received in the future.
        UnknownName: There is no such regime.
    """
    received = deadlines.checked(terms.received, now)
    due = confirm = None
    if terms.regime is not None:
        regime = deadlines.named(terms.regime)
        due, confirm = deadlines.deadline(regime, received), deadlines.confirm_by(regime, received)
    effective = terms.effective if terms.effective and terms.effective > now else None
    if effective and due and effective >= due:
        raise InputError("`effective` lies behind the deadline. Choose a moment before it.")
    return Moments(now, received, due, confirm, effective)


@lru_cache(maxsize=256)
def stamp(moment: datetime) -> str:
    """A moment as text."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def read(text: str) -> datetime:
    """What :func:`stamp` wrote."""
    return datetime.fromisoformat(text)


def now_by(transaction: sa.Connection, clock: Clock = shared_clock) -> datetime:
    """This moment, by the clock that all users of a database agree on."""
    return datetime.fromtimestamp(clock(transaction), UTC)


def later(moment: datetime, seconds: float) -> str:
    """``seconds`` behind a moment, as text."""
    return stamp(moment + timedelta(seconds=seconds))


def conditions(terms: Terms) -> dict[str, object]:
    """What the ledger says about a request that has conditions."""
    return {
        "approval": terms.approval,
        "effective": stamp(terms.effective) if terms.effective else None,
        "method": terms.method,
        "received": stamp(terms.received) if terms.received else None,
        "regime": terms.regime,
        "undo_s": terms.undo_s,
    }
