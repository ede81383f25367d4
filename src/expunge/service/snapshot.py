"""How things stand now: what is counted in the database each time somebody looks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from expunge.ledger import sql as ledger_sql
from expunge.ledger.lease import shared_clock
from expunge.requests.states import FINAL
from expunge.requests.states import State as RequestState
from expunge.requests.table import REQUESTS
from expunge.requests.table import UNFINISHED as UNFINISHED_REQUESTS
from expunge.requests.unit_tables import OUTBOX, UNFINISHED, UNITS, State
from expunge.service import audits
from expunge.service.audits import Standing
from expunge.storage.facts import FACTS
from expunge.training import leases

UNIT_STATES: Final = (State.OPEN, State.RUNNING, State.ASIDE)
REQUEST_STATES: Final = tuple(state for state in RequestState if state not in FINAL)

_MODELS: Final = sa.table("model", sa.column("id"), sa.column("name"))
_UNITS: Final = (
    sa.select(
        _MODELS.c.name,
        UNITS.c.state,
        sa.func.count().label("units"),
        sa.func.min(UNITS.c.wanted_at).label("oldest"),
    )
    .join(_MODELS, _MODELS.c.id == UNITS.c.model)
    .where(UNFINISHED)
    .group_by(_MODELS.c.name, UNITS.c.state)
)
_BESIDE: Final = UNITS.alias()
_DUE: Final = sa.select(sa.func.count()).where(
    UNFINISHED,
    sa.or_(
        sa.and_(
            UNITS.c.state == State.OPEN,
            UNITS.c.not_before <= sa.bindparam("moment"),
            ~sa.exists().where(
                _BESIDE.c.model == UNITS.c.model,
                _BESIDE.c.shard == UNITS.c.shard,
                _BESIDE.c.state == State.RUNNING,
            ),
        ),
        sa.and_(UNITS.c.state == State.RUNNING, UNITS.c.until <= sa.bindparam("moment")),
    ),
)
_REQUESTS: Final = (
    sa.select(
        REQUESTS.c.state,
        REQUESTS.c.regime,
        sa.func.count().label("requests"),
        sa.func.min(sa.func.coalesce(REQUESTS.c.effective, REQUESTS.c.accepted)).label("oldest"),
        sa.func.min(REQUESTS.c.deadline).label("deadline"),
    )
    .where(UNFINISHED_REQUESTS)
    .group_by(REQUESTS.c.state, REQUESTS.c.regime)
)
_PENDING: Final = sa.select(sa.func.count(), sa.func.min(FACTS.c.number)).where(
    FACTS.c.entry.is_(None)
)
_MARK: Final = sa.select(sa.column("offset", sa.BigInteger)).select_from(sa.table("journal_mark"))
_OUTBOX: Final = sa.select(sa.func.count()).select_from(OUTBOX)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How things stand.

    Attributes:
        units: That are not done, by model and state.
        oldest_unit: Age of the oldest of them, by state. Unit: seconds, as all ages.
        due: Units that a worker could claim now.
        requests: That are not at their end, by state.
        oldest_request: Time since the oldest of them took effect, or was accepted, by state.
        deadlines: Time left until the nearest deadline, by regime; negative where it has passed.
        pending: Facts that are not in the ledger's tree yet.
        oldest_pending: Age of the oldest of them.
        entries: In the ledger's tree.
        written: When the tree was written last, in seconds since 1970; 0.0 before the first.
        outbox: Units that the queue was not told of yet.
        leases: That servers have on versions.
        journal: Bytes of the journal that the database knows.
        audits_owed: Audits that wait or run.
        audits: The last one of each model by each method.
    """

    units: Mapping[tuple[str, str], int]
    oldest_unit: Mapping[str, float]
    due: int
    requests: Mapping[str, int]
    oldest_request: Mapping[str, float]
    deadlines: Mapping[str, float]
    pending: int
    oldest_pending: float
    entries: int
    written: float
    outbox: int
    leases: int
    journal: int
    audits_owed: int
    audits: Sequence[Standing]


def take(transaction: sa.Connection) -> Snapshot:
    """Look once. Costs a dozen queries; of what is finished they read audits alone."""
    moment = shared_clock(transaction)
    units = transaction.execute(_UNITS).all()
    requests = transaction.execute(_REQUESTS).all()
    counts: Counter[str] = Counter()
    for row in requests:
        counts[row.state] += row.requests
    pending, oldest_pending = _pending(transaction, moment)
    entries, written = _tree(transaction)
    return Snapshot(
        units={(row.name, row.state): row.units for row in units},
        oldest_unit=_ages([(row.state, row.oldest) for row in units], moment),
        due=transaction.execute(_DUE, {"moment": moment}).scalar_one(),
        requests=counts,
        oldest_request=_ages([(row.state, row.oldest) for row in requests], moment),
        deadlines=_left([(row.regime, row.deadline) for row in requests], moment),
        pending=pending,
        oldest_pending=oldest_pending,
        entries=entries,
        written=written,
        outbox=transaction.execute(_OUTBOX).scalar_one(),
        leases=sum(row.until > moment for row in leases.read(transaction)),
        journal=transaction.scalar(_MARK) or 0,
        audits_owed=audits.owed(transaction),
        audits=audits.standings(transaction),
    )


def _ages(found: list[tuple[str, str]], moment: float) -> dict[str, float]:
    """Age of the oldest, by state."""
    ages: dict[str, float] = {}
    for state, oldest in found:
        ages[state] = max(ages.get(state, 0.0), moment - timestamp(oldest))
    return ages


def _left(found: list[tuple[str | None, str | None]], moment: float) -> dict[str, float]:
    """Time left until the nearest, by regime."""
    left: dict[str, float] = {}
    for regime, deadline in found:
        if deadline is not None:
            ends = timestamp(deadline) - moment
            left[regime or "none"] = min(left.get(regime or "none", ends), ends)
    return left


def _pending(transaction: sa.Connection, moment: float) -> tuple[int, float]:
    count, first = transaction.execute(_PENDING).one()
    if first is None:
        return 0, 0.0
    leaf = transaction.execute(sa.select(FACTS.c.leaf).where(FACTS.c.number == first)).scalar_one()
    return count, max(0.0, moment - timestamp(json.loads(bytes(leaf))["at"]))


def _tree(transaction: sa.Connection) -> tuple[int, float]:
    found = transaction.execute(
        sa.select(ledger_sql.HEADS.c.size, ledger_sql.HEADS.c.at)
    ).one_or_none()
    return (0, 0.0) if found is None else (found.size, timestamp(found.at))


def timestamp(moment: str) -> float:
    """Seconds since 1970 of a moment, RFC 3339."""
    return datetime.fromisoformat(moment).timestamp()
