"""Deadlines: monotone, extensions later, business days; and dates counted by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import InputError, UnknownName
from expunge.requests.deadlines import (
    REGIMES,
    Period,
    Regime,
    checked,
    confirm_by,
    deadline,
    extended,
    named,
)

GDPR, CCPA = REGIMES["gdpr"], REGIMES["ccpa"]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MOMENTS = st.datetimes(
    datetime(1990, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    datetime(2090, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from(
        [
            UTC,
            ZoneInfo("Asia/Kathmandu"),
            ZoneInfo("America/New_York"),
            timezone(timedelta(hours=14)),
        ]
    ),
)
PERIODS = st.builds(Period, st.integers(0, 14), st.integers(1, 400))
OWN = st.builds(
    Regime,
    st.just("own"),
    PERIODS,
    PERIODS,
    st.integers(1, 30),
    rolls=st.booleans(),
    holidays=st.frozensets(st.dates(date(1990, 1, 1), date(2091, 1, 1)), max_size=20),
    zone=st.sampled_from(["UTC", "Europe/Brussels", "America/Los_Angeles", "Pacific/Apia"]),
)
ANY = st.sampled_from([GDPR, CCPA]) | OWN


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def last_day(moment: datetime, regime: Regime) -> date:
    """The day whose last hour is the last in time."""
    local = moment.astimezone(ZoneInfo(regime.zone))
    return (local - timedelta(microseconds=1)).date()


@given(regime=ANY, one=MOMENTS, other=MOMENTS)
def test_who_asks_earlier_never_waits_until_later(
    regime: Regime, one: datetime, other: datetime
) -> None:
    earlier, later = sorted((one, other))
    assert deadline(regime, earlier) <= deadline(regime, later)
    assert extended(regime, earlier) <= extended(regime, later)
    assert confirm_by(regime, earlier) is None or (
        confirm_by(regime, earlier) <= confirm_by(regime, later)  # type: ignore[operator]
    )


@given(regime=ANY, received=MOMENTS)
def test_a_deadline_is_behind_the_receipt_and_its_extension_behind_that(
    regime: Regime, received: datetime
) -> None:
    assert received < deadline(regime, received) < extended(regime, received)
    assert deadline(regime, received).tzinfo is UTC


@given(regime=ANY, received=MOMENTS)
def test_a_period_that_rolls_ends_on_a_working_day(regime: Regime, received: datetime) -> None:
    still, moved = replace(regime, rolls=False), replace(regime, rolls=True)
    last = last_day(deadline(moved, received), regime)
    assert last.weekday() < 5
    assert last not in regime.holidays
    assert last >= last_day(deadline(still, received), regime)


@given(regime=OWN, received=MOMENTS)
def test_a_confirmation_leaves_as_many_working_days_as_it_says(
    regime: Regime, received: datetime
) -> None:
    last = last_day(confirm_by(regime, received), regime)  # type: ignore[arg-type]
    first = received.astimezone(ZoneInfo(regime.zone)).date() + timedelta(days=1)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    working = [day for day in days if day.weekday() < 5 and day not in regime.holidays]
    assert len(working) == regime.confirm_business_days
    assert working[-1] == last


@pytest.mark.parametrize(
    ("received", "answered", "later"),
    [
        # EDPB Guidelines 01/2022, 160: received on 5 March, until and including 5 April.
        ("2024-03-05", "2024-04-05", "2024-06-05"),
        ("2026-01-31", "2026-03-02", "2026-04-30"),  # 28 February is a Saturday: Monday
        ("2024-01-31", "2024-02-29", "2024-04-30"),  # a leap year, a Thursday
        ("2023-08-31", "2023-10-02", "2023-11-30"),  # 30 September is a Saturday: Monday
        ("2025-12-15", "2026-01-15", "2026-03-16"),  # over the year; 15 March is a Sunday
    ],
)
def test_gdpr_by_hand(received: str, answered: str, later: str) -> None:
    moment = at(f"{received}T15:00", "Europe/Brussels")
    assert last_day(deadline(GDPR, moment), GDPR) == date.fromisoformat(answered)
    assert last_day(extended(GDPR, moment), GDPR) == date.fromisoformat(later)
    assert confirm_by(GDPR, moment) is None


def test_the_last_hour_is_that_of_the_regimes_zone() -> None:
    # 5 April 2024, 24:00 in Brussels' summer time.
    assert deadline(GDPR, at("2024-03-05T23:59", "Europe/Brussels")) == at("2024-04-05T22:00")
    # A minute later it is the sixth there, though not in UTC.
    assert deadline(GDPR, at("2024-03-05T23:00")) == at("2024-04-08T22:00")  # 6 is a Saturday


def test_a_holiday_rolls_on() -> None:
    easter = replace(GDPR, holidays=frozenset({date(2024, 4, 1)}))
    moment = at("2024-02-29T12:00", "Europe/Brussels")
    assert last_day(deadline(easter, moment), easter) == date(2024, 3, 29)
    moment = at("2024-03-01T12:00", "Europe/Brussels")
    assert last_day(deadline(easter, moment), easter) == date(2024, 4, 2)
    assert last_day(deadline(GDPR, moment), GDPR) == date(2024, 4, 1)


def test_ccpa_by_hand() -> None:
    # Received on a Monday in California, when it is Tuesday in UTC already.
    moment = at("2026-03-03T02:00")
    assert last_day(deadline(CCPA, moment), CCPA) == date(2026, 4, 16)
    assert last_day(extended(CCPA, moment), CCPA) == date(2026, 5, 31)  # a Sunday stays
    assert last_day(confirm_by(CCPA, moment), CCPA) == date(2026, 3, 16)  # type: ignore[arg-type]


def test_an_owners_own_rules_say_all_about_themselves() -> None:
    own = named("30d+2m@Asia/Tokyo")
    assert own == Regime("30d+2m@Asia/Tokyo", Period(days=30), Period(months=2), zone="Asia/Tokyo")
    assert last_day(deadline(own, at("2026-01-01T00:00", "Asia/Tokyo")), own) == date(2026, 1, 31)
    assert named("7d").extension is None
    assert named("gdpr") is GDPR


@pytest.mark.parametrize(
    "text", ["", "GDPR", "30", "30 days", "d", "-3d", "9999d", "30d+", "٣d@", "٣d"]
)
def test_a_regime_that_nobody_knows_is_named_in_the_answer(text: str) -> None:
    with pytest.raises(UnknownName):
        named(text)


@pytest.mark.parametrize("text", ["0d", "0m+3d", "3d@Mars/Olympus", "3d@../etc/passwd", "3d@/etc"])
def test_a_regime_that_cannot_be_counted_is_refused(text: str) -> None:
    with pytest.raises((InputError, UnknownName)):
        named(text)


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(InputError, match="at least one day"):
        Period()
    with pytest.raises(InputError, match="at least 1"):
        Regime("own", Period(days=3), confirm_business_days=0)
    with pytest.raises(InputError, match="no extension"):
        extended(named("30d"), NOW)
    with pytest.raises(InputError, match="needs a zone"):
        deadline(GDPR, datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


def test_a_receipt_may_lie_in_the_past_and_never_in_the_future() -> None:
    assert checked(None, NOW) == NOW
    assert checked(NOW - timedelta(days=20), NOW) == NOW - timedelta(days=20)
    assert checked(NOW + timedelta(seconds=30), NOW) == NOW  # a clock that is a little ahead
    with pytest.raises(InputError, match="future"):
        checked(NOW + timedelta(minutes=5), NOW)
    with pytest.raises(InputError, match="needs a zone"):
        checked(datetime(2026, 1, 1), NOW)  # noqa: DTZ001
