"""Copy a batch without a trace of its forgotten rows, for somebody who is to build from the rest.

Positions stay, so that roots can be checked: of a forgotten row the copy has zeros, the key of the
row before it, and, in a file of its own, the hash of its leaf, which tells nothing. The bytes of
such a row are never written, not even for a moment.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from expunge.data import leaves
from expunge.data.batch import Batch, write_meta
from expunge.data.erase import extents
from expunge.data.layout import KEY
from expunge.data.segments import Segment
from expunge.storage import disk

HASHES: Final = "forgotten.leaves"
"""Leaf hashes of the forgotten rows, 32 bytes each, in the order of their ordinals."""

_HASH_BYTES: Final = 32


def copy_without(batch: Batch, folder: Path, gone: NDArray[np.int64]) -> None:
    """Write a copy into ``folder``, which has no indexes: rows are not found by id in there.

    Args:
        batch: What to copy.
        folder: Where to; what an earlier copy left there is written over.
        gone: Ordinals of the forgotten rows, ascending, erased or not.
    """
    copied: list[Segment] = []
    hashes: list[bytes] = []
    before = np.uint64(0)
    for number, segment in enumerate(batch.segments):
        start, stop = batch.bounds(number)
        places = gone[(gone >= start) & (gone < stop)] - start
        keys = _without(batch.keys(start, stop), places, before)
        hashes += leaves.hashes(batch.leaves(start, stop)[places])
        content = _blanked((batch.folder / segment.file).read_bytes(), places, keys)
        disk.write_file(folder / segment.file, content)
        copied.append(replace(segment, first=int(keys[0])))
        before = keys[-1]
    disk.write_file(folder / HASHES, b"".join(hashes))
    write_meta(folder, (batch.tier, batch.number), batch.parts, batch.schema, copied)


def hashes_of(folder: Path, gone: NDArray[np.int64]) -> dict[int, bytes]:
    """The leaf hashes in a copy, by the ordinals of the forgotten rows, ascending."""
    content = (folder / HASHES).read_bytes()
    parts = [content[i : i + _HASH_BYTES] for i in range(0, len(content), _HASH_BYTES)]
    return dict(zip(gone.tolist(), parts, strict=False))


def _without(
    keys: NDArray[np.uint64], places: NDArray[np.int64], before: np.uint64
) -> NDArray[np.uint64]:
    """The keys, each forgotten one replaced by the one before it that is not."""
    kept = keys.copy()
    kept[places] = before
    ascending: NDArray[np.uint64] = np.maximum.accumulate(kept)
    return ascending


def _blanked(content: bytes, places: NDArray[np.int64], keys: NDArray[np.uint64]) -> bytes:
    """A segment's file with zeros for these rows, and other keys."""
    if not len(places):
        return content
    source, blank = pa.py_buffer(content), bytearray(content)
    for offset, length in extents(source, places, stays=()):
        blank[offset : offset + length] = bytes(length)
    rows = pa.ipc.open_file(pa.BufferReader(source)).get_batch(0)
    at = rows.column(KEY).buffers()[1].address - source.address
    blank[at : at + keys.nbytes] = keys.astype("<u8").tobytes()
    return bytes(blank)
