"""Re-derive a published tree from its entries, and say which file does not fit.

Every hash stands in several files: an entry gives its hash in the lowest tile, a full tile
gives one hash in the tile above, and the last tiles give the signed root. Where two of them
differ, the third says which one is wrong.

References:
    c2sp.org/tlog-tiles, sections "Merkle Tree" and "Log entries".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from expunge.core import merkle
from expunge.core.errors import LedgerError
from expunge.ledger import edge, tiles
from expunge.ledger.files import Place

Hashes: TypeAlias = list[bytes]
Seen: TypeAlias = Callable[[int, bytes], None]
"""Told of each entry: its number and its bytes."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be.

    Attributes:
        file: Path below the log's folder, or what else it is.
        where: Which part of it, as far as that is known.
    """

    file: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}{', ' if self.where else ''}{self.where}: {self.what}"


class Tree:
    """A tree as its files give it. Keeps 32 bytes per 256 entries.

    Attributes:
        problems: All that was found, in the order of finding.
    """

    def __init__(self, folder: Path, size: int, root: bytes | None, seen: Seen) -> None:
        """Read all files that the tree must have, and compare.

        Args:
            folder: The log's folder.
            size: Entries in it.
            root: What the root should be; None where nobody trustworthy says so.
            seen: Told of each entry that can be read, in order.
        """
        self.problems: list[Problem] = []
        self._folder, self._size = folder, size
        # By level, the right hashes, empty where unknown; of the lowest its partial tile alone.
        self._rows: list[Hashes] = [[]]
        full, width = divmod(size, tiles.WIDTH)
        said, truth = self._stored(1), Hashes()
        for index in range(full):
            row = self._lowest(index, seen, partial(_gives, said[index]))
            truth.append(merkle.root(row) if row else said[index])
        self._climb(truth, said)
        if width:
            self._rows[0] = self._lowest(full, seen, lambda row: self._top(row) == root)

    def root(self, size: int) -> bytes | None:
        """Root of the first ``size`` entries; None where too much is damaged to know."""
        index, width = divmod(size, tiles.WIDTH)
        lowest = self.row(0, index)[:width] if width else []
        above = []
        for level in range(1, len(self._rows)):
            count = size >> tiles.HEIGHT * level
            above.append(self._rows[level][count - count % tiles.WIDTH : count])
        is_known = len(lowest) == width and all(all(row) for row in above)
        return edge.root([lowest, *above]) if is_known else None

    def row(self, level: int, index: int) -> Hashes:
        """The hashes of a tile; of the lowest level none where no file is right."""
        part = slice(index * tiles.WIDTH, (index + 1) * tiles.WIDTH)
        if level:
            return self._rows[level][part]
        if part.stop > self._size:
            return self._rows[0]
        hashes = [merkle.leaf_hash(leaf) for leaf in self._entries(index)[1]]
        found = (row for row in (hashes, self._tile(0, index, [])) if row)
        return next((row for row in found if merkle.root(row) == self._rows[1][index]), [])

    def begins(self, place: Place, data: bytes) -> bool:
        """Whether the bytes of a partial tile or bundle are how the right one begins."""
        row = self.row(place.level or 0, place.index)[: place.width]
        if place.level is not None:
            return data == b"".join(row)
        try:
            return [merkle.leaf_hash(leaf) for leaf in tiles.decode_bundle(data)] == row
        except LedgerError:
            return False

    def bundle(self, number: int) -> str:
        """Path of the bundle that holds entry ``number``."""
        return self._place(None, number // tiles.WIDTH).path

    def _top(self, lowest: Hashes) -> bytes | None:
        self._rows[0] = lowest
        return self.root(self._size)

    def _climb(self, truth: Hashes, said: Hashes) -> None:
        """Compare the tiles above the lowest level with what lies below them."""
        while truth:
            level = len(self._rows)
            self._rows.append(truth)
            for index in range(-(-len(truth) // tiles.WIDTH)):
                part = slice(index * tiles.WIDTH, (index + 1) * tiles.WIDTH)
                self._compare(level, index, truth[part], said[part])
            below, said = truth, self._stored(level + 1)
            truth = []
            for index, known in enumerate(said):
                parts = below[index * tiles.WIDTH : (index + 1) * tiles.WIDTH]
                truth.append(merkle.root(parts) if all(parts) else known)

    def _lowest(self, index: int, seen: Seen, is_right: Callable[[Hashes], bool]) -> Hashes:
        """Leaf hashes that bundle and tile agree on, or else those that are right."""
        data, entries = self._entries(index)
        for number, leaf in enumerate(entries, index * tiles.WIDTH):
            seen(number, leaf)
        hashes = [merkle.leaf_hash(leaf) for leaf in entries]
        stored = self._tile(0, index, self.problems)
        if hashes and hashes == stored:
            return hashes
        candidates = [row for row in (hashes, stored) if row]
        right = next(filter(is_right, candidates), [])
        if right != hashes or not hashes:
            self._blame_bundle(index, data, stored)
        if hashes and right != stored:
            self._compare(0, index, hashes, stored)
        return right or next(iter(candidates), [])

    def _blame_bundle(self, index: int, data: bytes | None, stored: Hashes) -> None:
        """Say where a bundle leaves off being what the tile says."""
        path = self._place(None, index).path
        if data is None:
            self.problems.append(Problem(path, "", "is missing, or cannot be read"))
            return
        at = 0
        for number, hash_ in enumerate(stored):
            end = at + 2 + int.from_bytes(data[at : at + 2], "big")
            if merkle.leaf_hash(data[at + 2 : end]) != hash_:
                where = f"entry {index * tiles.WIDTH + number:,}, from byte {at:,} on"
                self.problems.append(Problem(path, where, "is not what the tree holds"))
                return
            at = end
        what = "does not hold the entries that it should, and nothing else"
        self.problems.append(Problem(path, f"from byte {at:,} on", what))

    def _compare(self, level: int, index: int, right: Hashes, stored: Hashes) -> None:
        """Say where a tile differs from what lies below it, if it was read at all."""
        for number, (wanted, found) in enumerate(zip(right, stored, strict=False)):
            if wanted and found and wanted != found:
                inside = next(i for i in range(merkle.SIZE) if wanted[i] != found[i])
                where = f"byte {number * merkle.SIZE + inside:,}, in hash {number}"
                path = self._place(level, index).path
                self.problems.append(Problem(path, where, "is not what the entries give"))
                return

    def _stored(self, level: int) -> Hashes:
        """All hashes that the tiles of a level hold; empty ones where a tile is missing."""
        count, hashes = self._size >> tiles.HEIGHT * level, Hashes()
        for index in range(-(-count // tiles.WIDTH)):
            wide = self._place(level, index).width
            hashes += self._tile(level, index, self.problems) or [b""] * wide
        return hashes

    def _tile(self, level: int, index: int, problems: list[Problem]) -> Hashes:
        """A tile's hashes; none where it is missing or of another length."""
        place = self._place(level, index)
        data, length = self._read(place), place.width * merkle.SIZE
        if data is None:
            problems.append(Problem(place.path, "", "is missing, or cannot be read"))
        elif len(data) != length:
            what = f"has {len(data):,} bytes; expected {length:,}"
            problems.append(Problem(place.path, "", what))
        else:
            return tiles.decode_tile(data, place.path, place.width)
        return []

    def _entries(self, index: int) -> tuple[bytes | None, list[bytes]]:
        """A bundle's bytes and entries; no entries where it cannot be split into as many."""
        place = self._place(None, index)
        data = self._read(place)
        try:
            entries = tiles.decode_bundle(data or b"")
        except LedgerError:
            entries = []
        return data, entries if len(entries) == place.width else []

    def _place(self, level: int | None, index: int) -> Place:
        return Place(level, index, tiles.width(level or 0, index, self._size))

    def _read(self, place: Place) -> bytes | None:
        try:
            return (self._folder / place.path).read_bytes()
        except OSError:
            return None


def _gives(root: bytes, row: Hashes) -> bool:
    return merkle.root(row) == root
