"""Tables of datasets, batches and tombstones, and the lock that orders their changes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from expunge.core.digest import canonical_json
from expunge.core.errors import UnknownName
from expunge.core.types import Schema
from expunge.storage.database import METADATA, now

_DATASETS: Final = sa.Table(
    "dataset",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("folder", sa.String(100), nullable=False),
    sa.Column("secret", sa.LargeBinary(32), nullable=False),
    sa.Column("schema", sa.Text, nullable=False),
    sa.Column("tombstones", sa.BigInteger, nullable=False),
    sa.Column("created", sa.String(27), nullable=False),
)
_BATCHES: Final = sa.Table(
    "batch",
    METADATA,
    sa.Column("dataset", sa.ForeignKey("dataset.id"), primary_key=True),
    sa.Column("tier", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("folder", sa.String(100), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("created", sa.String(27), nullable=False),
)
_TOMBSTONES: Final = sa.Table(
    "tombstone",
    METADATA,
    sa.Column("dataset", sa.ForeignKey("dataset.id"), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("tier", sa.Integer, nullable=False),
    sa.Column("batch", sa.Integer, nullable=False),
    sa.Column("ordinal", sa.BigInteger, nullable=False),
    sa.Column("request", sa.String(36), nullable=False, index=True),
    sa.Column("held", sa.Boolean, nullable=False, index=True),
)


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
_PLACES: Final = sa.select(_TOMBSTONES.c.tier, _TOMBSTONES.c.batch, _TOMBSTONES.c.ordinal).where(
    _TOMBSTONES.c.dataset == sa.bindparam("dataset"),
    _TOMBSTONES.c.number > sa.bindparam("after"),
)
_HELD: Final = (
    sa.select(_TOMBSTONES)
    .where(_TOMBSTONES.c.dataset == sa.bindparam("dataset"), _TOMBSTONES.c.held)
    .order_by(_TOMBSTONES.c.number)
)
_HOLDING: Final = sa.select(_TOMBSTONES.c.dataset).where(_TOMBSTONES.c.held).distinct()


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset's row.

    Attributes:
        folder: Where its batches rest.
        secret: Key of the ring, 32 bytes; never logged.
        tombstones: Number of the last tombstone.
    """

    id: int
    name: str
    folder: Path
    secret: bytes
    schema: Schema
    tombstones: int


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a row stands; also how a tombstone names it."""

    tier: int
    batch: int
    ordinal: int
    token: int


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A forgotten row."""

    number: int
    place: Place
    request: str


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


def add_tombstones(
    transaction: sa.Connection, dataset: Dataset, places: Sequence[Place], request: str
) -> int:
    """Insert tombstones; the dataset must be locked. Returns the last number."""
    last = dataset.tombstones + len(places)
    values = [
        {
            "dataset": dataset.id,
            "number": number,
            "token": place.token - (1 << 63),  # BigInteger is signed
            "tier": place.tier,
            "batch": place.batch,
            "ordinal": place.ordinal,
            "request": request,
            "held": True,
        }
        for number, place in enumerate(places, dataset.tombstones + 1)
    ]
    transaction.execute(_TOMBSTONES.insert(), values)
    transaction.execute(
        _DATASETS.update().where(_DATASETS.c.id == dataset.id).values(tombstones=last)
    )
    return last


def places_after(
    transaction: sa.Connection, dataset: int, number: int
) -> list[tuple[int, int, int]]:
    """(tier, batch, ordinal) of the tombstones behind ``number``."""
    rows = transaction.execute(_PLACES, {"dataset": dataset, "after": number})
    return [(row.tier, row.batch, row.ordinal) for row in rows]


def held(transaction: sa.Connection, dataset: int) -> list[Tombstone]:
    """Tombstones whose rows are not destroyed yet."""
    return [
        Tombstone(
            row.number,
            Place(row.tier, row.batch, row.ordinal, row.token + (1 << 63)),
            row.request,
        )
        for row in transaction.execute(_HELD, {"dataset": dataset})
    ]


def holding(transaction: sa.Connection) -> list[int]:
    """Datasets with rows that are not destroyed yet."""
    return list(transaction.scalars(_HOLDING))


def release(transaction: sa.Connection, dataset: int, numbers: Iterable[int]) -> None:
    """Note that rows are destroyed."""
    t = _TOMBSTONES.c
    ordered = sorted(numbers)
    for start in range(0, len(ordered), 10_000):  # below every database's limit of parameters
        chunk = ordered[start : start + 10_000]
        transaction.execute(
            _TOMBSTONES.update().where(t.dataset == dataset, t.number.in_(chunk)).values(held=False)
        )


def _dataset(row: sa.Row[tuple[object, ...]], root: Path) -> Dataset:
    return Dataset(
        id=row.id,
        name=row.name,
        folder=root / row.folder,
        secret=bytes(row.secret),
        schema=_schema(row.schema),
        tombstones=row.tombstones,
    )


@lru_cache(maxsize=256)
def _schema(text: str) -> Schema:
    return Schema.from_json(json.loads(text))
