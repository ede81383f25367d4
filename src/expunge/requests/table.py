"""The table of requests, and its rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from expunge.requests.kinds import Kind
from expunge.requests.states import State
from expunge.requests.terms import EVERY_MODEL
from expunge.storage.database import METADATA

REQUESTS: Final = sa.Table(
    "request",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("dataset", sa.ForeignKey("dataset.id"), nullable=False, index=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("samples", sa.BigInteger, nullable=False),
    sa.Column("accepted", sa.String(27), nullable=False),
    sa.Column("done", sa.String(27)),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("method", sa.String(40), nullable=False),
    sa.Column("regime", sa.String(60)),
    sa.Column("received", sa.String(27), nullable=False),
    sa.Column("deadline", sa.String(27)),
    sa.Column("confirm_by", sa.String(27)),
    sa.Column("extended", sa.Boolean, nullable=False),
    sa.Column("effective", sa.String(27)),
    sa.Column("undo_s", sa.Double, nullable=False),
    sa.Column("undo_until", sa.String(27)),
    sa.Column("submitter", sa.String(64), nullable=False),
    sa.Column("approver", sa.String(64), nullable=False),
    sa.Column("error", sa.String(60)),
    # Whether its rows are being destroyed: nobody can undo it or hold them any more.
    sa.Column("destroying", sa.Boolean, nullable=False),
    # Whether it stands in the journal before the mark.
    sa.Column("journaled", sa.Boolean, nullable=False, default=False),
)
UNJOURNALED: Final = ~REQUESTS.c.journaled
UNFINISHED: Final = REQUESTS.c.done.is_(None)
sa.Index(
    "request_unfinished",
    REQUESTS.c.dataset,
    sqlite_where=UNFINISHED,
    postgresql_where=UNFINISHED,
)
sa.Index("request_by_time", REQUESTS.c.accepted, REQUESTS.c.id)
sa.Index(
    "request_unjournaled",
    REQUESTS.c.id,
    sqlite_where=UNJOURNALED,
    postgresql_where=UNJOURNALED,
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request's row. Times are UTC, RFC 3339.

    Attributes:
        samples: How many rows it forgets, or would forget where it is not in effect.
        done: When it came to its end, whichever.
        scopes: For which models it is; see ``terms.scopes``.
        received: When it came in; None where that is not known better than ``accepted``.
        deadline: The first moment that is too late to have answered it.
        confirm_by: The first moment that is too late to have confirmed its receipt.
        extended: Whether its deadline was extended.
        effective: When it took effect, or will.
        undo_s: For so long after that it can be undone. Unit: seconds.
        undo_until: The first moment that is too late to undo it.
        submitter: Who sent it, and ``approver`` who approved it: names that are no personal data.
        error: Why it was refused: a code.
        destroying: Whether its rows are being destroyed.
    """

    id: str
    dataset: int
    kind: Kind
    state: State
    samples: int
    accepted: str
    done: str | None
    scopes: tuple[str, ...] = EVERY_MODEL
    method: str = "declared"
    regime: str | None = None
    received: str | None = None
    deadline: str | None = None
    confirm_by: str | None = None
    extended: bool = False
    effective: str | None = None
    undo_s: float = 0.0
    undo_until: str | None = None
    submitter: str = ""
    approver: str = ""
    error: str | None = None
    destroying: bool = False

    @property
    def destroys(self) -> bool:
        """Whether its rows are to be destroyed, and not only forgotten by some models."""
        keeps = self.kind in (Kind.OBJECT, Kind.RESTRICT)
        return self.scopes == EVERY_MODEL and not keeps


_COLUMNS: Final = tuple(column.name for column in REQUESTS.c if column.name != "journaled")


def values(request: Request) -> dict[str, Any]:
    """What the table holds of a request."""
    found = {name: getattr(request, name) for name in _COLUMNS}
    received = request.received or request.accepted
    return found | {"scopes": json.dumps(request.scopes), "received": received}


def request(row: sa.Row[Any]) -> Request:
    """Read what :func:`values` wrote."""
    found = {name: getattr(row, name) for name in _COLUMNS}
    found |= {"kind": Kind(row.kind), "state": State(row.state)}
    return Request(**found | {"scopes": tuple(json.loads(row.scopes))})
