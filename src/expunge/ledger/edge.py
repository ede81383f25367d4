"""The right edge of a tree of tiles: what growing it needs, and which files it gives.

References:
    c2sp.org/tlog-tiles, section "Merkle Tree"; RFC 6962 section 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from expunge.core import merkle
from expunge.core.errors import LedgerError
from expunge.ledger import tiles
from expunge.ledger.files import fetcher


class Edge:
    """The last tile of each level, while it is not full.

    It begins where the lowest tile is empty: at a size that is a multiple of 256.
    """

    def __init__(self, size: int = 0, above: Sequence[Sequence[bytes]] = ()) -> None:
        """Continue a tree.

        Args:
            size: Entries in it, a multiple of 256.
            above: Hashes of the partial tiles, from level 1 on.
        """
        if size % tiles.WIDTH:
            raise ValueError(f"An edge begins at a full bundle, not at {size:,} entries.")
        self._size = size
        self._before = size
        self._rows: list[list[bytes]] = [[], *map(list, above)]

    @property
    def size(self) -> int:
        """Entries in the tree."""
        return self._size

    def append(self, hashes: Sequence[bytes]) -> dict[str, bytes]:
        """Append the leaf hashes of one bundle; only the last bundle may have fewer than 256.

        Returns:
            The tiles that are full now, by path.
        """
        if self._size % tiles.WIDTH or len(hashes) > tiles.WIDTH:
            raise ValueError("Bundles are appended whole, and a partial one is the last.")
        files, rising, level = dict[str, bytes](), list(hashes), 0
        while rising:
            if level == len(self._rows):
                self._rows.append([])
            row = self._rows[level]
            row += rising
            rising = []
            if len(row) == tiles.WIDTH:
                index = (self._size >> tiles.HEIGHT * level) // tiles.WIDTH
                files[tiles.tile_path(level, index)] = b"".join(row)
                rising, self._rows[level] = [merkle.root(row)], []
            level += 1
        self._size += len(hashes)
        return files

    def partial(self) -> dict[str, bytes]:
        """The partial tiles that changed since the beginning, by path."""
        files = {}
        for level, row in enumerate(self._rows):
            count = self._size >> tiles.HEIGHT * level
            if row and count != self._before >> tiles.HEIGHT * level:
                files[tiles.tile_path(level, count // tiles.WIDTH, len(row))] = b"".join(row)
        return files

    def root(self, lowest: Sequence[bytes] | None = None) -> bytes:
        """Root of the tree.

        Args:
            lowest: Stands for the hashes of the lowest tile, where they are not appended.
        """
        return root([self._rows[0] if lowest is None else lowest, *self._rows[1:]])


def root(rows: Sequence[Sequence[bytes]]) -> bytes:
    """Root over the partial tiles of all levels, from the lowest on.

    What lies below a tile's last hash counts as one hash more of it: RFC 6962 splits at powers
    of two, so that a part which is smaller than the perfect subtrees before it is always the
    last.
    """
    rest: list[bytes] = []
    for row in rows:
        if row or rest:
            rest = [merkle.root([*row, *rest])]
    return rest[0] if rest else merkle.root([])


def above(folder: Path, size: int) -> list[list[bytes]] | None:
    """Hashes of the partial tiles above the lowest level in a published tree of ``size`` entries.

    Returns:
        None where one is missing or of another length.
    """
    fetch, rows = fetcher(folder), list[list[bytes]]()
    while total := size >> tiles.HEIGHT * (len(rows) + 1):
        width = total % tiles.WIDTH
        path = tiles.tile_path(len(rows) + 1, total // tiles.WIDTH, width or tiles.WIDTH)
        try:
            rows.append(tiles.decode_tile(fetch(path), path, width) if width else [])
        except (FileNotFoundError, LedgerError):
            return None
    return rows
