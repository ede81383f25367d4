"""Records of the journal, and the frames that hold them, one behind the other.

A frame (little-endian) is 20 bytes (magic; CRC-32 of the rest; number in its append u32; length of
the payload u64), the payload, and a BLAKE3 checksum of the checksum before it, these 20 bytes
and the payload: so each checksum vouches for all that is before it. A payload is a request's id
(16 bytes), the length of its entry in the ledger (u32), the entry, and 32 bytes for each row
(tier i32, batch u32, ordinal u64, keyed hash).

An append begins when the one before is on the disk. So where a frame is wrong, and none behind it
begins an append, it belongs to a last one that was torn; else something is damaged.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, overload
from uuid import UUID
from zlib import crc32

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from expunge.core.errors import DataCorrupt

DIGEST_BYTES: Final = 16
CHECKSUM_BYTES: Final = 32

_ID_BYTES: Final = 16
_HEADER: Final = Struct("<4sIIQ")
_MAGIC: Final = b"\xf1REQ"
_COUNT: Final = Struct("<I")
_ROW: Final = Struct(f"<iIQ{DIGEST_BYTES}s")
_PACKED: Final = np.dtype(
    [("tier", "<i4"), ("batch", "<u4"), ("ordinal", "<u8"), ("digest", f"V{DIGEST_BYTES}")]
)
_KIND: Final = b'"kind":"'
_WINDOW: Final = 1 << 20
_ZEROS: Final = bytes(_WINDOW)


@dataclass(frozen=True, slots=True)
class Row:
    """A row that a request names.

    Attributes:
        digest: Keyed hash of its dataset and token.
    """

    tier: int
    batch: int
    ordinal: int
    digest: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Packed(Sequence[Row]):
    """Rows as they stand in a payload; equal to any sequence of the same rows."""

    data: bytes

    @classmethod
    def of(
        cls,
        tiers: NDArray[np.int32],
        batches: NDArray[np.int32],
        ordinals: NDArray[np.int64],
        digests: Sequence[bytes],
    ) -> Packed:
        """Rows by their columns."""
        rows = np.empty(len(digests), _PACKED)
        rows["tier"], rows["batch"], rows["ordinal"] = tiers, batches, ordinals
        rows["digest"] = np.frombuffer(b"".join(digests), _PACKED["digest"])
        return cls(rows.tobytes())

    def __len__(self) -> int:
        return len(self.data) // _ROW.size

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        return list(self)[index]

    def __iter__(self) -> Iterator[Row]:
        return (Row(*row) for row in _ROW.iter_unpack(self.data))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept about a request: that it was accepted, on what terms, or what was decided.

    Attributes:
        entry: What the ledger says about that, to the last byte.
        rows: With ``request.received``, all that it names, those too that were forgotten before.
    """

    request: str
    entry: bytes
    rows: Sequence[Row]

    def to_bytes(self) -> bytes:
        """As a frame's payload."""
        rows = _packed(self.rows)
        return UUID(self.request).bytes + _COUNT.pack(len(self.entry)) + self.entry + rows

    @classmethod
    def from_bytes(cls, payload: bytes) -> Record:
        """Read what :meth:`to_bytes` wrote."""
        (length,) = _COUNT.unpack_from(payload, _ID_BYTES)
        start = _ID_BYTES + _COUNT.size
        rows = _ROW.iter_unpack(payload[start + length :])
        request = str(UUID(bytes=payload[:_ID_BYTES]))
        return cls(request, payload[start : start + length], tuple(Row(*row) for row in rows))


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two frames: all that is before it is what its checksum says."""

    offset: int
    checksum: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """A record in its place."""

    start: Position
    end: Position
    payload: bytes

    @property
    def request(self) -> str:
        """Id of the request, for comparisons: quicker than the record's."""
        digits = self.payload[:_ID_BYTES].hex()
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    @property
    def kind(self) -> str:
        """Kind of the entry, likewise: in canonical JSON only ids and numbers come behind it."""
        start = self.payload.rindex(_KIND, 0, self._end) + len(_KIND)
        return self.payload[start : self.payload.index(b'"', start)].decode()

    @property
    def _end(self) -> int:
        """Where the entry ends."""
        (length,) = _COUNT.unpack_from(self.payload, _ID_BYTES)
        return int(_ID_BYTES + _COUNT.size + length)

    @property
    def record(self) -> Record:
        """The record."""
        return Record.from_bytes(self.payload)


