"""The outbox: open units that the queue was not told of yet.

Its rows are written with the unit, in one transaction, and deleted after the queue has
confirmed them. A crash in between tells it twice, which is harmless; never not at all.
"""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from expunge.requests.unit_tables import OUTBOX, UNITS


def pending(transaction: sa.Connection, limit: int, until: float) -> list[int]:
    """The first ``limit`` units to tell of, of those that may begin at ``until`` or before.

    One that waits for more requests, or after a failure, is told of when its time has come:
    a worker that hears of it earlier cannot claim it, and would not hear of it again.
    """
    due = sa.func.coalesce(UNITS.c.not_before, 0.0) <= until
    outbox = sa.outerjoin(OUTBOX, UNITS, UNITS.c.id == OUTBOX.c.unit)
    wanted = sa.select(OUTBOX.c.unit).select_from(outbox).where(due)
    return list(transaction.scalars(wanted.order_by(OUTBOX.c.unit).limit(limit)))


def sent(transaction: sa.Connection, units: Collection[int]) -> None:
    """Forget rows of units that the queue has confirmed; some hundred at a time."""
    transaction.execute(OUTBOX.delete().where(OUTBOX.c.unit.in_(units)))
