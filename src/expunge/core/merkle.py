"""Merkle trees as in RFC 6962 section 2.1: pure functions of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

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
        paired = [node_hash(a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
        level = paired + level[2 * len(paired) :]
    return level[0]
