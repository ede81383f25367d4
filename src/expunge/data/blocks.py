"""Convert a source's blocks to stored columns, with each row's place and name on the ring."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from expunge.core.errors import SchemaMismatch
from expunge.core.types import Column, Kind, Role, Schema
from expunge.data.cells import Place, names, nulls, plain
from expunge.data.layout import KEY, MANY, OTHERS, ROW, SALT, SALT_BYTES, TOKEN
from expunge.data.options import Ingest
from expunge.data.ring import Ring
from expunge.data.schema import Coded, Declared, Reader, propose

Tokens: TypeAlias = Callable[[pa.Array], Callable[[], NDArray[np.uint64]]]


class Blocks:
    """Reads blocks in order, and knows the schema at the end.

    Attributes:
        rows: How many were converted.
        tokens: Begins to hash ids; what it returns waits for the hashes.
    """

    def __init__(self, columns: tuple[str, ...], options: Ingest, ring: Ring, number: int) -> None:
        self._options, self._ring, self._number = options, ring, number
        self._numbered = options.id is None and (
            not options.schema or options.schema.of(Role.ID)[0].name not in columns
        )
        self._columns = list(options.columns(columns))
        self._readers: dict[str, Reader] = {}
        self.tokens: Tokens = lambda ids: lambda: ring.tokens(ids)
        self.rows = 0

    def convert(self, block: pa.RecordBatch) -> tuple[pa.RecordBatch, NDArray[np.int32] | None]:
        """Stored and hidden columns of a block, and its rows' tiers in order of appearance."""
        ids = self._ids(block)
        tokens = self.tokens(ids[1])
        stored = {ids[0]: ids[1]}
        subjects, others = self._subjects(block)
        stored |= subjects
        keys = self._keys(next(iter(subjects.values())) if subjects else None, ids[1])
        hidden = {
            KEY: pa.array(keys),
            ROW: pa.array(
                np.arange(self.rows + 1, self.rows + 1 + block.num_rows, dtype=np.uint64)
            ),
        }
        if others is not None:
            hidden[OTHERS] = others
        if self._options.salts:
            hidden[SALT] = self._salts(block.column(self._options.salts))
        tiers = None
        for column in self._columns:
            if column.role in (Role.ID, Role.SUBJECT):
                continue
            cells = self._cells(column, block.column(column.name), keys)
            if column.role is Role.TIER:
                tiers = cells.to_numpy()
            else:
                stored[column.name] = cells
        self.rows += block.num_rows
        hidden[TOKEN] = pa.array(tokens())
        return pa.record_batch(hidden | stored), tiers

    def finish(self) -> tuple[Schema, dict[str, list[int]], list[int]]:
        """The schema, the final codes of proposed categories, and those of tiers."""
        columns, moves, tiers = [], {}, [0]
        for column in self._columns:
            final, moved = column, None
            if column.name in self._readers:
                final, moved = self._readers[column.name].finish()
            columns.append(final)
            if column.role is Role.TIER:
                tiers = moved.tolist() if moved is not None else list(range(len(final.categories)))
            elif moved is not None:
                moves[column.name] = moved.tolist()
        schema = self._options.schema or Schema(tuple(columns), adopted=True)
        return schema, moves, tiers

    def hidden(self) -> dict[str, int]:
        """How many values each column hides, where it hides some."""
        return {name: reader.hidden for name, reader in self._readers.items() if reader.hidden}

    def _at(self, column: str) -> Place:
        return Place(column, self.rows + 1)

    def _ids(self, block: pa.RecordBatch) -> tuple[str, pa.Array]:
        column = next(c for c in self._columns if c.role is Role.ID)
        if not self._numbered:
            return column.name, names(plain(block.column(column.name)), self._at(column.name))
        numbers = pa.array(np.arange(self.rows, self.rows + block.num_rows)).cast(pa.string())
        return column.name, pc.binary_join_element_wise(f"{self._number}-", numbers, "")

    def _subjects(self, block: pa.RecordBatch) -> tuple[dict[str, pa.Array], pa.Array | None]:
        columns = [column for column in self._columns if column.role is Role.SUBJECT]
        found: dict[str, pa.Array] = {}
        for place, column in enumerate(columns):
            array, at = plain(block.column(column.name)), self._at(column.name)
            if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
                found[column.name] = self._lists(array, column, at, len(columns))
            else:
                optional = column.nullable and place > 0
                found[column.name] = names(array, at, nullable=optional)
        return found, self._others(list(found.values()))

    def _lists(self, array: pa.Array, column: Column, at: Place, columns: int) -> pa.Array:
        if columns > 1:
            raise SchemaMismatch("A column of lists of subjects must be the only subject column.")
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        if (empty := lengths == 0).any():
            at.refuse_missing(empty)
        flat = array.flatten()
        if nulls(flat).any():
            rows = np.repeat(np.arange(len(array)), lengths)
            at.refuse_missing(np.bincount(rows, nulls(flat)) > 0)
        self._columns = [
            replace(c, dtype=MANY) if c.name == column.name else c for c in self._columns
        ]
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        return pa.ListArray.from_arrays(offsets, names(flat, at))

    def _others(self, subjects: list[pa.Array]) -> pa.Array | None:
        """Hashes of each row's subjects after the first, as lists."""
        if not subjects or (len(subjects) == 1 and not pa.types.is_list(subjects[0].type)):
            return None
        if len(subjects) == 1:
            lists = pc.list_slice(subjects[0], 1)
            lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
            flat = lists.flatten()
        else:
            present = np.stack([_there(texts) for texts in subjects[1:]], axis=1)
            lengths = present.sum(axis=1)
            every = np.stack([t.to_numpy(zero_copy_only=False) for t in subjects[1:]], axis=1)
            flat = pa.array(every[present], pa.string())
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        hashes = pa.array(self._ring.subjects(flat), pa.uint64())
        return pa.ListArray.from_arrays(offsets, hashes)

    def _keys(self, subjects: pa.Array | None, ids: pa.Array) -> NDArray[np.uint64]:
        if subjects is None:
            return self._ring.keys(ids)
        if pa.types.is_list(subjects.type):
            subjects = pc.list_element(subjects, 0)
        # A person's rows often arrive together: hash each name once a block.
        encoded = subjects.dictionary_encode()
        indices: NDArray[np.int32] = encoded.indices.to_numpy()
        return self._ring.keys(encoded.dictionary)[indices]

    def _salts(self, column: pa.Array) -> pa.Array:
        salts = None
        with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            salts = column.cast(pa.binary(SALT_BYTES))
        if salts is None or salts.null_count:
            raise SchemaMismatch(f"The column of salts must hold {SALT_BYTES} bytes in every row.")
        return salts

    def _cells(self, column: Column, cells: pa.Array, keys: NDArray[np.uint64]) -> pa.Array:
        if column.name not in self._readers:
            self._readers[column.name] = self._reader(column, cells)
        return self._readers[column.name].add(cells, keys, self._at(column.name))

    def _reader(self, column: Column, cells: pa.Array) -> Reader:
        options = self._options
        if not options.schema:
            categorical = column.name in options.categorical or column.role is Role.TIER
            return propose(column, cells, categorical=categorical)
        coded = options.coded and column.kind is Kind.CATEGORICAL
        return Coded(column) if coded else Declared(column)


def _there(texts: pa.Array) -> NDArray[np.bool_]:
    lengths: NDArray[np.int32] = pc.binary_length(texts).to_numpy(zero_copy_only=False)
    return lengths > 0
