"""Datasets, batches and tombstones as the database has them, and the lock that orders changes.

A tombstone has a scope: all models of the dataset (:data:`EVERYTHING`), one model, or the models
of a purpose. Its row is gone for those, and alive for all others.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import sqlalchemy as sa

from expunge.core.digest import canonical_json
from expunge.core.errors import UnknownName
from expunge.core.types import Schema
from expunge.data.places import EVERYTHING as EVERYTHING
from expunge.data.places import Change, Places
from expunge.data.places import Place as Place
from expunge.data.places import Tombstone as Tombstone
from expunge.data.tables import BARRED, LIFTED
from expunge.data.tables import BATCHES as _BATCHES
from expunge.data.tables import DATASETS as _DATASETS
from expunge.data.tables import TOMBSTONES as _TOMBSTONES
from expunge.storage import bulk
from expunge.storage.database import now

# Built once: SQLAlchemy then knows a statement by identity, and each request runs dozens.
_NAMED: Final = sa.select(_DATASETS).where(_DATASETS.c.name == sa.bindparam("name"))
_NUMBERED: Final = sa.select(_DATASETS).where(_DATASETS.c.id == sa.bindparam("id"))
_LOCK: Final = (
    sa.select(_DATASETS.c.id).where(_DATASETS.c.id == sa.bindparam("id")).with_for_update()
)
_FOLDERS: Final = (
    sa.select(_BATCHES.c.tier, _BATCHES.c.number, _BATCHES.c.folder)
    .where(_BATCHES.c.dataset == sa.bindparam("dataset"))
    .order_by(_BATCHES.c.tier, _BATCHES.c.number)
)
_CHANGE: Final = ("number", "tier", "batch", "ordinal", "scope")
_PLACES: Final = sa.select(*(_TOMBSTONES.c[name] for name in _CHANGE)).where(
    _TOMBSTONES.c.dataset == sa.bindparam("dataset"),
    _TOMBSTONES.c.number > sa.bindparam("after"),
)
_LIFTED: Final = sa.select(*(LIFTED.c[name] for name in _CHANGE)).where(
    LIFTED.c.dataset == sa.bindparam("dataset")
)
# By the requests alone: SQLite would look through all of the dataset's otherwise.
_OF_REQUESTS: Final = sa.select(_TOMBSTONES).where(
    _TOMBSTONES.c.request.in_(sa.bindparam("requests", expanding=True))
)
_MOVED: Final = (
    _DATASETS.update()
    .where(_DATASETS.c.id == sa.bindparam("dataset_"))
    .values(tombstones=sa.bindparam("last"))
)
# One look into an index for each dataset; to collect those of all tombstones would read them.
_HOLDING: Final = sa.select(_DATASETS.c.id).where(
    sa.or_(
        sa.exists().where(_TOMBSTONES.c.dataset == _DATASETS.c.id, _TOMBSTONES.c.held),
        sa.exists().where(BARRED.c.dataset == _DATASETS.c.id, BARRED.c.held),
    )
)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset's row.

    Attributes:
        folder: Where its batches rest.
        secret: Key of the ring, 32 bytes; never logged.
        tombstones: Number of the last tombstone, or of the last row that came back.
        era: Another number, which never was, whenever rows come back; within one, they only go.
    """

    id: int
    name: str
    folder: Path
    secret: bytes
    schema: Schema
    tombstones: int
    era: int = 0


def add_dataset(
    transaction: sa.Connection, name: str, folder: str, secret: bytes, schema: Schema
) -> None:
    """Register a dataset without rows."""
    transaction.execute(
        _DATASETS.insert().values(
            name=name,
            folder=folder,
            secret=secret,
            schema=canonical_json(schema.to_json()).decode(),
            tombstones=0,
            era=0,
            created=now(),
        )
    )


def names(transaction: sa.Connection) -> list[str]:
    """Names of all datasets."""
    return list(transaction.scalars(sa.select(_DATASETS.c.name).order_by(_DATASETS.c.name)))


def find_dataset(transaction: sa.Connection, name: str, root: Path) -> Dataset:
    """A dataset by name; its folder lies under ``root``."""
    row = transaction.execute(_NAMED, {"name": name}).one_or_none()
    if row is None:
        raise UnknownName("dataset", name, names(transaction))
    return _dataset(row, root)


def get_dataset(transaction: sa.Connection, id: int, root: Path) -> Dataset:  # noqa: A002 - its name
    """A dataset by id."""
    return _dataset(transaction.execute(_NUMBERED, {"id": id}).one(), root)


def lock(transaction: sa.Connection, dataset: int) -> None:
    """Be the only one who changes tombstones or publishes, until ``transaction`` ends.

    On SQLite the transaction began with ``BEGIN IMMEDIATE`` and is alone already.
    """
    transaction.execute(_LOCK, {"id": dataset}).one()


def add_batch(
    transaction: sa.Connection, dataset: int, tier: int, number: int, folder: str, rows: int
) -> None:
    """Register a batch whose folder is in its place."""
    transaction.execute(
        _BATCHES.insert().values(
            dataset=dataset, tier=tier, number=number, folder=folder, rows=rows, created=now()
        )
    )


def batch_folders(transaction: sa.Connection, dataset: int) -> dict[tuple[int, int], str]:
    """Folder names by (tier, number), in the order of slices."""
    rows = transaction.execute(_FOLDERS, {"dataset": dataset})
    return {(row.tier, row.number): row.folder for row in rows}


