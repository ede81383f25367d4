from __future__ import annotations

import itertools
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.data.ring import Ring, bounds, shards_of

RING = Ring(bytes(range(32)))


@given(
    keys=st.lists(st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 2**63, 2**64 - 1]))),
    shards=st.one_of(st.integers(1, 60), st.integers(1, 2**32)),
)
def test_the_shards_of_many_keys_are_those_of_each(keys: list[int], shards: int) -> None:
    found = shards_of(np.array(keys, np.uint64), shards)
    assert found.tolist() == [key * shards >> 64 for key in keys]


@given(
    key=st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**63, 2**64 - 1])),
    shards=st.integers(1, 60),
    parts=st.integers(1, 60),
)
def test_a_key_is_in_the_range_of_its_shard_and_part_only(
    key: int, shards: int, parts: int
) -> None:
    shard = key * shards // 2**64
    part = (key * shards % 2**64) * parts // 2**64
    low, high = bounds(shard, shards, part, parts)
    assert low <= key < high


@given(shards=st.integers(1, 40), parts=st.integers(1, 40))
def test_ranges_follow_each_other_and_cover_the_ring(shards: int, parts: int) -> None:
    edges = [bounds(s, shards, p, parts) for s in range(shards) for p in range(parts)]
    assert edges[0][0] == 0
    assert edges[-1][1] == 2**64
    assert all(a[1] == b[0] for a, b in itertools.pairwise(edges))


def test_a_shard_is_its_parts_together() -> None:
    low, high = bounds(2, 7)
    assert (bounds(2, 7, 0, 5)[0], bounds(2, 7, 4, 5)[1]) == (low, high)


def test_hashes_are_keyed_blake2b_with_a_purpose_each() -> None:
    def by_hand(purpose: bytes) -> int:
        state = blake2b("Zoë".encode(), digest_size=8, key=RING.secret, person=purpose)
        return int.from_bytes(state.digest(), "little")

    assert RING.keys(["Zoë"]).tolist() == [by_hand(b"key")]
    assert RING.tokens(["Zoë"]).tolist() == [by_hand(b"token")]
    assert RING.subjects(["Zoë"]).tolist() == [by_hand(b"subject")]


def test_arrow_and_python_texts_hash_alike() -> None:
    texts = ["a", "", "long " * 100]
    np.testing.assert_array_equal(RING.keys(texts), RING.keys(pa.array(texts)))
    assert RING.keys([]).shape == (0,)


def test_a_secret_has_32_bytes_and_is_not_shown() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Ring(b"short")
    assert "secret" not in repr(RING)


@pytest.mark.parametrize("place", [(3, 3, 0, 1), (-1, 3, 0, 1), (0, 1, 2, 2)])
def test_there_is_no_range_outside_the_ring(place: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="No part"):
        bounds(*place)
