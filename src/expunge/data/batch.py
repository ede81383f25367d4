"""Read a batch: rows of one tier and arrival in ring order, memory-mapped.

A batch is a folder that does not change but for erasure: segments (`*.arrow`), the token
index, the index of further subjects, and `meta.json`. All files in it are opened here, in
`erase`, or while it is being made.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from expunge.core.digest import Json, canonical_json
from expunge.core.errors import ColumnUnknown, FormatUnsupported
from expunge.core.types import Column, Kind, Role, Schema
from expunge.data import leaves
from expunge.data.index import Index, Ordinals
from expunge.data.layout import (
    COMMITMENT,
    COMMITMENT_BYTES,
    KEY,
    MANY,
    SALT,
    SALT_BYTES,
    TOKEN,
    stored_columns,
)
from expunge.data.ring import Ring
from expunge.data.rows import bytes_of, elements
from expunge.data.segments import Segment
from expunge.storage import disk

FORMAT: Final = 1
META: Final = "meta.json"
TOKENS: Final = "tokens"
SUBJECTS: Final = "subjects"


class Batch:
    """A batch's rows, by ordinal: their position in ring order, which never changes.

    Arrays are views of the files where one segment covers a range, and read-only.

    Attributes:
        tier: Code of the tier, 0 where the dataset has none.
        number: Of the arrival.
        parts: Sub-ranges of the key that its ingest declared.
        rows: How many, erased ones included.
        schema: The dataset's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        meta = json.loads((folder / META).read_bytes())
        if meta["format"] != FORMAT:
            raise FormatUnsupported("A batch of samples", meta["format"], FORMAT)
        self.tier: int = meta["tier"]
        self.number: int = meta["number"]
        self.parts: int = meta["parts"]
        self.rows: int = meta["rows"]
        self.schema = Schema.from_json(meta["schema"])
        self.segments = [Segment(s["file"], s["rows"], s["first"]) for s in meta["segments"]]
        ends = np.cumsum([segment.rows for segment in self.segments])
        self._starts: list[int] = [0, *ends.tolist()]
        self._open: dict[int, pa.RecordBatch] = {}
        self._indexes: dict[str, Index] = {}

    def span(self, low: int, high: int) -> tuple[int, int]:
        """Ordinals (start, stop) of the rows with low ≤ key < high; high may be 2⁶⁴."""
        return self._first_at(low), self._first_at(high)

    def key(self, ordinal: int) -> int:
        """Place on the ring of one row."""
        return int(self._hidden(KEY, ordinal, ordinal + 1)[0])

    def keys(self, start: int, stop: int) -> NDArray[np.uint64]:
        """Places on the ring, ascending."""
        return self._hidden(KEY, start, stop)

    def tokens(self, start: int, stop: int) -> NDArray[np.uint64]:
        """Keyed hashes of the sample ids."""
        return self._hidden(TOKEN, start, stop)

    def commitments(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Commitments to rows, (n, 32); erased ones keep theirs, which tells nothing any more."""
        return self._bytes(COMMITMENT, COMMITMENT_BYTES, start, stop)

    def leaves(self, start: int, stop: int) -> NDArray[np.uint8]:
        """What the trees of slices stand on, (n, 48)."""
        committed = self.commitments(start, stop)
        return leaves.join(self.keys(start, stop), self.tokens(start, stop), committed)

    def erased(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Which rows were erased: only their salt is all zeros."""
        return np.asarray(~self._bytes(SALT, SALT_BYTES, start, stop).any(axis=1))

    def read(self, columns: Sequence[str], start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Cells of rows [start, stop), as learners take them.

        Numbers and tensors in their stored type, categories as int32 codes, texts (ids and
        subjects too) as arrays of str objects, lists of subjects as tuples of str.
        """
        return {name: self._cells(self._column(name), start, stop) for name in columns}

    def pick(self, columns: Sequence[str], ordinals: Ordinals) -> dict[str, NDArray[Any]]:
        """As :meth:`read`, of single rows; ordinals ascend. Reads no other row."""
        return {name: self._picked(self._column(name), ordinals) for name in columns}

    def pick_tokens(self, ordinals: Ordinals) -> NDArray[np.uint64]:
        """Keyed hashes of the sample ids of single rows; ordinals ascend."""
        return _joined([_hashes(array) for array in self._taken(TOKEN, ordinals)])

    def pick_erased(self, ordinals: Ordinals) -> NDArray[np.bool_]:
        """Which of single rows were erased; ordinals ascend."""
        salts = [bytes_of(array) for array in self._taken(SALT, ordinals)]
        return np.asarray(~_joined(salts).reshape(-1, SALT_BYTES).any(axis=1))

    def find(self, tokens: NDArray[np.uint64]) -> Ordinals:
        """Ordinal of each token, or -1; erased rows keep theirs."""
        return self._index(TOKENS).find(tokens)

    def find_ids(self, ids: Sequence[str], ring: Ring) -> Ordinals:
        """Ordinal of each sample id, or -1. The id itself is compared, but of erased rows."""
        found = self.find(ring.tokens(ids))
        column = self.schema.of(Role.ID)[0].name
        there = np.flatnonzero(found >= 0)
        there = there[np.argsort(found[there], kind="stable")]
        for number, places in self.by_segment(found[there]):
            here, there = np.split(there, [len(places)])
            cells = self.segment(number).column(column).take(pa.array(places))
            named = pa.array([ids[one] for one in here.tolist()], cells.type)
            others = here[~_truths(pc.equal(cells, named))]
            for one in others.tolist():  # almost never: erased, or of the same hash
                if not self._is_named(column, int(found[one]), ids[one]):
                    found[one] = -1
        return found

    def find_id(self, sample: str, ring: Ring) -> int:
        """Ordinal of one sample id, or -1."""
        return int(self.find_ids([sample], ring)[0])

    def find_subject(self, subject: str, ring: Ring) -> Ordinals:
        """Ordinals of all rows about a subject, ascending. Erased rows are found as well."""
        columns = [column.name for column in self.schema.of(Role.SUBJECT)]
        if not columns:
            return np.empty(0, np.int64)
        key = int(ring.keys([subject])[0])
        found = np.arange(*self.span(key, key + 1), dtype=np.int64)
        if self._has(SUBJECTS):
            others = self._index(SUBJECTS).all_of(ring.subjects([subject])[0])
            found = np.union1d(found, others)
        named = [o for o in found.tolist() if any(self._is_named(c, o, subject) for c in columns)]
        return np.array(named, np.int64)

    def export(self, ordinals: NDArray[Any]) -> pa.Table:
        """Rows as they are stored, with salts: for proofs and to ingest them again.

        Args:
            ordinals: Of the rows, or a mask over all rows.
        """
        chosen = np.flatnonzero(ordinals) if ordinals.dtype == bool else np.sort(ordinals)
        names = [column.name for column in stored_columns(self.schema)]
        tables = []
        for number, start, stop in self._pieces(0, self.rows):
            local = chosen[(chosen >= start) & (chosen < stop)] - start
            rows = self.segment(number).select([SALT, *names])
            tables.append(pa.Table.from_batches([rows.take(pa.array(local))]))
        table = pa.concat_tables(tables)
        for column in self.schema.of(Role.TIER):
            table = table.append_column(column.name, pa.array([self.tier] * len(table), pa.int32()))
        return table

    def segment(self, number: int) -> pa.RecordBatch:
        """All rows of one file, as a view of it."""
        if number not in self._open:
            source = pa.memory_map(str(self.folder / self.segments[number].file))
            self._open[number] = pa.ipc.open_file(source).get_batch(0)
        return self._open[number]

    def locate(self, ordinal: int) -> tuple[int, int]:
        """Segment of a row, and its place in there."""
        number = bisect_right(self._starts, ordinal) - 1
        return number, ordinal - self._starts[number]

    def bounds(self, number: int) -> tuple[int, int]:
        """First ordinal of a segment, and the one behind its last."""
        return self._starts[number], self._starts[number + 1]

    def by_segment(self, ordinals: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Ascending ordinals as (segment, places in there), for each segment that has some."""
        numbers = np.searchsorted(np.array(self._starts), ordinals, "right") - 1
        for number in np.unique(numbers).tolist():
            yield number, ordinals[numbers == number] - self._starts[number]

    def close(self) -> None:
        """Let the files go. Arrays that were read keep theirs open; reading opens again."""
        self._open.clear()
        self._indexes.clear()

    def _first_at(self, key: int) -> int:
        if key >= 1 << 64 or not self.segments:
            return self.rows
        # Equal keys may stand across a border: the first of them is in the segment before the
        # first one that begins with this key.
        number = max(0, int(np.searchsorted(self._firsts(), np.uint64(key))) - 1)
        keys = _hashes(self.segment(number).column(KEY))
        return self._starts[number] + int(np.searchsorted(keys, np.uint64(key)))

    def _firsts(self) -> NDArray[np.uint64]:
        return np.array([segment.first for segment in self.segments], np.uint64)

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """(segment, its first ordinal, ordinal behind its last) that overlap [start, stop)."""
        number = max(0, bisect_right(self._starts, start) - 1)
        while start < stop and number < len(self.segments) and self._starts[number] < stop:
            yield number, self._starts[number], self._starts[number + 1]
            number += 1

    def _arrays(self, name: str, start: int, stop: int) -> list[pa.Array]:
        slices = [
            self.segment(number).column(name)[max(start, first) - first : min(stop, end) - first]
            for number, first, end in self._pieces(start, stop)
        ]
        return slices or [self.segment(0).column(name)[:0]]

    def _taken(self, name: str, ordinals: Ordinals) -> list[pa.Array]:
        taken = [
            self.segment(number).column(name).take(pa.array(places))
            for number, places in self.by_segment(ordinals)
        ]
        return taken or [self.segment(0).column(name)[:0]]

    def _picked(self, column: Column, ordinals: Ordinals) -> NDArray[Any]:
        return _of_arrays(column, self._taken(column.name, ordinals))

    def _hidden(self, name: str, start: int, stop: int) -> NDArray[np.uint64]:
        return _joined([_hashes(array) for array in self._arrays(name, start, stop)])

    def _bytes(self, name: str, width: int, start: int, stop: int) -> NDArray[np.uint8]:
        arrays = [bytes_of(array) for array in self._arrays(name, start, stop)]
        return _joined(arrays).reshape(-1, width)

    def _cells(self, column: Column, start: int, stop: int) -> NDArray[Any]:
        return _of_arrays(column, self._arrays(column.name, start, stop))

    def _column(self, name: str) -> Column:
        stored = stored_columns(self.schema)
        for column in stored:
            if column.name == name:
                return column
        raise ColumnUnknown(name, [column.name for column in stored])

    def _is_named(self, column: str, ordinal: int, name: str) -> bool:
        number, place = self.locate(ordinal)
        rows = self.segment(number)
        cell = rows.column(column)[place]
        if self.schema[column].dtype == MANY:
            named = name.encode() in [text.as_buffer().to_pybytes() for text in cell]
        else:
            named = cell.as_buffer().to_pybytes() == name.encode()
        return named or not any(rows.column(SALT)[place].as_py())

    def _has(self, index: str) -> bool:
        return (self.folder / f"{index}.hashes").exists()

    def _index(self, name: str) -> Index:
        if name not in self._indexes:
            self._indexes[name] = Index(self.folder, name)
        return self._indexes[name]


def write_meta(
    folder: Path, place: tuple[int, int], parts: int, schema: Schema, segments: Sequence[Segment]
) -> None:
    """Describe a batch at ``place`` (tier, number), as the last file of its folder."""
    meta: dict[str, Json] = {
        "format": FORMAT,
        "tier": place[0],
        "number": place[1],
        "parts": parts,
        "rows": sum(segment.rows for segment in segments),
        "schema": schema.to_json(),
        "schema_digest": schema.digest.hex(),
        "segments": [{"file": s.file, "rows": s.rows, "first": s.first} for s in segments],
    }
    disk.write_file(folder / META, canonical_json(meta))


def _joined(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _of_arrays(column: Column, arrays: Sequence[pa.Array]) -> NDArray[Any]:
    if column.kind is Kind.TEXT:
        return _joined([_objects(array) for array in arrays])
    return _joined([elements(column, array) for array in arrays])


def _hashes(array: pa.Array) -> NDArray[np.uint64]:
    # Not `to_numpy`: its first call imports pandas, half a second that a request would wait.
    return np.frombuffer(array.buffers()[1], np.uint64)[array.offset : array.offset + len(array)]


def _truths(array: pa.Array) -> NDArray[np.bool_]:
    bits = np.frombuffer(array.buffers()[1], np.uint8)
    return np.unpackbits(bits, count=len(array), bitorder="little").astype(np.bool_)


def _objects(array: pa.Array) -> NDArray[Any]:
    values = array.to_pylist()
    cells = np.empty(len(values), object)
    cells[:] = [tuple(v) for v in values] if pa.types.is_list(array.type) else values
    return cells
