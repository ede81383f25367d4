"""Erase rows of a batch in place: zeros over ids, subjects, cells and salts.

Keys and tokens stay, so that positions do and a forgotten id is known again; without the
dataset's secret they name nobody. Commitments stay, so that the root which was recorded when the
rows came can still be checked, and absence shown; without their salts nobody can tell what they
commit to. Lengths of texts stay, their bytes do not.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Collection, Iterator
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from expunge.data.batch import Batch
from expunge.data.layout import COMMITMENT, KEY, TOKEN
from expunge.storage import disk

STAYS: Final = frozenset({KEY, TOKEN, COMMITMENT})
"""What of an erased row stays."""


def erase(batch: Batch, ordinals: NDArray[np.int64]) -> None:
    """Overwrite rows and wait until the disk has it. Doing it again changes nothing."""
    for number, places in batch.by_segment(np.unique(ordinals)):
        _erase_in(batch, number, places)


def extents(
    source: pa.Buffer, places: NDArray[np.int64], stays: Collection[str] = STAYS
) -> list[tuple[int, int]]:
    """Where the bytes of rows lie in a segment's file: (offset, length).

    Args:
        source: The whole file.
        places: Of the rows, in the segment.
        stays: Columns to leave out.
    """
    rows = pa.ipc.open_file(pa.BufferReader(source)).get_batch(0)
    return [
        (address - source.address, length)
        for name, column in zip(rows.schema.names, rows.columns, strict=True)
        if name not in stays
        for address, length in _cells(column, places.tolist())
        if length
    ]


def _erase_in(batch: Batch, number: int, places: NDArray[np.int64]) -> None:
    descriptor = os.open(batch.folder / batch.segments[number].file, os.O_RDWR)
    try:
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as whole:
            source = pa.py_buffer(whole)
            found = extents(source, places)
            del source
        for offset, length in found:
            disk.write(descriptor, bytes(length), offset)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


def _cells(column: pa.Array, places: list[int]) -> Iterator[tuple[int, int]]:
    """Address and length of each cell's bytes."""
    buffers = column.buffers()
    if pa.types.is_string(column.type):
        yield from _texts(buffers[1], buffers[2], [(p, p + 1) for p in places])
    elif pa.types.is_list(column.type):
        offsets = np.frombuffer(buffers[1], np.int32)
        spans = [(int(offsets[p]), int(offsets[p + 1])) for p in places]
        yield from _texts(buffers[3], buffers[4], spans)
    else:
        width = _width(column.type)
        data = buffers[-1]
        yield from ((data.address + p * width, width) for p in places)


def _texts(
    offsets: pa.Buffer, data: pa.Buffer, spans: list[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    ends = np.frombuffer(offsets, np.int32)
    for start, stop in spans:
        low, high = int(ends[start]), int(ends[stop])
        yield data.address + low, high - low


def _width(kind: pa.DataType) -> int:
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size * kind.value_type.bit_width // 8)
    return int(kind.bit_width // 8)
