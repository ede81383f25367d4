"""Who serves which version, and until when: the rows that a request waits for.

A holder writes its row, commits, and only *then* reads which version is current: what it
reads then it may serve until its row runs out. A request publishes, commits, and only then
reads the rows. Of these two, one always sees what the other wrote: no lock is needed, on
either database.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import sqlalchemy as sa

from expunge.storage.database import METADATA

_SERVING: Final = sa.Table(
    "serving",
    METADATA,
    sa.Column("holder", sa.String(32), primary_key=True),
    sa.Column("model", sa.ForeignKey("model.id"), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("until", sa.Float(53), nullable=False),
    sa.Column("seconds", sa.Float(53), nullable=False),
)
_ALL: Final = sa.select(_SERVING)


@dataclass(frozen=True, slots=True)
class Row:
    """A lease, as all processes see it.

    Attributes:
        number: Of the version that is served.
        until: When it runs out, in seconds of the database's clock.
        seconds: For how long it was written.
    """

    holder: str
    model: int
    number: int
    until: float
    seconds: float


def write(
    transaction: sa.Connection, holder: str, rows: Sequence[Row], ended: Collection[int] = ()
) -> None:
    """Write rows of a holder in the place of those before, and remove those of models ``ended``."""
    replaced = {row.model for row in rows} | set(ended)
    if replaced:
        t = _SERVING.c
        transaction.execute(
            _SERVING.delete().where(t.holder == holder, t.model.in_(sorted(replaced)))
        )
    if rows:
        transaction.execute(_SERVING.insert(), [asdict(row) for row in rows])


def give_back(transaction: sa.Connection, holder: str) -> None:
    """Remove all rows of a holder, which serves nothing any more."""
    transaction.execute(_SERVING.delete().where(_SERVING.c.holder == holder))


def clear(transaction: sa.Connection, before: float) -> None:
    """Remove what ran out before a moment: rows of holders that were killed."""
    transaction.execute(_SERVING.delete().where(_SERVING.c.until < before))


def read(transaction: sa.Connection) -> list[Row]:
    """All rows, of all holders; also those that ran out."""
    return [Row(*row) for row in transaction.execute(_ALL)]
