"""What a server shows of requests: one with its story, or many, page by page. Plain JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from expunge.core.errors import UnknownName
from expunge.home import Home
from expunge.ledger.lease import shared_clock
from expunge.requests import moments, table, units
from expunge.requests import sql as request_sql
from expunge.requests.sql import REQUESTS, Request
from expunge.requests.states import FINAL, State
from expunge.requests.terms import EVERY_MODEL
from expunge.requests.unit_tables import State as UnitState
from expunge.requests.units import Unit
from expunge.storage import facts
from expunge.storage.database import METADATA, now
from expunge.storage.facts import Recorded
from expunge.training.site import Site

_DATASETS: Final = METADATA.tables["dataset"]


@dataclass(frozen=True, slots=True)
class After:
    """Behind which request a page begins."""

    accepted: str
    id: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which requests to list.

    Attributes:
        overdue: Only those whose deadline has passed and that are not done, or only others.
        after: Only those that come after this one; they come newest first.
    """

    state: State | None = None
    dataset: str | None = None
    kind: str | None = None
    overdue: bool | None = None
    after: After | None = None


def one(site: Site, id_: str) -> dict[str, Any]:
    """A request, with its units and its story.

    Raises:
        UnknownName: There is none of that id.
    """
    with site.database.reading() as transaction:
        request = request_sql.find(transaction, id_)
        recorded = facts.read(transaction, id_)
        waited = units.of_request(transaction, id_)
        starts_at = _starts_at(transaction, waited)
        dataset = _name_of(transaction, request.dataset)
        problems = _problems(site, transaction, waited)
    shown = summary(request, dataset, now())
    counted = Counter(unit.state for unit in waited)
    shown["units"] = {state.value: counted.get(state, 0) for state in UnitState}
    shown["problems"] = problems
    shown["batch_starts_at"] = starts_at
    shown["timeline"] = [_event(fact) for fact in recorded]
    return shown


def _problems(
    site: Site, transaction: sa.Connection, waited: Sequence[Unit]
) -> list[dict[str, Any]]:
    """Units that wait for a person, and why."""
    aside = [unit for unit in waited if unit.state is UnitState.ASIDE]
    names = {one.id: one.name for one in site.all_models(transaction)} if aside else {}
    return [
        {"model": names[unit.model], "shard": unit.shard, "error": unit.error} for unit in aside
    ]


def _starts_at(transaction: sa.Connection, waited: Sequence[Unit]) -> str | None:
    """When the last of the rebuilds that wait for more requests may begin; None: all may."""
    last = max((u.not_before for u in waited if u.state is UnitState.OPEN), default=0.0)
    if not last or last <= shared_clock(transaction):
        return None
    return moments.stamp(datetime.fromtimestamp(last, UTC))


def many(site: Site, wanted: Filter, most: int) -> tuple[list[dict[str, Any]], After | None]:
    """A page of requests, newest first; and behind which one the next page begins.

    Costs one query along an index.
    """
    moment = now()
    query = sa.select(REQUESTS, _DATASETS.c.name.label("dataset_name"))
    query = query.join(_DATASETS, REQUESTS.c.dataset == _DATASETS.c.id)
    query = query.where(*_conditions(wanted, moment))
    query = query.order_by(REQUESTS.c.accepted.desc(), REQUESTS.c.id.desc()).limit(most + 1)
    with site.database.reading() as transaction:
        rows = list(transaction.execute(query))
    shown = [summary(table.request(row), row.dataset_name, moment) for row in rows[:most]]
    last = rows[most - 1] if len(rows) > most else None
    return shown, After(last.accepted, last.id) if last else None


def submitter(site: Site, id_: str) -> str:
    """Who sent a request.

    Raises:
        UnknownName: There is none of that id.
    """
    query = sa.select(REQUESTS.c.submitter).where(REQUESTS.c.id == id_)
    with site.database.reading() as transaction:
        found = transaction.execute(query).one_or_none()
    if found is None:
        raise UnknownName("request", id_, [])
    return str(found.submitter)


def summary(request: Request, dataset: str, moment: str) -> dict[str, Any]:
    """A request without its story."""
    is_final = request.state in FINAL
    return {
        "request": request.id,
        "dataset": dataset,
        "kind": request.kind,
        "state": request.state,
        "final": is_final,
        "method": request.method,
        "samples": request.samples,
        "narrowed": request.scopes != EVERY_MODEL,
        "regime": request.regime,
        "received": request.received,
        "accepted": request.accepted,
        "effective": request.effective,
        "confirm_by": request.confirm_by,
        "deadline": request.deadline,
        "extended": request.extended,
        "overdue": bool(not is_final and request.deadline and request.deadline <= moment),
        "undo_until": request.undo_until,
        "done": request.done,
        "error": request.error,
        "status_url": f"/requests/{request.id}",
    }


def _event(fact: Recorded) -> dict[str, Any]:
    """What happened, and how much; digests stand in the ledger."""
    counts = {
        name: value
        for name, value in fact.body.items()
        if isinstance(value, int) and not isinstance(value, bool)
    }
    return {"at": fact.at, "kind": fact.kind, "counts": counts}


def _conditions(wanted: Filter, moment: str) -> Sequence[sa.ColumnElement[bool]]:
    t, found = REQUESTS.c, list[sa.ColumnElement[bool]]()
    if wanted.state is not None:
        found.append(t.state == wanted.state)
    if wanted.kind is not None:
        found.append(t.kind == wanted.kind)
    if wanted.dataset is not None:
        found.append(_DATASETS.c.name == wanted.dataset)
    if wanted.overdue is not None:
        late = sa.and_(t.done.is_(None), t.deadline.is_not(None), t.deadline <= moment)
        found.append(late if wanted.overdue else sa.not_(sa.func.coalesce(late, sa.false())))
    if wanted.after is not None:
        last = sa.tuple_(sa.literal(wanted.after.accepted), sa.literal(wanted.after.id))
        found.append(sa.tuple_(t.accepted, t.id) < last)
    return found


def _name_of(transaction: sa.Connection, dataset: int) -> str:
    query = sa.select(_DATASETS.c.name).where(_DATASETS.c.id == dataset)
    return str(transaction.execute(query).scalar_one())


def retry(home: Home, id_: str) -> None:
    """Try the units of a request again that were set aside.

    Raises:
        UnknownName: There is none of that id.
    """
    with home.site.database.transaction() as transaction:
        request_sql.find(transaction, id_)
        for unit in units.of_request(transaction, id_):
            if unit.state is UnitState.ASIDE:
                units.retry(transaction, unit.id)
