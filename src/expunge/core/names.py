"""Names: digests of all that shaped a checkpoint, and the leaves that they stand on.

``name₀ = H("constituent", recipe, ring, shard)`` and
``nameₖ = H("checkpoint", nameₖ₋₁, place, samples, root)`` for each slice that has rows, where
``root`` is the RFC 6962 root over the slice's leaves in ring order, and a leaf is
``key ‖ token ‖ commitment``: keys ascend, so that neighbours show what is not there. The number
of samples is in the name: a tree says nothing about its size, and proofs need it.

A checkpoint that a method made forget, where its bytes are not those of a build, has a name of its
own: ``name′ = H("forgotten", name, method, rows, root, remaining)``. ``root`` is over the leaves of the
rows that left, sorted as bytes; ``remaining`` is the name that a build from the others would have.
"""

from __future__ import annotations

from collections.abc import Sequence

from expunge.core.digest import digest

HASH_BYTES = 8
LEAF_BYTES = 48


def leaf(key: int, token: int, commitment: bytes) -> bytes:
    """One row in a slice's tree; 48 bytes. Both hashes big-endian, so that bytes sort as keys."""
    return key.to_bytes(HASH_BYTES, "big") + token.to_bytes(HASH_BYTES, "big") + commitment


def shard_of(key: int, shards: int) -> int:
    """The shard in which a place on the ring is: ⌊key·shards / 2⁶⁴⌋."""
    return key * shards >> 64


def place(tier: int, batch: int, part: int) -> str:
    """How a slice's place is written in names and documents."""
    return f"slice:{tier}:{batch}:{part}"


def constituent(recipe: bytes, ring: bytes, shard: int) -> bytes:
    """Where the chain of one shard begins: before any sample."""
    return digest("constituent", recipe, ring, shard.to_bytes(4, "little"))


def checkpoint(before: bytes, place: str, samples: int, root: bytes) -> bytes:
    """Name of the checkpoint after a slice of so many samples."""
    return digest("checkpoint", before, place.encode(), samples.to_bytes(8, "little"), root)


def forgotten(parent: bytes, method: str, rows: int, root: bytes, remaining: bytes) -> bytes:
    """Name of the checkpoint that ``method`` made of ``parent`` for so many rows that left."""
    size = rows.to_bytes(8, "little")
    return digest("forgotten", parent, method.encode(), size, root, remaining)


def version(recipe: bytes, aggregate: str, constituents: Sequence[bytes | None]) -> bytes:
    """Digest of what a version serves: one name for each shard, None where no model is."""
    return digest("version", recipe, aggregate.encode(), *(name or b"" for name in constituents))
