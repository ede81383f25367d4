"""Append rows to a dataset, or make it: stage files, then register them in one transaction.

Files are moved into place just before the transaction commits. A crash in between leaves a
folder that no row of the database names; the next append removes it.
"""

from __future__ import annotations

import os
import re
import secrets
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import sqlalchemy as sa

from expunge.core.errors import DataCorrupt, InputError, SchemaMismatch
from expunge.core.types import Role, Schema
from expunge.data import barred, ingest, sql
from expunge.data.barred import Barred
from expunge.data.datasets import Ground, Grounds
from expunge.data.ingest import Arrival, Staged, StagedBatch
from expunge.data.options import Ingest
from expunge.data.ring import SECRET_BYTES, Ring
from expunge.data.sources import Source
from expunge.data.uniqueness import Known
from expunge.storage import disk, facts
from expunge.storage.database import Database
from expunge.storage.facts import Fact
from expunge.storage.locks import alone, alone_if_free

_HEAVY_ROWS = 10
_FOLDER: Final = re.compile(r"(\d{3,})-(\d{6,})")
_STAGING = "staging-"
_PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Stock:
    """Where datasets rest."""

    database: Database
    folder: Path
    grounds: Grounds


@dataclass(frozen=True, slots=True)
class Staging:
    """Rows that are staged, and the dataset that they will join.

    Attributes:
        ground: The dataset as it was; None where it will be new.
        ring: Its ring, new or not.
    """

    name: str
    ground: Ground | None
    ring: Ring
    place: Path
    folder: Path
    staged: Staged


@contextmanager
def staging(  # noqa: PLR0913 - one call, made in four places
    stock: Stock,
    name: str,
    source: Source,
    options: Ingest,
    *,
    secret: bytes | None = None,
    number: int | None = None,
    readmit: bool = False,
    replacing: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Staging]:
    """Stage ``source``; nobody else may append to any dataset of this home meanwhile.

    Args:
        stock: Where datasets rest.
        name: Of the dataset, which need not be there yet.
        source: The rows.
        options: What its columns are.
        progress: Called with the number of rows read so far.
        secret: Of a new dataset's ring; random by default.
        number: Of the batch, where earlier ones are empty and were left out; by default the next.
        readmit: Whether forgotten ids may come back.
        replacing: Whether ids that are in the dataset may stand in ``source``.

    Raises:
        InputError: The source cannot be used; the dataset is as it was.
    """
    with alone(stock.folder / "append.lock"):
        with stock.database.reading() as transaction:
            ground = _ground(stock, transaction, name)
            away = barred.load(transaction, ground.dataset.id) if ground else Barred()
            _remove_orphans(stock, transaction)
        ring = Ring(
            ground.dataset.secret if ground else secret or secrets.token_bytes(SECRET_BYTES)
        )
        place = ground.dataset.folder if ground else stock.folder / secrets.token_hex(16)
        with stock.database.reading() as transaction:
            number = _number(transaction, ground, number)
        known, readmit = _known(ground, replacing), readmit or replacing
        arrival = Arrival(ring, number, known, readmit, away)
        folder = place / f"{_STAGING}{number}"
        place.mkdir(parents=True, exist_ok=True)
        try:
            fitted = _fit(options, ground.dataset.schema if ground else None)
            staged = ingest.stage(source, folder, arrival, fitted, progress)
            if not replacing:  # corrections are small, and of few people
                _warn(staged, options)
            yield Staging(name, ground, ring, place, folder, staged)
            _settle(place, staged)
        finally:
            disk.remove(folder)
            if ground is None and not any(place.iterdir()):
                place.rmdir()


def tidy(stock: Stock) -> None:
    """Remove what appends left behind that were killed: rows that no database names.

    An append that goes on has done so when it began.
    """
    with alone_if_free(stock.folder / "append.lock") as free:
        if free:
            with stock.database.reading() as transaction:
                _remove_orphans(stock, transaction)


def register(stock: Stock, transaction: sa.Connection, staged: Staging) -> None:
    """Move staged rows into place and make them part of the dataset."""
    if staged.ground is None:
        schema = staged.staged.schema
        sql.add_dataset(transaction, staged.name, staged.place.name, staged.ring.secret, schema)
    dataset = sql.find_dataset(transaction, staged.name, stock.folder)
    for batch in staged.staged.batches:
        folder = _folder_name(batch)
        if (staged.place / folder).exists():
            raise DataCorrupt("A database that is older than its files")
        disk.write_file(batch.folder / _PENDING, b"")
        disk.replace(batch.folder, staged.place / folder)
        sql.add_batch(transaction, dataset.id, batch.tier, batch.number, folder, batch.rows)
    body = {
        "dataset": staged.place.name,
        "rows": staged.staged.rows,
        "number": staged.staged.batches[0].number,
        "schema": staged.staged.schema.digest.hex(),
        "schema_adopted": staged.staged.schema.adopted,
        # Committed to before any training: nobody can choose the data afterwards.
        "roots": [[batch.tier, batch.root.hex()] for batch in staged.staged.batches],
    }
    facts.record(transaction, Fact("dataset.ingested", body))


