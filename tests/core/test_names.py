"""Names and leaves, byte by byte."""

from __future__ import annotations

import struct
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from expunge.core import names

KEYS = st.integers(0, 2**64 - 1)


def h(thing: str, *parts: bytes) -> bytes:
    whole = b""
    for part in (b"expunge/" + thing.encode() + b"/v1", *parts):
        whole += struct.pack("<Q", len(part)) + part
    return sha256(whole).digest()


@given(one=KEYS, other=KEYS, token=KEYS)
def test_leaves_sort_as_their_keys_do(one: int, other: int, token: int) -> None:
    first, second = names.leaf(one, token, b"\xff" * 32), names.leaf(other, token, b"\x00" * 32)
    assert len(first) == names.LEAF_BYTES
    assert (one < other) == (first[:8] < second[:8])


@given(key=KEYS, shards=st.integers(1, 5000))
def test_the_ring_falls_into_shards_of_one_size(key: int, shards: int) -> None:
    shard = names.shard_of(key, shards)
    assert 0 <= shard < shards
    assert shard << 64 <= key * shards < (shard + 1) << 64


def test_known_answers() -> None:
    recipe, ring, root = b"r" * 32, b"s" * 32, b"t" * 32
    first = names.constituent(recipe, ring, 3)
    assert first == h("constituent", recipe, ring, b"\x03\x00\x00\x00")
    place = names.place(1, 20, 3)
    count = b"\x02\x01" + bytes(6)
    assert names.checkpoint(first, place, 258, root) == h(
        "checkpoint", first, b"slice:1:20:3", count, root
    )
    assert names.version(recipe, "mean", [first, None]) == h("version", recipe, b"mean", first, b"")
    assert names.leaf(1, 2, b"c" * 32) == bytes(7) + b"\x01" + bytes(7) + b"\x02" + b"c" * 32


def test_the_number_of_samples_is_in_the_name() -> None:
    # The root of a tree says nothing about its size, which proofs need.
    made = {names.checkpoint(b"n" * 32, "slice:0:0:0", n, b"t" * 32) for n in range(1, 9)}
    assert len(made) == 8
