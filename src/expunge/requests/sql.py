"""Table of requests, and how much of the journal it knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa

from expunge.core.errors import RequestMoveRefused, RequestUnknownHere, UnknownName
from expunge.requests import table
from expunge.requests.states import FINAL, IN_EFFECT, check
from expunge.requests.states import State as State
from expunge.requests.table import REQUESTS as REQUESTS
from expunge.requests.table import UNFINISHED, UNJOURNALED
from expunge.requests.table import Request as Request
from expunge.requests.unit_tables import awaited_by
from expunge.storage import bulk
from expunge.storage.database import METADATA, now
from expunge.storage.facts import FACTS
from expunge.storage.records import Position

_MARK: Final = sa.Table(
    "journal_mark",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("checksum", sa.LargeBinary(32), nullable=False),
)

_STRANGERS: Final = sa.Table(
    "request_unknown",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
)

_RESTORING: Final = sa.Table(
    "restoring",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("size", sa.BigInteger, nullable=False),
)

_AT_ONCE: Final = 500  # below every database's limit of parameters


def add(transaction: sa.Connection, *requests: Request) -> None:
    """Register requests that are accepted in this transaction."""
    rows = [table.values(request) | {"journaled": False} for request in requests]
    bulk.insert_rows(transaction, REQUESTS, rows)


def move(
    transaction: sa.Connection,
    request: Request,
    to: State,
    changed: Mapping[str, Any] = MappingProxyType({}),
) -> Request:
    """Move a request, with what changes beside its state. Returns it as it is then.

    Raises:
        RequestMoveRefused: It may not move so, or another process moved it meanwhile.
    """
    check(request.id, request.state, to)
    values = {"state": to, **changed} | ({"done": now()} if to in FINAL else {})
    t = REQUESTS.c
    mine = REQUESTS.update().where(t.id == request.id, t.state == request.state)
    if transaction.execute(mine.values(values)).rowcount != 1:
        raise RequestMoveRefused(request.id, find(transaction, request.id).state, to)
    return replace(request, **values)


def move_all(transaction: sa.Connection, requests: Sequence[Request], to: State) -> None:
    """Move many requests of one dataset, which is locked.

    Raises:
        RequestMoveRefused: One may not move so; the transaction must be rolled back.
    """
    for request in requests:
        check(request.id, request.state, to)
    values = {"state": to} | ({"done": now()} if to in FINAL else {})
    for chunk in chunks([request.id for request in requests]):
        transaction.execute(REQUESTS.update().where(REQUESTS.c.id.in_(chunk)).values(values))


def note(transaction: sa.Connection, request: str, values: Mapping[str, Any]) -> None:
    """Change something of a request that is not its state."""
    transaction.execute(REQUESTS.update().where(REQUESTS.c.id == request).values(values))


def set_destroying(
    transaction: sa.Connection, requests: Collection[str], *, destroying: bool
) -> None:
    """Note whether rows of these requests are being destroyed: nobody gets those back."""
    for chunk in chunks(requests):
        mine = REQUESTS.update().where(REQUESTS.c.id.in_(chunk))
        transaction.execute(mine.values(destroying=destroying))


def find(transaction: sa.Connection, id: str) -> Request:  # noqa: A002 - its name
    """A request by id.

    Raises:
        RequestUnknownHere: Only the journal knows it: its dataset is not here.
        UnknownName: Nobody knows it.
    """
    row = transaction.execute(sa.select(REQUESTS).where(REQUESTS.c.id == id)).one_or_none()
    if row is None and known(transaction, [id]):
        raise RequestUnknownHere(id)
    if row is None:
        raise UnknownName("request", id, [])
    return table.request(row)


def unfinished(
    transaction: sa.Connection, dataset: int, states: Collection[State]
) -> list[Request]:
    """Requests of a dataset in some states that are not final, oldest first."""
    return _unfinished(transaction, dataset, states, sa.true())


def rebuilt(transaction: sa.Connection, dataset: int) -> list[Request]:
    """Requests of a dataset that are in effect, and wait for no unit or never did; oldest first."""
    ready = sa.or_(REQUESTS.c.state != State.FORGOTTEN, ~awaited_by(REQUESTS.c.id))
    return _unfinished(transaction, dataset, IN_EFFECT, ready)


def _unfinished(
    transaction: sa.Connection,
    dataset: int,
    states: Collection[State],
    condition: sa.ColumnElement[bool],
) -> list[Request]:
    t = REQUESTS.c
    mine = sa.and_(t.dataset == dataset, UNFINISHED, t.state.in_(states), condition)
    query = sa.select(REQUESTS).where(mine).order_by(t.accepted, t.id)
    return [table.request(row) for row in transaction.execute(query)]


def waiting(transaction: sa.Connection, states: Collection[State]) -> list[int]:
    """Datasets that have requests in some states that are not final."""
    query = sa.select(REQUESTS.c.dataset).where(UNFINISHED, REQUESTS.c.state.in_(states))
    return sorted(transaction.scalars(query.distinct()))


def due(transaction: sa.Connection, moment: str) -> list[Request]:
    """Scheduled requests whose moment has come, oldest first."""
    t = REQUESTS.c
    query = sa.select(REQUESTS).where(UNFINISHED, t.state == State.SCHEDULED, t.effective <= moment)
    return [table.request(row) for row in transaction.execute(query.order_by(t.effective, t.id))]


def all_of(transaction: sa.Connection, dataset: int | None = None) -> list[Request]:
    """All requests, oldest first; of one dataset, or of all."""
    query = sa.select(REQUESTS).order_by(REQUESTS.c.accepted, REQUESTS.c.id)
    if dataset is not None:
        query = query.where(REQUESTS.c.dataset == dataset)
    return [table.request(row) for row in transaction.execute(query)]


def some(transaction: sa.Connection, ids: Collection[str]) -> list[Request]:
    """Those of these requests that are here, some hundred."""
    query = sa.select(REQUESTS).where(REQUESTS.c.id.in_(ids))
    return [table.request(row) for row in transaction.execute(query.order_by(REQUESTS.c.accepted))]


def known(transaction: sa.Connection, ids: Collection[str]) -> set[str]:
    """Which of these requests are here; also those whose dataset is not."""
    return {
        one
        for table in (REQUESTS, _STRANGERS)
        for chunk in chunks(ids)
        for one in transaction.scalars(sa.select(table.c.id).where(table.c.id.in_(chunk)))
    }


def add_strangers(transaction: sa.Connection, ids: Collection[str]) -> None:
    """Note requests about datasets that are not here: there is nothing to do for them."""
    if ids:
        transaction.execute(_STRANGERS.insert(), [{"id": one} for one in ids])


def every(transaction: sa.Connection) -> list[str]:
    """Ids of all requests."""
    return list(transaction.scalars(sa.select(REQUESTS.c.id)))


def strangers(transaction: sa.Connection) -> list[str]:
    """Ids of the requests whose dataset is not here."""
    return list(transaction.scalars(sa.select(_STRANGERS.c.id)))


def unjournaled(transaction: sa.Connection) -> list[str]:
    """Ids of the requests that may stand behind the mark, or not in the journal at all."""
    return list(transaction.scalars(sa.select(REQUESTS.c.id).where(UNJOURNALED)))


def unknown_to_all(transaction: sa.Connection) -> int:
    """How many requests the ledger says were received, and nobody knows what they named."""
    received = sa.select(sa.func.count(FACTS.c.request.distinct())).where(
        FACTS.c.kind == "request.received",
        FACTS.c.request.not_in(sa.select(REQUESTS.c.id)),
        FACTS.c.request.not_in(sa.select(_STRANGERS.c.id)),
    )
    return transaction.scalar(received) or 0


def lock_restoring(transaction: sa.Connection) -> None:
    """Be the only one who finds this database to be old, or makes up for that."""
    transaction.execute(sa.select(METADATA.tables["format"]).with_for_update()).one()


def begin_restoring(transaction: sa.Connection, size: int) -> None:
    """Note that this database was found to be older than its ledger, at ``size`` entries."""
    if restoring(transaction) is None:
        transaction.execute(_RESTORING.insert().values(id=1, size=size))


def restoring(transaction: sa.Connection) -> int | None:
    """Size of the ledger's tree when this database was found to be old; None when all is done."""
    return transaction.scalars(sa.select(_RESTORING.c.size)).first()


