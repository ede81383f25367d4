"""The ring: keyed 64-bit hashes of ids and subjects, and exact ranges of it.

A person's place depends on the dataset's secret and on nobody else (DESIGN.md 3). The three
hashes have a purpose each, so that a key, a token and a subject's entry in an index cannot
be matched with one another without the secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SIZE: Final = 1 << 64
"""Number of points on the ring."""

SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Ring:
    """Hashes under one dataset's secret.

    Attributes:
        secret: 32 random bytes. Whoever holds it can tell which key belongs to whom.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise ValueError(f"`secret` must be {SECRET_BYTES} bytes, got {len(self.secret)}.")

    def keys(self, texts: Iterable[str] | pa.Array) -> NDArray[np.uint64]:
        """Places on the ring: of first subjects, or of sample ids where there are none."""
        return self._hashes(b"key", texts)

    def tokens(self, texts: Iterable[str] | pa.Array) -> NDArray[np.uint64]:
        """Names of sample ids in indexes, tombstones and visiting orders."""
        return self._hashes(b"token", texts)

    def subjects(self, texts: Iterable[str] | pa.Array) -> NDArray[np.uint64]:
        """Names of a row's further subjects in the subject index."""
        return self._hashes(b"subject", texts)

    def _hashes(self, purpose: bytes, texts: Iterable[str] | pa.Array) -> NDArray[np.uint64]:
        # The one loop with a row of Python per sample: copying a keyed state costs 0.65 µs a
        # row, making a new one 1 µs.
        if isinstance(texts, pa.Array):
            encoded = texts.cast(pa.binary()).to_pylist()
        else:
            encoded = [text.encode() for text in texts]
        copy = blake2b(digest_size=8, key=self.secret, person=purpose).copy
        digests = []
        for text in encoded:
            state = copy()
            state.update(text)
            digests.append(state.digest())
        return np.frombuffer(b"".join(digests), "<u8")


def shards_of(keys: NDArray[np.uint64], shards: int) -> NDArray[np.int64]:
    """⌊key·shards / 2⁶⁴⌋ of each key, exactly; for at most 2³² shards.

    >>> shards_of(np.array([0, 2**63, 2**64 - 1], np.uint64), 3).tolist()
    [0, 1, 2]
    """
    half, count = np.uint64(32), np.uint64(shards)
    low = (keys & np.uint64(0xFFFF_FFFF)) * count >> half  # in halves: the product has 96 bits
    return (((keys >> half) * count + low) >> half).astype(np.int64)


def bounds(shard: int, shards: int, part: int = 0, parts: int = 1) -> tuple[int, int]:
    """Keys of a part of a shard, as (low, high); high is exclusive and may be 2⁶⁴.

    A key is in the range exactly when ⌊key·shards / 2⁶⁴⌋ = shard and the rest of that
    division, times parts, divided again, gives part: both together are one division of
    the ring into shards·parts ranges.

    >>> bounds(0, 1)
    (0, 18446744073709551616)
    """
    if not (0 <= shard < shards and 0 <= part < parts):
        raise ValueError(f"No part {part} of {parts} in shard {shard} of {shards}.")
    place, places = shard * parts + part, shards * parts
    return -(-place * SIZE // places), -(-(place + 1) * SIZE // places)
