"""Deadlines as data: until when a request must be answered, confirmed, or extended. Pure.

A period ends with the last hour of its last day, in the calendar of its regime's zone. The day
of receipt is not counted; a period of months ends on the day of the same number, or on the last
day of a month that has none. Deadlines are returned in UTC, as the first moment that is too late.

What a law says about a case is a lawyer's to tell: these are calendars, and owners set their own.

References:
    Regulation (EU) 2016/679 (GDPR), Article 12(3): one month, and two further months.
    Regulation (EEC, Euratom) No 1182/71, Article 3: how periods are counted.
    California Code of Regulations, title 11, section 7021 (CCPA): 45 calendar days, another 45,
    and a confirmation within 10 business days.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from expunge.core.errors import InputError, UnknownName

SKEW_S: Final = 60.0
"""How far a client's clock may be ahead of ours."""

_SATURDAY: Final = 5
_ONE_DAY: Final = timedelta(days=1)
_TEXT: Final = re.compile(r"(\d{1,3})([dm])(?:\+(\d{1,3})([dm]))?(?:@([\w/+-]{1,40}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Period:
    """A length of time in calendar months and days; the months are counted first."""

    months: int = 0
    days: int = 0

    def __post_init__(self) -> None:
        if self.months < 0 or self.days < 0 or not (self.months or self.days):
            raise InputError(
                f"A period is at least one day, got {self.months} months and {self.days} days."
            )


@dataclass(frozen=True, slots=True)
class Regime:
    """Rules by which a request's deadlines are counted.

    Attributes:
        period: To answer, from the receipt.
        extension: What may be added to it once, with notice; None where nothing may.
        confirm_business_days: To confirm the receipt; None where nothing is demanded.
        rolls: Whether a period that would end on a Saturday, a Sunday or a holiday ends with the
            next working day instead (Regulation 1182/71, Article 3(4)).
        holidays: Days that are no working days, beside Saturdays and Sundays.
        zone: IANA name of the zone whose calendar counts.
    """

    name: str
    period: Period
    extension: Period | None = None
    confirm_business_days: int | None = None
    rolls: bool = False
    holidays: frozenset[date] = frozenset()
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.confirm_business_days is not None and self.confirm_business_days < 1:
            raise InputError("`confirm_business_days` must be at least 1, or None.")


REGIMES: Final[Mapping[str, Regime]] = {
    regime.name: regime
    for regime in (
        Regime("gdpr", Period(months=1), Period(months=2), rolls=True, zone="Europe/Brussels"),
        Regime("ccpa", Period(days=45), Period(days=45), 10, zone="America/Los_Angeles"),
    )
}


def named(text: str) -> Regime:
    """One of :data:`REGIMES`, or an owner's own that says all about itself.

    >>> named("30d").period, named("1m+2m@Europe/Lisbon").extension
    (Period(months=0, days=30), Period(months=2, days=0))

    Raises:
        UnknownName: It is neither.
        InputError: It is no length of time, or there is no such zone.
    """
    if text in REGIMES:
        return REGIMES[text]
    found = _TEXT.fullmatch(text)
    if found is None:
        raise UnknownName("regime", text, [*REGIMES, "30d", "1m+2m", "30d+15d@Europe/Lisbon"])
    many, unit, more, more_unit, zone = found.groups()
    extension = _period(more, more_unit) if more else None
    regime = Regime(text, _period(many, unit), extension, zone=zone or "UTC")
    _zone(regime.zone)
    return regime


def checked(received: datetime | None, now: datetime) -> datetime:
    """When a request was received: ``now`` unless it says another moment, which may be past.

    Raises:
        InputError: It has no zone, or lies in the future.
    """
    if received is None:
        return now
    _aware(received)
    if received > now + timedelta(seconds=SKEW_S):
        raise InputError("`received` lies in the future. Give the moment at which it came in.")
    return min(received, now)


def deadline(regime: Regime, received: datetime) -> datetime:
    """The first moment that is too late to have answered a request."""
    return _midnight_after(regime, _last_day(regime, received))


def extended(regime: Regime, received: datetime) -> datetime:
    """The same, once the deadline was extended: counted from the receipt, always later.

    Raises:
        InputError: The regime knows no extension.
    """
    if regime.extension is None:
        raise InputError(f"The regime {regime.name!r} knows no extension.")
    period, more = regime.period, regime.extension
    whole = Period(period.months + more.months, period.days + more.days)
    later = _add(_day(regime, received), whole)
    # Where the first end has rolled on, a short extension might not reach behind it.
    return _midnight_after(regime, _end(regime, max(later, _last_day(regime, received) + _ONE_DAY)))


def confirm_by(regime: Regime, received: datetime) -> datetime | None:
    """The first moment that is too late to have confirmed the receipt; None: nothing demands it."""
    if regime.confirm_business_days is None:
        return None
    day = _day(regime, received)
    for _ in range(regime.confirm_business_days):
        day = _working(day + _ONE_DAY, regime.holidays)
    return _midnight_after(regime, day)


def _last_day(regime: Regime, received: datetime) -> date:
    return _end(regime, _add(_day(regime, received), regime.period))


def _end(regime: Regime, last: date) -> date:
    return _working(last, regime.holidays) if regime.rolls else last


def _working(day: date, holidays: Collection[date]) -> date:
    """``day``, or the first working day behind it."""
    while day.weekday() >= _SATURDAY or day in holidays:
        day += _ONE_DAY
    return day


def _add(day: date, period: Period) -> date:
    years, month = divmod(day.month - 1 + period.months, 12)
    last = monthrange(day.year + years, month + 1)[1]
    moved = day.replace(day.year + years, month + 1, min(day.day, last))
    return moved + timedelta(days=period.days)


def _day(regime: Regime, received: datetime) -> date:
    _aware(received)
    return received.astimezone(_zone(regime.zone)).date()


def _midnight_after(regime: Regime, day: date) -> datetime:
    return datetime.combine(day + _ONE_DAY, time(), _zone(regime.zone)).astimezone(UTC)


def _aware(moment: datetime) -> None:
    if moment.utcoffset() is None:
        raise InputError("A moment needs a zone, such as 2026-03-05T10:00:00+01:00.")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(f"No zone {name!r} here. Expected an IANA name: Europe/Berlin.") from None


def _period(many: str, unit: str) -> Period:
    return Period(months=int(many)) if unit == "m" else Period(days=int(many))
