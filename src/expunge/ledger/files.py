"""The files of a log on a disk: which there are, where each stands, and the checkpoint's.

A partial tile may be removed once it is full. Who asks for one that is gone gets the beginning
of the full one, which holds the same.

References:
    c2sp.org/tlog-tiles, sections "Checkpoints" and "Partial Tiles".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from expunge.core import merkle
from expunge.core.errors import LedgerError, NoteInvalid
from expunge.ledger import note, tiles
from expunge.ledger.note import Checkpoint, Note

CHECKPOINT: Final = "checkpoint"
HANDOVERS: Final = "handover"
"""Folder of the notes that two log keys signed, named for their sizes."""

_PATH: Final = re.compile(r"tile/(entries|\d{1,2})/((?:x\d{3}/)*\d{3})(?:\.p/(\d{1,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tile or bundle stands.

    Attributes:
        level: Of a tile; None for a bundle of entries.
        index: Its number in its level.
        width: Hashes or entries in it, 1 to 256.
    """

    level: int | None
    index: int
    width: int = tiles.WIDTH

    @property
    def path(self) -> str:
        """Its path below the log's folder."""
        if self.level is None:
            return tiles.bundle_path(self.index, self.width)
        return tiles.tile_path(self.level, self.index, self.width)

    @property
    def is_full(self) -> bool:
        """Whether it never changes again."""
        return self.width == tiles.WIDTH

    def width_at(self, size: int) -> int:
        """How many hashes or entries it has in a tree of ``size`` entries; 0 to 256."""
        return tiles.width(self.level or 0, self.index, size)


@dataclass(frozen=True, slots=True)
class Published:
    """The checkpoint that is published, as it stands in its file."""

    data: bytes
    note: Note
    checkpoint: Checkpoint


def place(path: str) -> Place | None:
    """Where the file ``path`` stands; None where it is neither tile nor bundle."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    kind, groups, wide = found.groups()
    level = None if kind == "entries" else int(kind)
    index = int(groups.replace("/", "").replace("x", ""))
    width = tiles.WIDTH if wide is None else int(wide)
    if (level or 0) >= tiles.MOST_LEVELS or not 0 < width <= tiles.WIDTH:
        return None
    made = Place(level, index, width)
    # One spelling only: not x000/001, nor 001.p/07, nor 001.p/256.
    return made if made.path == path else None


def levels(size: int) -> Iterator[int | None]:
    """Kinds of files in a tree of ``size`` entries: None for bundles, then the tiles' levels."""
    level = 0
    if size:
        yield None
    while size >> tiles.HEIGHT * level:
        yield level
        level += 1


def places(size: int) -> Iterator[Place]:
    """All tiles and bundles that a log of ``size`` entries must have, level by level."""
    for level in levels(size):
        count = size >> tiles.HEIGHT * (level or 0)
        yield from (Place(level, index) for index in range(count // tiles.WIDTH))
        if count % tiles.WIDTH:
            yield Place(level, count // tiles.WIDTH, count % tiles.WIDTH)


def published(folder: Path) -> Published | None:
    """The published checkpoint of the log in ``folder``; None before the first. Not verified.

    Raises:
        NoteInvalid: The file is damaged.
    """
    path = folder / CHECKPOINT
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        parsed = note.parse(data)
        return Published(data, parsed, Checkpoint.parse(parsed.text))
    except NoteInvalid as error:
        raise NoteInvalid(
            f"The published checkpoint of the ledger is damaged. Restore it from a copy of the "
            f"ledger's files; where the database is surely as new as they are, remove the file, "
            f"and it is written again. {error}"
        ) from error


def fetcher(folder: Path) -> Callable[[str], bytes]:
    """Give the bytes of a tile or bundle by its path, for :func:`tiles.reader`.

    Raises, when asked:
        FileNotFoundError: It is not there, nor is the full one that it would begin.
    """

    def fetch(path: str) -> bytes:
        try:
            return (folder / path).read_bytes()
        except FileNotFoundError:
            wanted = place(path)
            if wanted is None or wanted.is_full:
                raise
        full = (folder / Place(wanted.level, wanted.index).path).read_bytes()
        if wanted.level is None:
            return tiles.encode_bundle(tiles.decode_bundle(full)[: wanted.width])
        return full[: wanted.width * merkle.SIZE]

    return fetch


def entries(folder: Path, start: int, stop: int, size: int) -> Iterator[list[bytes]]:
    """Entries from ``start`` to before ``stop``, bundle by bundle, from a log of ``size``.

    Nothing is verified but that each bundle has as many entries as it should.

    Raises:
        LedgerError: A bundle is missing or damaged.
    """
    fetch = fetcher(folder)
    for index in range(start // tiles.WIDTH, -(-stop // tiles.WIDTH)):
        wide = tiles.width(0, index, size)
        path = tiles.bundle_path(index, wide)
        try:
            leaves = tiles.decode_bundle(fetch(path))
        except FileNotFoundError:
            leaves = []
        if len(leaves) != wide:
            raise LedgerError(
                f"{path} has {len(leaves)} entries; expected {wide}. Restore the ledger's files "
                f"from a copy, and run `expunge ledger fsck`."
            )
        first = index * tiles.WIDTH
        yield leaves[max(0, start - first) : stop - first]
