"""Erase rows of a batch in place: zeros over ids, subjects, cells, salts and commitments.

Keys and tokens stay, so that positions do and a forgotten id is known again; without the
dataset's secret they name nobody. Lengths of texts stay, their bytes do not.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from expunge.data.batch import Batch
from expunge.data.layout import KEY, TOKEN
from expunge.storage import disk


def erase(batch: Batch, ordinals: NDArray[np.int64]) -> None:
    """Overwrite rows and wait until the disk has it. Doing it again changes nothing."""
    of_segment: dict[int, list[int]] = {}
    for ordinal in np.unique(ordinals).tolist():
        number, place = batch.locate(ordinal)
        of_segment.setdefault(number, []).append(place)
    for number, places in sorted(of_segment.items()):
        _erase_in(batch, number, places)


def _erase_in(batch: Batch, number: int, places: list[int]) -> None:
    descriptor = os.open(batch.folder / batch.segments[number].file, os.O_RDWR)
    try:
        for offset, length in _extents(descriptor, places):
            disk.write(descriptor, bytes(length), offset)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


def _extents(descriptor: int, places: list[int]) -> list[tuple[int, int]]:
    """Where the rows' bytes lie in the file: (offset, length)."""
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as whole:
        source = pa.py_buffer(whole)
        rows = pa.ipc.open_file(pa.BufferReader(source)).get_batch(0)
        found = [
            (address - source.address, length)
            for name, column in zip(rows.schema.names, rows.columns, strict=True)
            if name not in (KEY, TOKEN)
            for address, length in _cells(column, places)
            if length
        ]
        del rows, source
        return found


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
