"""Merkle trees as in RFC 6962 section 2.1: pure functions of bytes.

A *leaf hash* is :func:`leaf_hash` of an entry; all other functions take leaf hashes, 32 bytes
each. Proofs are made through a ``read(level, index)``, the hash of the perfect subtree over the
leaves ``[index << level, (index + 1) << level)``, so that memory, tiles and a database serve
alike. Checks return False for anything that is not exactly the proof they expect, whatever
its lengths; they run in time that grows with the length of the proof alone.

References:
    RFC 6962 section 2.1 (hashes and proofs); RFC 9162 sections 2.1.3.2 and 2.1.4.2 (checks).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

from expunge.core.errors import DataCorrupt

Read: TypeAlias = Callable[[int, int], bytes]

SIZE = 32

# RFC 6962 section 2.1: the prefixes keep a leaf from ever being mistaken for a node.
_LEAF = b"\x00"
_NODE = b"\x01"


def leaf_hash(entry: bytes) -> bytes:
    """Hash one entry; 32 bytes."""
    return sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two children, each 32 bytes, into their parent."""
    return sha256(_NODE + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Root of the tree over the leaf hashes ``leaves``; of no leaves, the hash of nothing.

    Pairing level by level, an odd last one going up as it is, gives the tree of
    RFC 6962, which splits at the largest power of two below n. Costs n - 1 hashes.
    """
    if not leaves:
        return sha256().digest()
    level = list(leaves)
    while len(level) > 1:
        level = _pair(level) + level[len(level) & ~1 :]
    return level[0]


def in_memory(leaves: Sequence[bytes]) -> Read:
    """Read from a tree over the leaf hashes ``leaves``, kept in memory.

    Costs n - 1 hashes and twice the memory of the leaves, once; a read costs nothing.
    """
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        levels.append(_pair(levels[-1]))
    return lambda level, index: levels[level][index]


def prove_inclusion(index: int, size: int, read: Read) -> list[bytes]:
    """Prove that leaf ``index`` is in the tree of the first ``size`` leaves.

    Returns:
        The audit path of RFC 6962 section 2.1.1, from the leaf's sibling upwards. Costs at
        most 2·log₂(size) reads.

    Raises:
        ValueError: There is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"No leaf {index:,} in a tree of {size:,}. Leaves are counted from 0.")
    return _siblings(0, index, size, read)


def prove_consistency(first: int, size: int, read: Read) -> list[bytes]:
    """Prove that the tree of the first ``first`` leaves is a prefix of that of ``size``.

    Returns:
        The proof of RFC 6962 section 2.1.2; empty where ``first`` is 0 or ``size``. Costs at
        most 2·log₂(size) reads.

    Raises:
        ValueError: ``first`` is larger than ``size``.
    """
    if not 0 <= first <= size:
        raise ValueError(f"A tree of {first:,} is no prefix of one of {size:,}. Swap them.")
    if first in (0, size):
        return []
    level = _twos(first)
    node = (first - 1) >> level
    # The verifier holds the hash of the old tree: where that is a perfect subtree, it needs no seed.
    seed = [read(level, node)] if node else []
    return seed + _siblings(level, node, size, read)


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether ``path`` shows that the leaf hash ``leaf`` is number ``index`` under ``root``.

    The size has to come from where the root came from, a signed note: one path can fit trees
    of several sizes, as that of leaf 0 fits 3 leaves and 4.
    """
    if not 0 <= index < size or not _all_hashes(leaf, root, *path):
        return False
    shared = _path_bits(index, size)
    if len(path) != shared + (index >> shared).bit_count():
        return False
    for level, sibling in enumerate(path):
        # Above the level where the leaf's way meets the tree's right edge, all siblings are left.
        on_left = level >= shared or index >> level & 1
        leaf = node_hash(sibling, leaf) if on_left else node_hash(leaf, sibling)
    return leaf == root


def check_consistency(
    first: int, first_root: bytes, size: int, root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether ``path`` shows that the tree ``first_root`` of ``first`` leaves begins ``root``'s.

    The tree of no leaves begins every tree; its root must be the hash of nothing.
    """
    if not 0 <= first <= size or not _all_hashes(first_root, root, *path):
        return False
    if first in (0, size):
        known = first_root if first else sha256().digest()
        return not path and first_root == known and (first != size or root == first_root)
    level = _twos(first)
    node = (first - 1) >> level
    seed = [] if node else [first_root]
    shared = _path_bits(node, ((size - 1) >> level) + 1)
    if len(seed) + len(path) != 1 + shared + (node >> shared).bit_count():
        return False
    return _grow([*seed, *path], node, shared) == (first_root, root)


