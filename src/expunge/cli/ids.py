"""Ids from files and streams: one per line, or a column of a CSV file."""

from __future__ import annotations

import csv
import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

from expunge.core.errors import ColumnUnknown, InputError


def read(file: str, column: str | None) -> Iterator[str]:
    """Ids, as they come; ``-`` is standard input. Empty lines are left out.

    Raises:
        ColumnUnknown: The header has no such column.
        InputError: It is a table, and no column is named; or it is not UTF-8.
    """
    tabs = ".tsv" in file.lower()
    if column is None and (tabs or ".csv" in file.lower()):
        raise InputError("Say --column: which column of the file holds the ids?")
    try:
        with _opened(file) as stream:
            found = _column(stream, column, "\t" if tabs else ",") if column else iter(stream)
            for line in found:
                if one := line.strip():
                    yield one
    except UnicodeDecodeError:
        raise InputError("The file of ids is not UTF-8. Convert it.") from None


def chunks(ids: Iterator[str], size: int) -> Iterator[list[str]]:
    """Lists of at most ``size`` ids; all of them in one where it is 0."""
    if not size:
        if everything := list(ids):
            yield everything
        return
    while chunk := list(islice(ids, size)):
        yield chunk


def _column(stream: IO[str], name: str, delimiter: str) -> Iterator[str]:
    rows = csv.reader(stream, delimiter=delimiter)
    header = next(rows, [])
    if name not in header:
        raise ColumnUnknown(name, header)
    place = header.index(name)
    for number, row in enumerate(rows, 1):
        if row and len(row) <= place:
            raise InputError(f"Row {number:,} of the file of ids is too short. Mend it.")
        if row:
            yield row[place]


@contextmanager
def _opened(file: str) -> Iterator[IO[str]]:
    if file == "-":
        yield sys.stdin
        return
    if file.endswith(".gz"):
        with gzip.open(file, "rt", encoding="utf-8-sig", newline="") as stream:
            yield stream
        return
    with Path(file).open(encoding="utf-8-sig", newline="") as stream:
        yield stream
