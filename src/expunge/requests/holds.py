"""Legal holds: rows that are not destroyed, whoever asks for it, until the hold is released.

A hold keeps rows; it lets nobody read them. A request that names a held row takes effect as any
other does: no model answers or is trained with it. Only its destruction waits.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from expunge.core.errors import NameTaken, NothingToForget, SamplesUnknown, UnknownName
from expunge.data import sql as data_sql
from expunge.data import stones
from expunge.data.places import EVERYTHING, Place, Places
from expunge.requests import awaiting, finding, sql
from expunge.requests.finding import Wanted
from expunge.requests.states import IN_EFFECT
from expunge.storage import facts
from expunge.storage.database import METADATA, now
from expunge.storage.facts import Fact
from expunge.training.site import Site

_HOLDS: Final = sa.Table(
    "hold",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("dataset", sa.ForeignKey("dataset.id"), nullable=False, index=True),
    sa.Column("name", sa.String(100), nullable=False, unique=True),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("placed", sa.String(27), nullable=False),
)
_ROWS: Final = sa.Table(
    "held_row",
    METADATA,
    sa.Column("hold", sa.ForeignKey("hold.id"), primary_key=True),
    sa.Column("tier", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("batch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("ordinal", sa.BigInteger, primary_key=True, autoincrement=False),
)

Spot: TypeAlias = tuple[int, int, int]
"""(tier, batch, ordinal) of a row."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold.

    Attributes:
        id: Random.
        dataset: Its name.
        name: The owner's, such as a case number; no personal data.
        rows: How many it keeps.
        placed: When; UTC, RFC 3339.
    """

    id: str
    dataset: str
    name: str
    rows: int
    placed: str


def place(site: Site, dataset: str, name: str, wanted: Wanted) -> Hold:
    """Keep the rows that ``wanted`` names from being destroyed, until the hold is released.

    Rows that are destroyed already, or are being destroyed, are not kept by it.

    Raises:
        NothingToForget: It names nothing.
        SamplesUnknown: It names what the dataset never held; or nothing is left of it.
        NameTaken: Another hold has that name.
        UnknownName: There is no such dataset.
    """
    if not wanted.identifiers:
        raise NothingToForget
    with site.database.transaction() as transaction:
        row = site.dataset(transaction, dataset)
        ground = site.locked_ground(transaction, row.id)
        (places,) = finding.name(ground, [wanted])
        if isinstance(places, SamplesUnknown):
            raise places
        there = {*ground.remaining(places), *_kept(transaction, row.id, places)}
        rows = [one for one in places if one in there]
        if not rows:
            raise SamplesUnknown([one for _, one in wanted.identifiers], "sample ids and subjects")
        hold = Hold(str(uuid.uuid4()), dataset, name, len(rows), now())
        _add(transaction, hold, row.id, rows)
        body = {"dataset": row.folder.name, "rows": len(rows)}
        facts.record(transaction, Fact("hold.placed", body, hold.id))
    return hold


def release(site: Site, hold: str) -> Hold:
    """Let go of the rows of a hold; those that no other keeps are destroyed if they are to be.

    Args:
        site: What the home stands on.
        hold: Its id or name.

    Raises:
        UnknownName: There is no such hold.
    """
    with site.database.transaction() as transaction:
        found = _find(transaction, hold)
        row = site.dataset(transaction, found.dataset)
        data_sql.lock(transaction, row.id)
        transaction.execute(_ROWS.delete().where(_ROWS.c.hold == found.id))
        if transaction.execute(_HOLDS.delete().where(_HOLDS.c.id == found.id)).rowcount:
            body = {"dataset": row.folder.name, "rows": found.rows}
            facts.record(transaction, Fact("hold.released", body, found.id))
    return found


def all_of(transaction: sa.Connection) -> list[Hold]:
    """All holds, oldest first."""
    return [_hold(row) for row in transaction.execute(_SELECT.order_by(_HOLDS.c.placed))]


def lost(transaction: sa.Connection) -> set[str]:
    """Ids of holds that the ledger knows, and a restored database does not."""
    placed, released = (
        {fact.request for fact in facts.read(transaction, kinds=[kind]) if fact.request}
        for kind in ("hold.placed", "hold.released")
    )
    return placed - released - {hold.id for hold in all_of(transaction)}


def follow(transaction: sa.Connection, dataset: int, heirs: Mapping[Spot, Place]) -> None:
    """Keep beside rows of a dataset, which is locked, those that succeed them: their heirs."""
    r = _ROWS.c
    query = sa.select(r.hold, r.tier, r.batch, r.ordinal).join(_HOLDS)
    found = [
        (hold, heir)
        for hold, *spot in transaction.execute(query.where(_HOLDS.c.dataset == dataset))
        if (heir := heirs.get((spot[0], spot[1], spot[2])))
    ]
    for hold, heir in dict.fromkeys(found):
        _keep(transaction, hold, [heir])
        mine = _HOLDS.update().where(_HOLDS.c.id == hold)
        transaction.execute(mine.values(rows=_HOLDS.c.rows + 1))


def spots(transaction: sa.Connection, dataset: int) -> set[Spot]:
    """Rows of a dataset that some hold keeps."""
    r = _ROWS.c
    query = sa.select(r.tier, r.batch, r.ordinal).join(_HOLDS).where(_HOLDS.c.dataset == dataset)
    return {(row.tier, row.batch, row.ordinal) for row in transaction.execute(query)}


_DATASET: Final = METADATA.tables["dataset"]
_SELECT: Final = sa.select(
    _HOLDS.c.id, _DATASET.c.name.label("dataset"), _HOLDS.c.name, _HOLDS.c.rows, _HOLDS.c.placed
).join(_DATASET, _DATASET.c.id == _HOLDS.c.dataset)


def _find(transaction: sa.Connection, hold: str) -> Hold:
    query = _SELECT.where(sa.or_(_HOLDS.c.id == hold, _HOLDS.c.name == hold))
    row = transaction.execute(query).first()
    if row is None:
        raise UnknownName("hold", hold, [one.name for one in all_of(transaction)])
    return _hold(row)


def _hold(row: Any) -> Hold:  # noqa: ANN401 - a database row
    return Hold(row.id, row.dataset, row.name, row.rows, row.placed)


def _add(transaction: sa.Connection, hold: Hold, dataset: int, rows: Collection[Place]) -> None:
    known = {one.name: one for one in all_of(transaction)}
    if hold.name in known:
        raise NameTaken("hold", hold.name, "Release it first, or choose another name.")
    values = {"id": hold.id, "dataset": dataset, "name": hold.name, "placed": hold.placed}
    transaction.execute(_HOLDS.insert().values(values | {"rows": hold.rows}))
    _keep(transaction, hold.id, rows)


def _keep(transaction: sa.Connection, hold: str, rows: Collection[Place]) -> None:
    kept = [{"tier": p.tier, "batch": p.batch, "ordinal": p.ordinal} for p in rows]
    transaction.execute(_ROWS.insert(), [one | {"hold": hold} for one in kept])


def _kept(transaction: sa.Connection, dataset: int, places: Places) -> set[Place]:
    """Those of these rows that are forgotten, and whose destruction has not begun."""
    active = sql.unfinished(transaction, dataset, IN_EFFECT)
    begun = [request.id for request in active if request.destroying]
    going = {place for places in awaiting.of(transaction, begun).values() for place in places}
    found = stones.at(transaction, dataset, places, held=True)
    held = [stone for stone in found if stone.scope == EVERYTHING]
    going.update(stone.place for stone in held if stone.request in begun)
    safe = spots(transaction, dataset)
    return {
        stone.place
        for stone in held
        if stone.place not in going
        or (stone.place.tier, stone.place.batch, stone.place.ordinal) in safe
    }
