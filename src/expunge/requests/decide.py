"""What people decide about an accepted request, and what time does.

Each decision is a fact, and a record of the journal: a restored backup hears of it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from expunge.core.errors import InputError, RequestMoveRefused, SecondPersonNeeded
from expunge.data import sql as data_sql
from expunge.data.datasets import Ground
from expunge.requests import awaiting, deadlines, effect, moments, sql
from expunge.requests.effect import Effect, Taking
from expunge.requests.finding import Ledge
from expunge.requests.reasons import check_reason
from expunge.requests.sql import Request, State
from expunge.requests.states import FINAL
from expunge.requests.telling import tell
from expunge.storage import facts
from expunge.storage.database import now
from expunge.storage.facts import Fact
from expunge.storage.records import Record
from expunge.training import serving
from expunge.training.site import Site


def approve(site: Site, request: str, approver: str) -> Request:
    """Let a request go on that waits for a second person: to its moment, or into effect.

    Args:
        site: What the home stands on.
        request: Its id.
        approver: A name that is no personal data, such as an API key's id; not the submitter's.

    Raises:
        SecondPersonNeeded: Who approves is not named, or is who sent it.
        RequestMoveRefused: It does not wait for approval.
        UnknownName: There is no such request.
    """
    with site.database.transaction() as transaction:
        row, ground = _locked(site, transaction, request)
        if row.state is not State.SUBMITTED:
            raise RequestMoveRefused(row.id, row.state, "approved")
        if approver in ("", row.submitter):
            raise SecondPersonNeeded(row.id)
        sql.note(transaction, row.id, {"approver": approver})
        record = decision(transaction, Fact("request.approved", {}, row.id))
        moment = moments.now_by(transaction)
        if row.effective and row.effective > moments.stamp(moment):
            done = Effect({}, {})
            sql.move(transaction, row, State.SCHEDULED)
        else:
            done = _take(site, transaction, ground, [row], moment)
        after = sql.find(transaction, row.id)
    tell(site, [record], done.numbers)
    return after


def refuse(site: Site, request: str, reason: str) -> Request:
    """Refuse a request that is not in effect yet.

    Args:
        site: What the home stands on.
        request: Its id.
        reason: A code of small letters, digits and hyphens. It stands in the ledger for ever.

    Raises:
        InputError: The reason is no code.
        RequestMoveRefused: It is in effect, or came to its end.
        UnknownName: There is no such request.
    """
    check_reason(reason)

    def fact(row: Request) -> Fact:
        return Fact("request.refused", {"kind": row.kind, "reason": reason}, row.id)

    return _end(site, request, State.REFUSED, fact, {"error": reason})


def cancel(site: Site, request: str) -> Request:
    """Withdraw a request that is not in effect yet.

    Raises:
        RequestMoveRefused: It is in effect, or came to its end.
        UnknownName: There is no such request.
    """
    return _end(
        site, request, State.CANCELLED, lambda row: Fact("request.cancelled", {}, row.id), {}
    )


def extend(site: Site, request: str) -> Request:
    """Extend a request's deadline once, as its regime allows; whoever asked is to be told.

    Raises:
        InputError: It has no regime, or one without an extension; or its deadline was extended
            before, or is over.
        RequestMoveRefused: It came to its end.
        UnknownName: There is no such request.
    """
    with site.database.transaction() as transaction:
        row, _ = _locked(site, transaction, request)
        if row.state in FINAL:
            raise RequestMoveRefused(row.id, row.state, "extended")
        if row.regime is None or row.deadline is None or row.received is None:
            raise InputError("The request has no regime, so it has no deadline to extend.")
        if row.extended:
            raise InputError("Its deadline was extended before; that is possible once.")
        if row.deadline <= moments.stamp(moments.now_by(transaction)):
            raise InputError("Its deadline is over. An extension has to be told before.")
        received = moments.read(row.received)
        until = moments.stamp(deadlines.extended(deadlines.named(row.regime), received))
        sql.note(transaction, row.id, {"extended": True, "deadline": until})
        body = {"regime": row.regime, "until": until}
        record = decision(transaction, Fact("deadline.extended", body, row.id))
        after = sql.find(transaction, row.id)
    site.journal.append(record)
    return after


def take_effect(site: Site, now: datetime | None = None) -> list[str]:
    """Bring into effect what is scheduled for now or before. Returns the ids of those requests.

    Costs one short query where nothing is due, else one transaction for each dataset.

    Args:
        site: What the home stands on.
        now: By default this moment, by the database's clock.
    """
    with site.database.reading() as transaction:
        moment = now or moments.now_by(transaction)
        due = sql.due(transaction, moments.stamp(moment))
    taken: list[str] = []
    for dataset, _ in groupby(sorted(due, key=attrgetter("dataset")), key=attrgetter("dataset")):
        with site.database.transaction() as transaction:
            ground = site.locked_ground(transaction, dataset)
            rows = sql.due(transaction, moments.stamp(moment))  # others may have been quicker
            mine = [row for row in rows if row.dataset == dataset]
            done = _take(site, transaction, ground, mine, moment)
        serving.wait(site, done.numbers)
        taken += [row.id for row in mine]
    return taken


def decision(transaction: sa.Connection, fact: Fact) -> Record:
    """Record what was decided. Returns what the journal is to say once that has committed."""
    leaf = facts.leaf(fact, now())
    facts.enter(transaction, [(fact, leaf)])
    assert fact.request is not None
    sql.note(transaction, fact.request, {"journaled": False})
    return Record(fact.request, leaf, ())


def _take(
    site: Site,
    transaction: sa.Connection,
    ground: Ground,
    rows: Sequence[Request],
    moment: datetime,
) -> Effect:
    """Bring requests into effect that waited."""
    ids = [row.id for row in rows]
    named, ledge = awaiting.of(transaction, ids), Ledge(ground, transaction)
    awaiting.clear(transaction, ids)
    taken = [
        Taking(row.id, row.scopes, ledge.sort_out(named.get(row.id, ()), row.scopes))
        for row in rows
    ]
    for row, one in zip(rows, taken, strict=True):
        changed = {
            "samples": len(one.found.places),
            "effective": moments.stamp(moment),
            "undo_until": moments.later(moment, row.undo_s) if row.undo_s else None,
        }
        after = sql.move(transaction, row, State.FORGOTTEN, changed)
        if not one.found.is_open:
            sql.move(transaction, after, State.DONE)
    return effect.take(transaction, ground, site.models_of(transaction, ground.dataset.id), taken)


def _end(
    site: Site,
    request: str,
    to: State,
    fact: Callable[[Request], Fact],
    changed: dict[str, Any],
) -> Request:
    with site.database.transaction() as transaction:
        row, _ = _locked(site, transaction, request)
        after = sql.move(transaction, row, to, changed)
        awaiting.clear(transaction, [row.id])
        record = decision(transaction, fact(row))
    site.journal.append(record)
    return after


def _locked(site: Site, transaction: sa.Connection, request: str) -> tuple[Request, Ground]:
    """A request as it is once its dataset is locked."""
    dataset = sql.find(transaction, request).dataset
    data_sql.lock(transaction, dataset)
    return sql.find(transaction, request), site.ground(transaction, dataset)