def _packed(rows: Sequence[Row]) -> bytes:
    if isinstance(rows, Packed):
        return rows.data
    return b"".join(_ROW.pack(r.tier, r.batch, r.ordinal, r.digest) for r in rows)


def encode(records: Sequence[Record], at: Position) -> tuple[bytes, Position]:
    """Frames to write at ``at``, and the place behind them."""
    parts, offset, checksum = [], at.offset, at.checksum
    for number, record in enumerate(records):
        payload = record.to_bytes()
        rest = _HEADER.pack(_MAGIC, 0, number, len(payload))[8:]
        header = _MAGIC + crc32(rest).to_bytes(4, "little") + rest
        checksum = blake3(checksum + header).update(payload).digest()
        parts += [header, payload, checksum]
        offset += len(header) + len(payload) + len(checksum)
    return b"".join(parts), Position(offset, checksum)


def scan(descriptor: int, at: Position, window: int = _WINDOW) -> Iterator[Frame]:
    """Frames from ``at`` on, up to the first that does not count. About 3 µs each."""
    read = _Window(descriptor, window).read
    while True:
        header = read(at.offset, _HEADER.size)
        if not (begun := _begins(header)):
            return
        length = begun[1]
        # The file may be shorter than a header says: then the checksum is cut, and wrong.
        stored = read(at.offset + _HEADER.size, length + CHECKSUM_BYTES)
        payload, checksum = stored[:length], stored[length:]
        if blake3(at.checksum + header).update(payload).digest() != checksum:
            return
        end = Position(at.offset + _HEADER.size + len(stored), checksum)
        yield Frame(at, end, payload)
        at = end


def is_there(descriptor: int, position: Position) -> bool:
    """Whether the checksum before ``position`` is the one that it says."""
    start = max(position.offset - CHECKSUM_BYTES, 0)
    return os.pread(descriptor, CHECKSUM_BYTES, start) == position.checksum


def is_clean(descriptor: int, at: Position) -> bool:
    """Whether there is nothing but zeros behind the last frame that counts.

    Raises:
        DataCorrupt: Another append begins there: what is at ``at`` is not torn, but damaged.
    """
    clean, offset = True, at.offset
    while part := os.pread(descriptor, _WINDOW, offset):
        clean = clean and part == _ZEROS[: len(part)]
        if not clean and _has_append(part):
            raise DataCorrupt("The journal of requests")
        if len(part) < _WINDOW:
            break
        # Windows overlap, so that no header lies across their border.
        offset += _WINDOW - _HEADER.size
    return clean


class _Window:
    """Reads a file in large pieces."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size
        self._start, self._held = 0, b""

    def read(self, offset: int, count: int) -> bytes:
        """Bytes at ``offset``; fewer at the end of the file."""
        inside = offset - self._start
        if not 0 <= inside <= len(self._held) - count:
            self._held = os.pread(self._descriptor, max(count, self._size), offset)
            self._start, inside = offset, 0
        return self._held[inside : inside + count]


def _begins(header: bytes) -> tuple[int, int] | None:
    """Number of a frame in its append, and length of its payload; None where none begins."""
    if len(header) < _HEADER.size:
        return None
    magic, crc, number, length = _HEADER.unpack(header)
    return (number, length) if magic == _MAGIC and crc == crc32(header[8:]) else None


def _has_append(part: bytes) -> bool:
    # Not at its very start: what is there is the frame that is wrong.
    found = part.find(_MAGIC, 1)
    while found >= 0:
        begun = _begins(part[found : found + _HEADER.size])
        if begun and not begun[0]:
            return True
        found = part.find(_MAGIC, found + 1)
    return False
