"""Table of requests."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import sqlalchemy as sa

from expunge.core.errors import UnknownName
from expunge.storage.database import METADATA, now

_REQUESTS: Final = sa.Table(
    "request",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("dataset", sa.ForeignKey("dataset.id"), nullable=False, index=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("samples", sa.BigInteger, nullable=False),
    sa.Column("accepted", sa.String(27), nullable=False),
    sa.Column("done", sa.String(27)),
)


class State(StrEnum):
    """Where a request stands.

    FORGOTTEN: no served model has seen the samples. DONE: every model is whole again, and
    rows and checkpoints are destroyed.
    """

    FORGOTTEN = "forgotten"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Request:
    """A request's row. Times are UTC, RFC 3339."""

    id: str
    dataset: int
    kind: str
    state: State
    samples: int
    accepted: str
    done: str | None


def add(
    transaction: sa.Connection,
    id: str,  # noqa: A002 - its name
    dataset: int,
    kind: str,
    samples: int,
    *,
    held: bool,
) -> None:
    """Register a request that is accepted in this transaction.

    It is done at once where no row that it names is ``held`` any more.
    """
    state = State.FORGOTTEN if held else State.DONE
    moment = now()
    done = None if held else moment
    transaction.execute(
        _REQUESTS.insert().values(
            id=id,
            dataset=dataset,
            kind=kind,
            state=state,
            samples=samples,
            accepted=moment,
            done=done,
        )
    )


def finish(
    transaction: sa.Connection, dataset: int, destroyed: Iterable[str], left: Collection[str]
) -> None:
    """Note which requests of a dataset are done.

    Args:
        transaction: The dataset is locked in it.
        dataset: Its id.
        destroyed: Requests of which rows were just destroyed.
        left: Requests of which rows are still held. When there are none, those are done as
            well that named only rows which were forgotten before.
    """
    t = _REQUESTS.c
    over = _REQUESTS.update().where(t.dataset == dataset, t.done.is_(None))
    over = over.values(state=State.DONE, done=now())
    if not left:
        transaction.execute(over)
        return
    for request in set(destroyed) - set(left):
        transaction.execute(over.where(t.id == request))


def find(transaction: sa.Connection, id: str) -> Request:  # noqa: A002 - its name
    """A request by id."""
    row = transaction.execute(sa.select(_REQUESTS).where(_REQUESTS.c.id == id)).one_or_none()
    if row is None:
        raise UnknownName("request", id, [])
    return _request(row)


def all_of(transaction: sa.Connection, dataset: int | None = None) -> list[Request]:
    """All requests, oldest first; of one dataset, or of all."""
    query = sa.select(_REQUESTS).order_by(_REQUESTS.c.accepted, _REQUESTS.c.id)
    if dataset is not None:
        query = query.where(_REQUESTS.c.dataset == dataset)
    return [_request(row) for row in transaction.execute(query)]


def _request(row: sa.Row[tuple[object, ...]]) -> Request:
    return Request(
        row.id, row.dataset, row.kind, State(row.state), row.samples, row.accepted, row.done
    )