@dataclass(frozen=True, slots=True)
class Frontier:
    """All of a tree that appending to it needs: the roots of its perfect subtrees.

    Attributes:
        size: Leaves in the tree.
        peaks: Roots of the perfect subtrees that the tree falls into, the largest first: one
            per binary one of ``size``.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if (
            self.size < 0
            or len(self.peaks) != self.size.bit_count()
            or not _all_hashes(*self.peaks)
        ):
            raise ValueError(f"A tree of {self.size:,} leaves has other peaks than these.")

    def extend(self, leaf_hashes: Iterable[bytes]) -> Frontier:
        """Append leaf hashes, level by level. Costs about one hash per leaf."""
        rising = list(leaf_hashes)
        size, before = self.size + len(rising), self.size
        old, new = list(self.peaks), list[bytes]()
        while rising:
            if before & 1:
                rising.insert(0, old.pop())
            if len(rising) & 1:
                new.append(rising.pop())
            rising, before = _pair(rising), before >> 1
        return Frontier(size, (*old, *reversed(new)))

    @property
    def root(self) -> bytes:
        """Root of the tree; of no leaves, the hash of nothing."""
        return _fold(self.peaks) if self.peaks else sha256().digest()

    def to_bytes(self) -> bytes:
        """The peaks, one after the other; the size is kept beside them."""
        return b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Frontier:
        """Read what :meth:`to_bytes` wrote for a tree of ``size`` leaves.

        Raises:
            DataCorrupt: The bytes are not the peaks of such a tree.
        """
        if size < 0 or len(data) != SIZE * size.bit_count():
            raise DataCorrupt("The frontier of the ledger's tree")
        return cls(size, tuple(data[i : i + SIZE] for i in range(0, len(data), SIZE)))


def _pair(level: Sequence[bytes]) -> list[bytes]:
    """Hash neighbours into their parents; an odd last one has none."""
    # Not by node_hash: a call per hash would take a third of the time of long appends.
    pairs = zip(level[::2], level[1::2], strict=False)
    return [sha256(_NODE + left + right).digest() for left, right in pairs]


def _fold(peaks: Sequence[bytes]) -> bytes:
    """Root over perfect subtrees, the largest first."""
    whole = peaks[-1]
    for peak in reversed(peaks[:-1]):
        whole = node_hash(peak, whole)
    return whole


def _siblings(level: int, node: int, size: int, read: Read) -> list[bytes]:
    """Roots of the subtrees that node ``node`` of ``level`` meets on its way up."""
    path, last = [], (size - 1) >> level
    while last:
        # A last node without a right neighbour goes up as it is.
        if node ^ 1 <= last:
            path.append(_subtree(level, node ^ 1, size, read))
        level, node, last = level + 1, node >> 1, last >> 1
    return path


def _subtree(level: int, node: int, size: int, read: Read) -> bytes:
    """Root over the leaves below a node; the tree's right edge may cut them short."""
    start, missing = node << level, ((node + 1) << level) - size
    if missing <= 0:
        return read(level, node)
    peaks = []
    for low in reversed(range(level)):
        if (size - start) >> low & 1:
            peaks.append(read(low, start >> low))
            start += 1 << low
    return _fold(peaks)


def _grow(path: Sequence[bytes], node: int, shared: int) -> tuple[bytes, bytes]:
    """Roots of the old and of the new tree, from ``path``, whose first hash is in both."""
    old = new = path[0]
    for level, sibling in enumerate(path[1:]):
        if level >= shared or node >> level & 1:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
        else:  # a sibling on the right is newer than the old tree
            new = node_hash(new, sibling)
    return old, new


def _path_bits(index: int, size: int) -> int:
    """Levels at which leaf ``index`` has a sibling, before its way meets the right edge."""
    return (index ^ (size - 1)).bit_length()


def _twos(number: int) -> int:
    """How often two divides ``number``."""
    return (number & -number).bit_length() - 1


def _all_hashes(*values: bytes) -> bool:
    return all(len(value) == SIZE for value in values)
