"""Sorted indexes from a 64-bit hash to row ordinals: 12 bytes an entry, memory-mapped.

Built in ranges of the hash, so that memory stays flat however many rows there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from expunge.storage import disk

Hashes: TypeAlias = NDArray[np.uint64]
Ordinals: TypeAlias = NDArray[np.int64]

_ENTRIES_AT_ONCE: Final = 1 << 20


class Index:
    """Finds the ordinals that belong to hashes."""

    def __init__(self, folder: Path, name: str) -> None:
        self._hashes = _map(folder / f"{name}.hashes", "<u8")
        self._ordinals = _map(folder / f"{name}.ordinals", "<u4")

    def __len__(self) -> int:
        return len(self._hashes)

    def find(self, hashes: Hashes) -> Ordinals:
        """Ordinal of each hash, or -1. For indexes in which no hash stands twice."""
        if not len(self._hashes):
            return np.full(len(hashes), -1, np.int64)
        places = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        found = self._hashes[places] == hashes
        return np.where(found, self._ordinals[places].astype(np.int64), -1)

    def all_of(self, one: np.uint64) -> Ordinals:
        """Every ordinal of one hash, ascending."""
        start = np.searchsorted(self._hashes, one, "left")
        stop = np.searchsorted(self._hashes, one, "right")
        return np.unique(self._ordinals[start:stop].astype(np.int64))


def build(
    folder: Path,
    name: str,
    entries: Callable[[int, int], Iterable[tuple[Hashes, Ordinals]]],
    count: int,
    check: Callable[[Hashes], None] | None = None,
) -> None:
    """Write an index.

    Args:
        folder: Where to.
        name: Of the index.
        entries: Entries with low ≤ hash < high, in any order.
        count: About how many entries there are.
        check: Sees each range of sorted hashes before it is written.
    """
    with (
        (folder / f"{name}.hashes").open("xb") as hashes_file,
        (folder / f"{name}.ordinals").open("xb") as ordinals_file,
    ):
        for hashes, ordinals in _sorted_ranges(entries, count):
            if check:
                check(hashes)
            hashes_file.write(hashes.astype("<u8").data)
            ordinals_file.write(ordinals.astype("<u4").data)
        for file in (hashes_file, ordinals_file):
            file.flush()
            disk.sync(file.fileno())


def within(hashes: Hashes, low: int, high: int) -> NDArray[np.bool_]:
    """Which hashes are in [low, high); high may be 2⁶⁴."""
    return (hashes >= np.uint64(low)) & (hashes <= np.uint64(high - 1))


def _sorted_ranges(
    entries: Callable[[int, int], Iterable[tuple[Hashes, Ordinals]]], count: int
) -> Iterator[tuple[Hashes, Ordinals]]:
    ranges = 1 + count // _ENTRIES_AT_ONCE
    for place in range(ranges):
        found = list(entries((place << 64) // ranges, ((place + 1) << 64) // ranges))
        if found:
            hashes = np.concatenate([h for h, _ in found])
            ordinals = np.concatenate([o for _, o in found])
            order = np.argsort(hashes)
            yield hashes[order], ordinals[order]


def _map(path: Path, dtype: str) -> NDArray[Any]:
    if not path.stat().st_size:
        return np.empty(0, dtype)
    # `np.memmap` would hold a descriptor for as long as the map: two for each batch.
    with pa.memory_map(str(path)) as file:
        return np.frombuffer(file.read_buffer(), dtype)
