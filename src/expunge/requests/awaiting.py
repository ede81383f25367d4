"""Rows that a request names and has no tombstones for.

Those of a request that is not in effect yet; and of one that is, those that others had forgotten
already and that are not destroyed: should such a request be undone, they stay forgotten.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np
import sqlalchemy as sa

from expunge.data.places import Place, Places
from expunge.data.tables import TOMBSTONES
from expunge.requests.sql import REQUESTS, chunks
from expunge.storage import bulk
from expunge.storage.database import METADATA

_AWAITING: Final = sa.Table(
    "awaiting",
    METADATA,
    sa.Column("request", sa.ForeignKey("request.id"), primary_key=True),
    sa.Column("tier", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("batch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("ordinal", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("token", sa.BigInteger, nullable=False),
)
_SIGNED: Final = 1 << 63  # BigInteger is signed, tokens are not


def add(transaction: sa.Connection, awaited: Mapping[str, Collection[Place]]) -> None:
    """Note rows by request."""
    placed = {request: Places.of(places) for request, places in awaited.items() if len(places)}
    if not placed:
        return
    rows = Places.joined(list(placed.values())).rows
    columns: dict[str, bulk.Column] = {
        "request": [request for request, places in placed.items() for _ in range(len(places))],
        **{name: rows[name] for name in ("tier", "batch", "ordinal")},
        "token": (rows["token"] ^ np.uint64(_SIGNED)).view(np.int64),
    }
    bulk.insert(transaction, _AWAITING, columns)


def of(transaction: sa.Connection, requests: Collection[str]) -> dict[str, Sequence[Place]]:
    """Rows of these requests, sorted; without those that have none."""
    found: dict[str, list[Place]] = defaultdict(list)
    for chunk in chunks(requests):
        query = sa.select(_AWAITING).where(_AWAITING.c.request.in_(chunk))
        for row in transaction.execute(query):
            place = Place(row.tier, row.batch, row.ordinal, row.token + _SIGNED)
            found[row.request].append(place)
    return {request: sorted(places) for request, places in found.items()}


def follow(
    transaction: sa.Connection, dataset: int, heirs: Mapping[tuple[int, int, int], Place]
) -> None:
    """Note beside rows of a dataset, which is locked, those that succeed them: their heirs."""
    t = _AWAITING.c
    columns = (t.request, t.tier, t.batch, t.ordinal)
    query = sa.select(*columns).join(REQUESTS).where(REQUESTS.c.dataset == dataset)
    found = defaultdict[str, set[Place]](set)
    for request, *spot in transaction.execute(query):
        if heir := heirs.get((spot[0], spot[1], spot[2])):
            found[request].add(heir)
    add(transaction, found)


def clear(transaction: sa.Connection, requests: Collection[str]) -> None:
    """Forget the rows of requests that have tombstones now, or came to their end."""
    for chunk in chunks(requests):
        transaction.execute(_AWAITING.delete().where(_AWAITING.c.request.in_(chunk)))


def pass_on(transaction: sa.Connection, dataset: int, passed: Mapping[int, str]) -> None:
    """Give tombstones to other requests, which are locked with their dataset; by number."""
    t = TOMBSTONES.c
    for number, request in passed.items():
        mine = TOMBSTONES.update().where(t.dataset == dataset, t.number == number)
        transaction.execute(mine.values(request=request))
