"""The external sort of ingest: sorted runs on disk, read back by ranges of the key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from expunge.data.layout import COMMITMENT_BYTES, KEY, RUN_BYTES, SALT_BYTES, SEGMENT_BYTES

_SAMPLE_EVERY = 64
_CHUNK_ROWS = 512


class Spill:
    """Takes blocks of one tier, keeps them in runs that are sorted by key."""

    def __init__(self, folder: Path, tier: int, writer: Executor) -> None:
        self._folder, self._tier, self._writer = folder, tier, writer
        self._blocks: list[pa.RecordBatch] = []
        self._sampled: list[NDArray[np.uint64]] = []
        self._runs: list[Path] = []
        self._writing: Future[None] | None = None
        self.rows = 0
        self.waiting_bytes = 0
        self._bytes = 0

    def add(self, block: pa.RecordBatch) -> None:
        """Take a block."""
        self._blocks.append(block)
        self.waiting_bytes += block.nbytes
        self._bytes += block.nbytes
        self.rows += block.num_rows

    def flush(self) -> None:
        """Begin to write what waits as a sorted run; the run before is done first."""
        self._wait()
        if not self._blocks:
            return
        path = self._folder / f"run-{self._tier}-{len(self._runs)}.arrow"
        # NumPy and Arrow sort without the interpreter's lock, while the hashing goes on.
        self._writing = self._writer.submit(self._write, self._blocks, path)
        self._blocks, self.waiting_bytes = [], 0
        self._runs.append(path)

    def runs(self) -> list[Path]:
        """Files of all runs; nothing waits after this."""
        self.flush()
        self._wait()
        return self._runs

    def _wait(self) -> None:
        if self._writing:
            self._writing.result()
            self._writing = None

    def _write(self, blocks: list[pa.RecordBatch], path: Path) -> None:
        block = pa.Table.from_batches(blocks).combine_chunks().to_batches()[0]
        blocks.clear()
        keys = block.column(KEY).to_numpy()
        self._sampled.append(keys[::_SAMPLE_EVERY].copy())
        order = np.argsort(keys, kind="stable")
        keys[order[::_CHUNK_ROWS]].tofile(_firsts(path))
        block = block.take(pa.array(order))
        del keys, order
        with pa.ipc.new_file(str(path), block.schema) as writer:
            writer.write_table(pa.Table.from_batches([block]), max_chunksize=_CHUNK_ROWS)
        del block
        pa.default_memory_pool().release_unused()

    def ranges(self) -> list[tuple[int, int]]:
        """Ranges of the key, each about one segment."""
        stored = self._bytes + self.rows * (SALT_BYTES + COMMITMENT_BYTES)
        count = -(-stored // SEGMENT_BYTES)
        sampled = np.sort(np.concatenate(self._sampled))
        cuts = {int(sampled[len(sampled) * i // count]) for i in range(1, count)} - {0}
        edges = [0, *sorted(cuts), 1 << 64]
        return list(pairwise(edges))


class Spills:
    """One spill per tier, and one limit on the memory of all."""

    def __init__(self, folder: Path, writer: Executor) -> None:
        self._folder, self._writer = folder, writer
        self.of_tier: dict[int, Spill] = {}

    def add(self, block: pa.RecordBatch, tiers: NDArray[np.int32] | None) -> None:
        """Take a block whose rows belong to these tiers; None: all to tier 0."""
        if tiers is None:
            self._tier(0).add(block)
        else:
            for tier in np.unique(tiers).tolist():
                self._tier(tier).add(block.filter(pa.array(tiers == tier)))
        if sum(spill.waiting_bytes for spill in self.of_tier.values()) >= RUN_BYTES:
            for spill in self.of_tier.values():
                spill.flush()

    def _tier(self, tier: int) -> Spill:
        if tier not in self.of_tier:
            self.of_tier[tier] = Spill(self._folder, tier, self._writer)
        return self.of_tier[tier]


def read_range(runs: Sequence[Path], low: int, high: int) -> pa.Table:
    """Rows with low ≤ key < high of all runs; unsorted."""
    parts = [part for path in runs for part in _parts(path, low, high)]
    return pa.Table.from_batches(parts) if parts else pa.table({})


def _parts(path: Path, low: int, high: int) -> Iterator[pa.RecordBatch]:
    # Read, not mapped: around each page that a map touches the kernel maps 15 more, and all of
    # them, from all runs, would count as memory of this process.
    firsts = np.fromfile(_firsts(path), np.uint64)
    begin = max(int(np.searchsorted(firsts, np.uint64(low))) - 1, 0)
    end = int(np.searchsorted(firsts, np.uint64(high - 1), "right"))
    with pa.OSFile(str(path)) as source:
        file = pa.ipc.open_file(source)
        for number in range(begin, end):
            chunk = file.get_batch(number)
            keys = chunk.column(KEY).to_numpy()
            start = int(np.searchsorted(keys, np.uint64(low)))
            stop = int(np.searchsorted(keys, np.uint64(high - 1), "right"))
            if stop > start:
                yield chunk.slice(start, stop - start)


def _firsts(run: Path) -> Path:
    """The file of the first key of each of a run's chunks."""
    return run.with_suffix(".keys")


def ring_order(table: pa.Table, id_column: str) -> pa.Array:
    """Indices that sort by (key, id); ids by their UTF-8 bytes."""
    return pc.sort_indices(table, [(KEY, "ascending"), (id_column, "ascending")])


def scan(runs: Sequence[Path], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of each run."""
    for path in runs:
        with pa.OSFile(str(path)) as source:
            file = pa.ipc.open_file(source)
            for number in range(file.num_record_batches):
                yield file.get_batch(number).select(list(columns))
