"""Predictions for a file, block by block, so that memory stays flat."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from expunge.core.errors import CellInvalid, InputError
from expunge.core.types import Role, Schema
from expunge.data.options import Ingest
from expunge.data.sources import open_source
from expunge.storage import disk
from expunge.training.ensemble import labels

if TYPE_CHECKING:
    from expunge.home import Model, Prediction


@dataclass
class Done:
    """What was predicted."""

    rows: int = 0
    versions: list[str] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def body(self, model: str, to: Path | None) -> dict[str, Any]:
        """As JSON; predictions stand in it unless they were written to a file."""
        body: dict[str, Any] = {"model": model, "rows": self.rows, "versions": self.versions}
        return body | ({"out": str(to)} if to else {"predictions": self.columns})


class Sink(Protocol):
    """Takes predictions, block by block."""

    def write(self, columns: dict[str, list[Any]]) -> None:
        """Take columns of a block."""
        ...


def run(model: Model, file: Path, to: Path | None, *, proba: bool, collect: bool) -> Done:
    """Predict for all rows of ``file``; print them, write them to ``to``, or collect them."""
    id_column = model.schema.of(Role.ID)[0].name
    types = Ingest(schema=Schema(model.task.features)).csv_types() | {id_column: pa.string()}
    if proba and not model.task.classes:
        raise InputError(f"Model {model.name!r} is a regression: it has no probabilities.")
    stream = open_source(file, types)
    done = Done()
    with sink(to, done if collect else None) as into:
        for block in stream.blocks:
            answer = _answer(model, block, done.rows)
            ids = (
                {id_column: block.column(id_column).to_pylist()}
                if id_column in stream.columns
                else {}
            )
            into.write(ids | _named(model, answer, proba))
            done.rows += block.num_rows
            if answer.version not in done.versions:
                done.versions.append(answer.version)
    return done


def _answer(model: Model, block: pa.RecordBatch, before: int) -> Prediction:
    try:
        return model.answer(block)
    except CellInvalid as error:  # counted from the block's first row
        told = str(error).replace(f"Row {error.row:,}", f"Row {error.row + before:,}", 1)
        error.row += before
        error.args = (told,)
        raise


def _named(model: Model, answer: Prediction, proba: bool) -> dict[str, list[Any]]:
    task = model.task
    if proba:
        return {str(name): answer.outputs[:, i].tolist() for i, name in enumerate(task.classes)}
    if task.classes:
        return {"prediction": labels(task, answer.outputs).tolist()}
    return {c.name: answer.outputs[:, i].tolist() for i, c in enumerate(task.targets)}


@contextmanager
def sink(to: Path | None, done: Done | None) -> Iterator[Sink]:
    """Where predictions go: into ``done``, to a file, or to standard output."""
    if to is None:
        yield _Collected(done) if done else _Csv(sys.stdout)
        return
    if to.suffix not in {".csv", ".parquet"}:
        raise InputError(f"--out {to.name!r} has another ending than .csv or .parquet.")
    beside = to.with_name(f".{to.name}.part")
    try:
        if to.suffix == ".csv":
            with beside.open("w", encoding="utf-8", newline="") as stream:
                yield _Csv(stream)
        else:
            with _Parquet(beside) as parquet:
                yield parquet
        disk.replace(beside, to)
    finally:
        beside.unlink(missing_ok=True)


class _Collected:
    def __init__(self, done: Done) -> None:
        self._columns = done.columns

    def write(self, columns: dict[str, list[Any]]) -> None:
        for name, values in columns.items():
            self._columns.setdefault(name, []).extend(values)


class _Csv:
    def __init__(self, stream: IO[str]) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")
        self._begun = False

    def write(self, columns: dict[str, list[Any]]) -> None:
        if not self._begun:
            self._writer.writerow(columns)
            self._begun = True
        self._writer.writerows(zip(*columns.values(), strict=True))


class _Parquet:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def __enter__(self) -> _Parquet:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()

    def write(self, columns: dict[str, list[Any]]) -> None:
        import pyarrow.parquet as pq

        table = pa.table(columns)
        self._writer = self._writer or pq.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)
