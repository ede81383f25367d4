"""The journal: what was accepted, kept outside the database and its backups.

A database that is restored from a backup does not know the requests since then, nor what was
decided about them. The journal does: each request and each decision is appended to it after its
transaction has committed and before it is answered. It names rows by their places and by keyed hashes under a key of the journal's own,
so that without the key it tells nothing about who.

Format 1: a head of 72 bytes (magic; 16 bytes that name the home, 16 that name the key; BLAKE3
checksum of these), then frames (``storage.records``). Behind the last frame are zeros, written
ahead of time: waiting for a file that does not grow takes half as long. A torn last frame does not
count; the next append cuts it off.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final

from blake3 import blake3

from expunge.core.errors import DataCorrupt, FormatUnsupported, HomeMismatch, JournalUnwritten
from expunge.storage import disk, records
from expunge.storage.locks import alone
from expunge.storage.records import DIGEST_BYTES, Frame, Position, Record

KEY_BYTES: Final = 32

_MAGIC: Final = b"XJOUR\x00\x00\x01"
_NAME_BYTES: Final = 16
_AHEAD: Final = 1 << 16


class Journal:
    """The journal of one home. Any number of processes and threads may append to it.

    Nothing is read or made before the first use.

    Args:
        folder: Its own; best on another disk than the home, and in no backup of it.
        home: The home's id.
    """

    def __init__(self, folder: Path, home: str) -> None:
        self._folder, self._home = folder, home
        self._path, self._lock = folder / "requests.log", folder / "requests.lock"
        self._key = b""
        self._first = self._last = Position(0, b"")

    def append(self, *added: Record) -> Position:
        """Append records of requests that are committed: one write and one sync.

        Returns:
            The place behind them.

        Raises:
            JournalUnwritten: They are not appended; the cause says why.
        """
        try:
            return self._append(added)
        except (OSError, DataCorrupt) as error:
            raise JournalUnwritten([one.request for one in added]) from error

    def _append(self, added: Sequence[Record]) -> Position:
        self._prepare()
        with alone(self._lock), self._open() as descriptor:
            at = self._find_end(descriptor)
            frames, end = records.encode(added, at)
            grows = end.offset > os.fstat(descriptor).st_size
            ahead = bytes(-end.offset % _AHEAD) if grows else b""
            disk.write(descriptor, frames + ahead, at.offset)
            disk.sync(descriptor)
            self._last = end
        return end

    def read(self) -> Iterator[Record]:
        """All that was appended, in order. Holds one record at a time."""
        return (frame.record for frame in self.frames())

    def frames(self, after: Position | None = None) -> Iterator[Frame]:
        """All that was appended behind ``after``, in order, each with its place.

        Raises:
            DataCorrupt: Frames are damaged, and others follow them.
            HomeMismatch: It is the journal of another home.
        """
        self._prepare()
        at = after or self._first
        with self._open() as descriptor:
            for frame in records.scan(descriptor, at):
                yield frame
                at = frame.end
            with alone(self._lock):  # nobody appends: what does not count is torn, or damaged
                late = list(records.scan(descriptor, at))
                records.is_clean(descriptor, late[-1].end if late else at)
        yield from late

    def record_at(self, start: Position) -> Record:
        """The record whose frame begins at ``start``."""
        with self._open() as descriptor:
            return next(records.scan(descriptor, start, window=4096)).record

    def has(self, position: Position) -> bool:
        """Whether all that is before ``position`` is what it was; costs one small read."""
        self._prepare()
        with self._open() as descriptor:
            return records.is_there(descriptor, position)

    def subkey(self, dataset: str) -> bytes:
        """Key of the digests of one dataset's rows; 32 bytes.

        Args:
            dataset: Name of its folder.
        """
        self._prepare()
        keyed = blake2b(key=self._key, digest_size=KEY_BYTES, person=b"dataset")
        keyed.update(dataset.encode())
        return keyed.digest()

    @contextmanager
    def _open(self) -> Iterator[int]:
        descriptor = os.open(self._path, os.O_RDWR)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _prepare(self) -> None:
        """Make the journal and its key, or see that they are ours."""
        if self._key:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone(self._lock):
            key = self._read_key()
            head = _MAGIC + _name(self._home.encode(), b"home") + _name(key, b"key")
            checksum = blake3(head).digest()
            if not self._path.exists():
                disk.write_file(self._path, head + checksum)
                disk.sync_folder(self._folder.parent)
            with self._open() as descriptor:
                _check_head(os.pread(descriptor, len(head + checksum), 0), head, checksum)
        self._first = self._last = Position(len(head + checksum), checksum)
        self._key = key

    def _read_key(self) -> bytes:
        path = self._folder / "key"
        if not path.exists():
            if self._path.exists():
                raise DataCorrupt("The journal, whose key is lost,")
            disk.write_file(path, os.urandom(KEY_BYTES))
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            raise DataCorrupt("The journal's key")
        return key

    def _find_end(self, descriptor: int) -> Position:
        """The place behind the last frame. Cuts off a torn one."""
        at = self._last if records.is_there(descriptor, self._last) else self._first
        for frame in records.scan(descriptor, at):
            at = frame.end
        if not records.is_clean(descriptor, at):
            disk.truncate(descriptor, at.offset)
        return at


def digests(subkey: bytes, tokens: Iterable[int]) -> list[bytes]:
    """Keyed hashes of rows' tokens under :meth:`Journal.subkey`. About 1 µs each."""
    copy = blake2b(key=subkey, digest_size=DIGEST_BYTES, person=b"row").copy
    found = []
    for token in tokens:
        state = copy()
        state.update(token.to_bytes(8, "little"))
        found.append(state.digest())
    return found


def _name(value: bytes, purpose: bytes) -> bytes:
    """Names a home or a key, and does not show it."""
    return blake2b(value, digest_size=_NAME_BYTES, person=purpose).digest()


def _check_head(found: bytes, head: bytes, checksum: bytes) -> None:
    if found == head + checksum:
        return
    if not found.startswith(_MAGIC):
        raise FormatUnsupported("The journal of requests", "unknown", 1)
    if blake3(found[: len(head)]).digest() != found[len(head) :]:
        raise DataCorrupt("The journal of requests")
    home = slice(len(_MAGIC), len(_MAGIC) + _NAME_BYTES)
    if found[home] != head[home]:
        raise HomeMismatch
    raise DataCorrupt("The journal, which has another key,")
