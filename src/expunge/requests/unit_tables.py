"""Tables of units, of who waits for them, and of those that the broker is to be told of."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import sqlalchemy as sa

from expunge.storage.database import METADATA

STATE: Final = sa.Column("state", sa.String(10), nullable=False)
UNITS: Final = sa.Table(
    "unit",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model", sa.ForeignKey("model.id"), nullable=False),
    sa.Column("shard", sa.Integer, nullable=False),
    STATE,
    sa.Column("wanted_at", sa.String(27), nullable=False),
    sa.Column("claimed_to", sa.BigInteger),
    sa.Column("holder", sa.String(64)),
    sa.Column("until", sa.Double, nullable=False, default=0.0),
    sa.Column("fence", sa.BigInteger, nullable=False, default=0),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),
    sa.Column("not_before", sa.Double, nullable=False),
    sa.Column("started", sa.String(27)),
    sa.Column("finished", sa.String(27)),
    sa.Column("seconds", sa.Double),
    sa.Column("samples", sa.BigInteger),
    sa.Column("error", sa.String(100)),
)
LINKS: Final = sa.Table(
    "request_unit",
    METADATA,
    sa.Column("request", sa.String(36), primary_key=True),
    sa.Column("unit", sa.ForeignKey("unit.id"), primary_key=True, index=True),
)
OUTBOX: Final = sa.Table(
    "outbox",
    METADATA,
    sa.Column("unit", sa.Integer, primary_key=True, autoincrement=False),
)
"""Units that no broker was told of yet. Written with the unit, in one transaction."""


class State(StrEnum):
    """Where a unit stands. RUNNING may be under a lease that ran out; ASIDE waits for help."""

    OPEN = "open"
    RUNNING = "running"
    DONE = "done"
    ASIDE = "aside"


def _is(*states: State) -> sa.ColumnElement[bool]:
    # Written into the statement: an index of some states is used for those states alone.
    return STATE.in_([sa.literal(str(state), literal_execute=True) for state in states])


def _partial(name: str, *states: State, unique: bool) -> None:
    condition = STATE.in_([str(state) for state in states])
    columns = (UNITS.c.model, UNITS.c.shard)
    sa.Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


WAITING: Final = _is(State.OPEN, State.ASIDE)
RUNNING: Final = _is(State.RUNNING)
UNFINISHED: Final = _is(State.OPEN, State.RUNNING, State.ASIDE)


def awaited_by(request: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether a request waits for a unit."""
    return sa.exists().where(LINKS.c.request == request, LINKS.c.unit == UNITS.c.id, UNFINISHED)


# Two workers cannot hold one shard, nor two units wait for it: the database says so.
_partial("unit_waiting", State.OPEN, State.ASIDE, unique=True)
_partial("unit_running", State.RUNNING, unique=True)
_partial("unit_unfinished", State.OPEN, State.RUNNING, State.ASIDE, unique=False)
