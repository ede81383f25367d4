"""A log as static files: tiles of hashes and bundles of entries, as C2SP tlog-tiles.

A tile holds up to 256 hashes, side by side, of every eighth level of the tree; a bundle holds
the entries of one tile of the lowest level. Files that are full never change again, so that
any web server can serve a log.

References:
    c2sp.org/tlog-tiles, sections "Merkle Tree" and "Log entries".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from expunge.core import merkle
from expunge.core.errors import LedgerError

WIDTH: Final = 256
HEIGHT: Final = 8
MOST_LEVELS: Final = 64
MOST_ENTRY: Final = 65_535

_CACHED_TILES = 64  # about 30 kB each, unpacked


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """Path of a tile below the log's folder.

    Args:
        level: Level of the tile; its hashes stand at level ``8 * level`` of the tree.
        index: Number of the tile in its level.
        width: Hashes in it, 1 to 256.

    >>> tile_path(0, 1234067), tile_path(1, 0, 17)
    ('tile/0/x001/x234/067', 'tile/1/000.p/17')
    """
    if not 0 <= level < MOST_LEVELS:
        raise ValueError(f"Tiles have levels 0 to {MOST_LEVELS - 1}, not {level}.")
    return f"tile/{level}/{_number(index, width)}"


def bundle_path(index: int, width: int = WIDTH) -> str:
    """Path of a bundle of entries below the log's folder.

    >>> bundle_path(5), bundle_path(1000, 3)
    ('tile/entries/005', 'tile/entries/x001/000.p/3')
    """
    return f"tile/entries/{_number(index, width)}"


def width(level: int, index: int, size: int) -> int:
    """Hashes that tile ``index`` of ``level`` has in a tree of ``size`` leaves; 0 to 256."""
    return max(0, min(WIDTH, (size >> HEIGHT * level) - index * WIDTH))


def encode_bundle(leaves: Sequence[bytes]) -> bytes:
    """Join 1 to 256 entries, each behind its length: 2 bytes, big-endian.

    Raises:
        LedgerError: There are none or too many, or one is longer than 65,535 bytes.
    """
    if not 0 < len(leaves) <= WIDTH:
        raise LedgerError(f"A bundle holds 1 to {WIDTH} entries, not {len(leaves)}. Split them.")
    if (longest := max(map(len, leaves))) > MOST_ENTRY:
        raise LedgerError(f"An entry has {longest:,} bytes; bundles hold up to {MOST_ENTRY:,}.")
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


def decode_bundle(data: bytes) -> list[bytes]:
    """Split a bundle into its entries.

    Raises:
        LedgerError: The bytes are no bundle: cut off, empty, or of more than 256 entries.
    """
    leaves, at = list[bytes](), 0
    while at < len(data) and len(leaves) < WIDTH:
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise LedgerError(
                f"A bundle of entries is cut off: entry {len(leaves)} of it, at byte {at:,}, ends "
                f"behind the bundle's {len(data):,} bytes. Fetch it again, or run "
                f"`expunge ledger fsck`."
            )
        leaves.append(data[at + 2 : end])
        at = end
    if not leaves or at < len(data):
        raise LedgerError(
            f"A bundle holds {len(leaves)} entries and {len(data) - at:,} bytes more; expected 1 "
            f"to {WIDTH} entries and nothing else. Fetch it again, or run `expunge ledger fsck`."
        )
    return leaves


def decode_tile(data: bytes, path: str, width: int) -> list[bytes]:
    """Split a tile into its ``width`` hashes.

    Raises:
        LedgerError: It has another length.
    """
    if len(data) != width * merkle.SIZE:
        raise LedgerError(
            f"{path} has {len(data):,} bytes; expected {width * merkle.SIZE:,}. Fetch it again, "
            f"or run `expunge ledger fsck`."
        )
    return [data[at : at + merkle.SIZE] for at in range(0, len(data), merkle.SIZE)]


def reader(size: int, fetch: Callable[[str], bytes]) -> merkle.Read:
    """Read hashes of a tree of ``size`` leaves from its tiles, for proofs.

    Nothing is verified but the tiles' lengths: check the proofs against a signed root. The
    last 64 tiles are kept, so use one reader for many proofs of one tree.

    Args:
        size: Leaves in the tree; it says how wide the last tiles are.
        fetch: Gives the bytes of a path; its errors pass through.

    Returns:
        A ``read`` for :mod:`expunge.core.merkle`. It raises ValueError for a subtree that the
        tree does not have, and LedgerError for a tile of another length.
    """

    @lru_cache(_CACHED_TILES)
    def tile(level: int, index: int) -> merkle.Read:
        wide = width(level, index, size)
        path = tile_path(level, index, wide)
        return merkle.in_memory(decode_tile(fetch(path), path, wide))

    def read(level: int, index: int) -> bytes:
        if not 0 <= index < size >> level:
            raise ValueError(f"No subtree {index:,} at level {level} in a tree of {size:,} leaves.")
        row, inside = divmod(level, HEIGHT)
        number, rest = divmod(index << inside, WIDTH)
        return tile(row, number)(inside, rest >> inside)

    return read


def _number(index: int, width: int) -> str:
    """Groups of three digits, all but the last behind an x: no file is also a folder."""
    if index < 0 or not 0 < width <= WIDTH:
        raise ValueError(f"No tile {index} of width {width}. Widths are 1 to {WIDTH}.")
    groups = f"{index:,}".split(",")
    path = "/".join([f"x{group:0>3}" for group in groups[:-1]] + [f"{groups[-1]:0>3}"])
    return path if width == WIDTH else f"{path}.p/{width}"