def _ground(stock: Stock, transaction: sa.Connection, name: str) -> Ground | None:
    if name not in sql.names(transaction):
        return None
    return stock.grounds.load(transaction, sql.find_dataset(transaction, name, stock.folder))


def _number(transaction: sa.Connection, ground: Ground | None, wanted: int | None) -> int:
    """The next batch's number: one that no batch ever had, also where a backup was restored."""
    taken = [-1]
    if ground is not None:
        place = ground.dataset.folder
        ingested = facts.read(transaction, kinds=["dataset.ingested"])
        taken += [key[1] for key in ground.batches]
        taken += [f.body["number"] for f in ingested if f.body["dataset"] == place.name]
        taken += [
            int(found[2]) for one in place.glob("*") if (found := _FOLDER.fullmatch(one.name))
        ]
    following = 1 + max(taken)
    if wanted is not None and wanted < following:
        raise ValueError(f"`number` must be at least {following}, got {wanted}.")
    return following if wanted is None else wanted


def _known(ground: Ground | None, replacing: bool) -> list[Known]:
    if ground is None:
        return []
    none = np.empty(0, np.int64)
    return [
        Known(batch, np.arange(batch.rows) if replacing else ground.gone.get(key, none))
        for key, batch in ground.batches.items()
    ]


def _fit(options: Ingest, schema: Schema | None) -> Ingest:
    """The options of an append: the columns are those of the dataset."""
    if schema is None:
        return options
    if options.schema is not None and options.schema.digest != schema.digest:
        raise InputError("The dataset has another schema already. Append without `schema=`.")
    for name, role in options.roles():
        if schema[name].role is not role:
            raise SchemaMismatch(
                f"Column {name!r} is a {schema[name].role} in this dataset, not a {role}. "
                f"Append without saying what columns are: the dataset knows."
            )
    return Ingest(schema=schema, slices=options.slices, salts=options.salts, coded=options.coded)


def _warn(staged: Staged, options: Ingest) -> None:
    largest = max(batch.largest_subject for batch in staged.batches)
    heavy = largest >= _HEAVY_ROWS and 2 * largest > staged.rows / options.slices
    if staged.schema.of(Role.SUBJECT) and heavy:
        warnings.warn(
            f"One subject has {largest:,} of {staged.rows:,} rows: more than half a slice. "
            f"Rebuilding after its request costs as much as many others together.",
            stacklevel=4,
        )


def _folder_name(batch: StagedBatch) -> str:
    return f"{batch.tier:03d}-{batch.number:06d}"


def _settle(place: Path, staged: Staged) -> None:
    """Take the marks off batches that the database names by now."""
    for batch in staged.batches:
        disk.remove(place / _folder_name(batch) / _PENDING)


def _remove_orphans(stock: Stock, transaction: sa.Connection) -> None:
    """Remove what killed appends left behind; we alone append now.

    Only what is marked as unfinished goes: that a database does not name a folder may also
    mean that it is an old copy, and must not cost the rows.
    """
    folders = {
        dataset.folder: set(sql.batch_folders(transaction, dataset.id).values())
        for dataset in (
            sql.find_dataset(transaction, name, stock.folder) for name in sql.names(transaction)
        )
    }
    for place in (Path(entry) for entry in os.scandir(stock.folder) if entry.is_dir()):
        for batch in list(place.iterdir()):
            _tidy_batch(batch, is_registered=batch.name in folders.get(place, ()))
        if place not in folders and not any(place.iterdir()):
            disk.remove(place)


def _tidy_batch(folder: Path, *, is_registered: bool) -> None:
    mark = folder / _PENDING
    if is_registered:
        if mark.exists():
            disk.remove(mark)
        return
    if mark.exists():  # renamed first: its mark might go before its rows do
        disk.replace(folder, gone := folder.with_name(f"{_STAGING}gone-{folder.name}"))
        folder = gone
    if folder.name.startswith(_STAGING):
        disk.remove(folder)
