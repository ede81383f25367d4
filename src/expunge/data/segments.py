"""Write the segments of a batch: Arrow files of rows in ring order, with their commitments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from expunge.core.types import Kind, Role, Schema
from expunge.data import leaves
from expunge.data.layout import (
    COMMITMENT,
    COMMITMENT_BYTES,
    KEY,
    LARGEST_BYTES,
    OTHERS,
    SALT,
    SALT_BYTES,
    TOKEN,
    stored_columns,
)
from expunge.data.rows import commitments, fixed
from expunge.data.spill import read_range, ring_order
from expunge.storage import disk

OTHERS_ENTRY: Final = np.dtype([("hash", "<u8"), ("row", "<u4")])


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of a batch.

    Attributes:
        first: Key of the first row.
    """

    file: str
    rows: int
    first: int


@dataclass(frozen=True, slots=True)
class Written:
    """What a range of the key became.

    Attributes:
        segments: In ring order.
        roots: For each of them, the RFC 6962 root over its rows' leaves.
        largest: Rows of the subject that has most.
    """

    segments: tuple[Segment, ...] = ()
    roots: tuple[bytes, ...] = ()
    largest: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "segments": [[s.file, s.rows, s.first] for s in self.segments],
            "roots": [root.hex() for root in self.roots],
            "largest": self.largest,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Written:
        """Read what :meth:`to_json` wrote."""
        return cls(
            tuple(Segment(*segment) for segment in value["segments"]),
            tuple(bytes.fromhex(root) for root in value["roots"]),
            value["largest"],
        )

    @classmethod
    def joined(cls, ranges: Sequence[Written]) -> Written:
        """Several ranges, in ring order, as one; no subject is in two of them."""
        return cls(
            tuple(segment for each in ranges for segment in each.segments),
            tuple(root for each in ranges for root in each.roots),
            max((each.largest for each in ranges), default=0),
        )


@dataclass(frozen=True, slots=True)
class Sorting:
    """What a process must know to turn runs into segments. Plain JSON: it goes to workers.

    Attributes:
        moves: For each proposed categorical column, the declared code of each code in the
            runs; the last one, for -1, is -1.
    """

    folder: Path
    runs: Sequence[Path]
    schema: Schema
    moves: Mapping[str, Sequence[int]]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "folder": str(self.folder),
            "runs": [str(run) for run in self.runs],
            "schema": self.schema.to_json(),
            "moves": {name: list(moves) for name, moves in self.moves.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Sorting:
        """Read what :meth:`to_json` wrote."""
        runs = [Path(run) for run in value["runs"]]
        schema = Schema.from_json(value["schema"])
        return cls(Path(value["folder"]), runs, schema, value["moves"])


def write_range(sorting: Sorting, place: int, low: int, high: int) -> Written:
    """Write the segments of one range of the key."""
    table = read_range(sorting.runs, low, high)
    if not table.num_rows:
        return Written()
    block = table.combine_chunks().to_batches()[0]
    del table
    largest = _longest(np.sort(block.column(KEY).to_numpy()))
    order = ring_order(pa.Table.from_batches([block]), sorting.schema.of(Role.ID)[0].name)
    per_row = block.nbytes // block.num_rows + SALT_BYTES + COMMITMENT_BYTES
    step = max(1, int(LARGEST_BYTES * 0.9) // per_row)
    written = []
    for number, start in enumerate(range(0, block.num_rows, step)):
        part = block.take(order.slice(start, step))
        written.append(_write(sorting, part, f"{place:06d}-{number}"))
        del part
    del block
    pa.default_memory_pool().release_unused()
    segments, roots = zip(*written, strict=True)
    return Written(segments, roots, largest)


def _write(sorting: Sorting, rows: pa.RecordBatch, name: str) -> tuple[Segment, bytes]:
    columns = {KEY: rows.column(KEY), TOKEN: rows.column(TOKEN), SALT: _salts(rows)}
    for column in stored_columns(sorting.schema):
        cells = rows.column(column.name)
        if column.kind is Kind.CATEGORICAL and column.name in sorting.moves:
            moves = np.array(sorting.moves[column.name], np.int32)
            cells = pa.array(moves[cells.to_numpy()])
        columns[column.name] = cells
    stored = pa.record_batch(columns)
    committed = commitments(stored, sorting.schema)
    root = leaves.root(leaves.join(_hashes(rows, KEY), _hashes(rows, TOKEN), committed))
    stored = stored.append_column(COMMITMENT, fixed(committed))
    path = sorting.folder / f"{name}.arrow"
    with pa.ipc.new_file(str(path), stored.schema) as writer:
        writer.write_batch(stored)
    _sync(path)
    if OTHERS in rows.schema.names:
        _write_others(rows.column(OTHERS), sorting.folder / f"{name}.others")
    return Segment(path.name, stored.num_rows, int(rows.column(KEY)[0].as_py())), root


def _hashes(rows: pa.RecordBatch, column: str) -> NDArray[np.uint64]:
    hashes: NDArray[np.uint64] = rows.column(column).to_numpy()
    return hashes


def _salts(rows: pa.RecordBatch) -> pa.Array:
    if SALT in rows.schema.names:
        return rows.column(SALT)
    # From the operating system, fresh per row: whoever could guess a salt could confirm a
    # guess about the row.
    fresh = np.frombuffer(os.urandom(SALT_BYTES * rows.num_rows), np.uint8)
    return fixed(fresh.reshape(-1, SALT_BYTES))


def _write_others(lists: pa.Array, path: Path) -> None:
    """Hashes of further subjects and their rows, for the index that is built later."""
    entries = np.empty(len(lists.flatten()), OTHERS_ENTRY)
    entries["hash"] = lists.flatten().to_numpy()
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    entries["row"] = np.repeat(np.arange(len(lists)), lengths)
    path.write_bytes(entries.tobytes())


def _longest(keys: NDArray[np.uint64]) -> int:
    """Length of the longest run of equal keys."""
    starts = np.flatnonzero(np.diff(keys)) + 1
    return int(np.diff(np.concatenate([[0], starts, [len(keys)]])).max())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
