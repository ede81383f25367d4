"""Tombstones of some rows: what is asked of them without reading all that a dataset has."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
import sqlalchemy as sa

from expunge.data import sql
from expunge.data.places import Places, Tombstone
from expunge.data.tables import TOMBSTONES

_AT_ONCE: Final = 10_000  # below every database's limit of parameters


def of(transaction: sa.Connection, dataset: int, requests: Collection[str]) -> list[Tombstone]:
    """Tombstones of requests whose rows are not destroyed yet, by number."""
    ordered, t = sorted(requests), TOMBSTONES.c
    found: list[Tombstone] = []
    for start in range(0, len(ordered), _AT_ONCE):
        # By the requests alone: SQLite would look through all of the dataset's otherwise.
        query = sa.select(TOMBSTONES).where(t.request.in_(ordered[start : start + _AT_ONCE]))
        rows = transaction.execute(query)
        found += [sql.stone(row) for row in rows if row.held and row.dataset == dataset]
    return sorted(found, key=lambda stone: stone.number)


def at(
    transaction: sa.Connection, dataset: int, places: Places, *, held: bool = False
) -> list[Tombstone]:
    """Tombstones of these rows, whoever asked for them, by number.

    Costs one pass over the tombstones of the dataset in the database, which has no index of
    rows, for each ten thousand of these; about 0.3 µs for each that it has.

    Args:
        transaction: In which they are read.
        dataset: Its id.
        places: Where the rows stand.
        held: Leave out those of rows that are destroyed.
    """
    t = TOMBSTONES.c
    spots = {(one.tier, one.batch, one.ordinal) for one in places}
    tokens = np.unique((places.tokens ^ np.uint64(1 << 63)).view(np.int64)).tolist()
    query = sa.select(TOMBSTONES).where(t.dataset == dataset)
    query = query.where(t.held) if held else query
    found: list[Tombstone] = []
    for start in range(0, len(tokens), _AT_ONCE):
        chunk = tokens[start : start + _AT_ONCE]
        found += map(sql.stone, transaction.execute(query.where(t.token.in_(chunk))))
    named = (s for s in found if (s.place.tier, s.place.batch, s.place.ordinal) in spots)
    return sorted(named, key=lambda stone: stone.number)
