"""Packs: one append-only file of checkpoints for each constituent and runtime.

What a forgotten sample touched is always a suffix of its constituent's chain. So forgetting
cuts the file, rebuilding appends to it, and one sync ends the unit.

Format 1: 8 bytes of magic, then frames: a header (payload length u64, samples seen u64, name
32 bytes, BLAKE3 checksum of the three and the payload 32 bytes; little-endian) and the payload.
A frame counts when its checksum is right; a torn one at the end does not.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Final

from blake3 import blake3

from expunge.core.errors import DataCorrupt, FormatUnsupported
from expunge.storage import disk

_MAGIC: Final = b"XPACK\x00\x00\x01"
_HEADER: Final = Struct("<QQ32s32s")


@dataclass(frozen=True, slots=True)
class Frame:
    """Where one checkpoint stands in its pack.

    Attributes:
        samples: How many samples it has seen.
        offset: Of its header, in bytes.
        length: Of its payload, in bytes.
    """

    name: bytes
    samples: int
    offset: int
    length: int
    checksum: bytes

    @property
    def end(self) -> int:
        """Offset behind the payload."""
        return self.offset + _HEADER.size + self.length


class Pack:
    """An open pack. Writers hold its lock; readers need none, because checksums tell."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor, self._path = descriptor, path

    def frames(self) -> list[Frame]:
        """The directory, by scanning headers; payloads are not verified."""
        size = os.fstat(self._descriptor).st_size
        if size < len(_MAGIC):
            return []
        if os.pread(self._descriptor, len(_MAGIC), 0) != _MAGIC:
            raise FormatUnsupported(f"Pack {self._path.name}", "unknown", 1)
        return list(self._scan(size))

    def read(self, frame: Frame) -> bytes:
        """A frame's payload.

        Raises:
            DataCorrupt: The bytes there are not (or no longer) this frame's.
        """
        stored = os.pread(self._descriptor, _HEADER.size + frame.length, frame.offset)
        payload = memoryview(stored)[_HEADER.size :]
        if _checksum(frame.name, frame.samples, payload) != frame.checksum:
            raise DataCorrupt(f"A frame of pack {self._path.name}")
        return bytes(payload)

    def holds(self, frame: Frame) -> bool:
        """Whether a frame's bytes are right."""
        try:
            self.read(frame)
        except DataCorrupt:
            return False
        return True

    def cut(self, frames: Sequence[Frame]) -> bool:
        """Keep ``frames``, which must be the first ones, and destroy all behind them.

        Returns whether there was anything behind them.
        """
        end = frames[-1].end if frames else 0
        if os.fstat(self._descriptor).st_size <= end:
            return False
        disk.truncate(self._descriptor, end)
        return True

    def append(self, behind: Frame | None, name: bytes, samples: int, payload: bytes) -> Frame:
        """Write a frame behind the last one; not yet synced."""
        if behind is None:
            disk.write(self._descriptor, _MAGIC, 0)
        offset = behind.end if behind else len(_MAGIC)
        frame = Frame(name, samples, offset, len(payload), _checksum(name, samples, payload))
        header = _HEADER.pack(frame.length, samples, name, frame.checksum)
        disk.write(self._descriptor, header, offset)
        disk.write(self._descriptor, payload, offset + len(header))
        return frame

    def sync(self) -> None:
        """Wait until all frames are on the disk."""
        disk.sync(self._descriptor)

    def _scan(self, size: int) -> Iterator[Frame]:
        offset = len(_MAGIC)
        while offset + _HEADER.size <= size:
            header = os.pread(self._descriptor, _HEADER.size, offset)
            length, samples, name, checksum = _HEADER.unpack(header)
            frame = Frame(name, samples, offset, length, checksum)
            if frame.end > size:
                return
            yield frame
            offset = frame.end


@contextmanager
def reading(path: Path) -> Iterator[Pack | None]:
    """Open a pack to read; None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield None
        return
    try:
        yield Pack(descriptor, path)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[Pack]:
    """Open a pack to write, alone: waits until no other process does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if is_new:
            disk.sync_folder(path.parent)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Pack(descriptor, path)
    finally:
        os.close(descriptor)


def _checksum(name: bytes, samples: int, payload: bytes | memoryview) -> bytes:
    head = len(payload).to_bytes(8, "little") + samples.to_bytes(8, "little") + name
    return blake3(head).update(payload).digest()