def bury(
    transaction: sa.Connection, dataset: Dataset, buried: Sequence[tuple[Places, str, str]]
) -> int:
    """Insert tombstones of rows, with their request and scope; the dataset must be locked.

    Returns the last number. Costs two statements, and about 5 µs for each row.
    """
    counts = [len(places) for places, _, _ in buried]
    last = dataset.tombstones + sum(counts)
    if last > dataset.tombstones:
        rows = Places.joined([places for places, _, _ in buried]).rows
        said = [(request, scope) for _, request, scope in buried]
        repeated = [
            np.repeat(np.array(of, object), counts).tolist() for of in zip(*said, strict=True)
        ]
        columns: dict[str, bulk.Column] = {
            "number": np.arange(dataset.tombstones + 1, last + 1),
            "dataset": [dataset.id] * len(rows),
            "token": (rows["token"] ^ np.uint64(1 << 63)).view(np.int64),  # BigInteger is signed
            **{name: rows[name] for name in ("tier", "batch", "ordinal")},
            "request": repeated[0],
            "scope": repeated[1],
            "held": [True] * len(rows),
        }
        bulk.insert(transaction, _TOMBSTONES, columns)
        transaction.execute(_MOVED, {"dataset_": dataset.id, "last": last})
    return last


def lift(transaction: sa.Connection, dataset: Dataset, request: str) -> list[Tombstone]:
    """Take back the tombstones of a request; the dataset must be locked.

    Those of rows that may be destroyed by now stay: such a row cannot come back. Grounds are
    read anew after this, which costs as much as all tombstones of the dataset.
    """
    t = _TOMBSTONES.c
    alive = sa.or_(t.held, t.scope != EVERYTHING)
    query = sa.select(_TOMBSTONES).where(t.dataset == dataset.id, t.request == request, alive)
    stones = [stone(row) for row in transaction.execute(query.order_by(t.number))]
    if stones:
        values = [
            {
                "dataset": dataset.id,
                "number": number,
                "tier": stone.place.tier,
                "batch": stone.place.batch,
                "ordinal": stone.place.ordinal,
                "scope": stone.scope,
            }
            for number, stone in enumerate(stones, dataset.tombstones + 1)
        ]
        transaction.execute(LIFTED.insert(), values)
        transaction.execute(
            _TOMBSTONES.delete().where(t.dataset == dataset.id, t.request == request, alive)
        )
        moved = _DATASETS.update().where(_DATASETS.c.id == dataset.id)
        # Counted up, it would be the same after another lift where this one is rolled back.
        era = secrets.randbits(62)
        transaction.execute(moved.values(tombstones=dataset.tombstones + len(stones), era=era))
    return stones


def places_after(transaction: sa.Connection, dataset: int, number: int) -> list[Change]:
    """The tombstones behind ``number``, in no order."""
    rows = transaction.execute(_PLACES, {"dataset": dataset, "after": number})
    return [Change(*row) for row in rows]


def forgotten(transaction: sa.Connection, dataset: int) -> list[Change]:
    """All tombstones, in the order of their numbers."""
    return sorted(places_after(transaction, dataset, 0))


def lifted(transaction: sa.Connection, dataset: int) -> list[Change]:
    """All rows that came back, in the order in which they did."""
    return sorted(Change(*row) for row in transaction.execute(_LIFTED, {"dataset": dataset}))


def tombstones_of(transaction: sa.Connection, dataset: int, request: str) -> list[Place]:
    """Where the rows stand that a request forgot, each once, in whatever scopes it is gone."""
    stones = tombstones_in(transaction, dataset, [request])
    return list(dict.fromkeys(stone.place for stone in stones))


def tombstones_in(
    transaction: sa.Connection, dataset: int, requests: Sequence[str]
) -> list[Tombstone]:
    """Tombstones of some hundred requests, by number."""
    found = transaction.execute(_OF_REQUESTS, {"requests": list(requests)})
    mine = [stone(row) for row in found if row.dataset == dataset]
    return sorted(mine, key=lambda one: one.number)


def holding(transaction: sa.Connection) -> list[int]:
    """Datasets with rows, or checkpoints that saw them, that are not destroyed yet."""
    return sorted(transaction.scalars(_HOLDING))


def release(transaction: sa.Connection, dataset: int, numbers: Iterable[int]) -> None:
    """Note that rows are destroyed."""
    t = _TOMBSTONES.c
    ordered = sorted(numbers)
    for start in range(0, len(ordered), 10_000):  # below every database's limit of parameters
        chunk = ordered[start : start + 10_000]
        transaction.execute(
            _TOMBSTONES.update().where(t.dataset == dataset, t.number.in_(chunk)).values(held=False)
        )


def stone(row: sa.Row[tuple[object, ...]]) -> Tombstone:
    """A tombstone's row, read."""
    place = Place(row.tier, row.batch, row.ordinal, row.token + (1 << 63))
    return Tombstone(row.number, place, row.request, row.scope)


def _dataset(row: sa.Row[tuple[object, ...]], root: Path) -> Dataset:
    return Dataset(
        id=row.id,
        name=row.name,
        folder=root / row.folder,
        secret=bytes(row.secret),
        schema=_schema(row.schema),
        tombstones=row.tombstones,
        era=row.era,
    )


@lru_cache(maxsize=256)
def _schema(text: str) -> Schema:
    return Schema.from_json(json.loads(text))