def end_restoring(transaction: sa.Connection) -> None:
    """Note that what an old database lacked is recorded, and made up for as far as can be."""
    transaction.execute(_RESTORING.delete())


def mark(transaction: sa.Connection) -> Position | None:
    """Up to where all that the journal says is known here."""
    row = transaction.execute(sa.select(_MARK)).one_or_none()
    return Position(row.offset, bytes(row.checksum)) if row else None


def set_mark(transaction: sa.Connection, position: Position, journaled: Collection[str]) -> None:
    """Note that all before ``position`` is known here, and that these requests stand there.

    A backup of this database has the mark of its time: what came later is behind it.
    """
    transaction.execute(_MARK.delete())
    where = {"offset": position.offset, "checksum": position.checksum}
    transaction.execute(_MARK.insert().values(id=1, **where))
    for chunk in chunks(journaled):
        standing = REQUESTS.update().where(REQUESTS.c.id.in_(chunk))
        transaction.execute(standing.values(journaled=True))


def drop_mark(transaction: sa.Connection) -> None:
    """Take nothing for granted: the journal is another one than before."""
    transaction.execute(_MARK.delete())
    transaction.execute(REQUESTS.update().values(journaled=False))


def chunks(ids: Collection[str]) -> list[Sequence[str]]:
    """Ids in order, some hundred at a time."""
    ordered = sorted(ids)
    return [ordered[start : start + _AT_ONCE] for start in range(0, len(ordered), _AT_ONCE)]
