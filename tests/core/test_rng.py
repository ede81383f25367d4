"""Canonical randomness: golden values, bijection, avalanche, stability under removal."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from expunge.core import rng

U64 = st.integers(0, 2**64 - 1)
TOKENS = hnp.arrays(np.uint64, st.integers(0, 60), elements=U64, unique=True)
MASK = 2**64 - 1


def reference_mix(token: int, key: int) -> int:
    """SplitMix64's finaliser over Python's integers."""
    x = ((token ^ key) + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def reference_unmix(y: int, key: int) -> int:
    """The inverse, which exists because each step has one."""
    y = y ^ (y >> 31) ^ (y >> 62)
    y = (y * pow(0x94D049BB133111EB, -1, 2**64)) & MASK
    y = y ^ (y >> 27) ^ (y >> 54)
    y = (y * pow(0xBF58476D1CE4E5B9, -1, 2**64)) & MASK
    y = y ^ (y >> 30) ^ (y >> 60)
    return ((y - 0x9E3779B97F4A7C15) & MASK) ^ key


def test_seed_is_the_start_of_a_digest_of_typed_parts() -> None:
    parts = [b"expunge/seed/v1", b"str:shard", b"int:1"]
    spelled_out = b"".join(struct.pack("<Q", len(part)) + part for part in parts)
    (expected,) = struct.unpack("<Q", hashlib.sha256(spelled_out).digest()[:8])

    assert rng.seed("shard", 1) == expected


def test_seeds_of_different_things_differ() -> None:
    about = [("a", 1), ("a", "1"), ("a1",), ("a", 1, ""), (1, "a"), ()]
    assert len({rng.seed(*parts) for parts in about}) == len(about)


def test_first_outputs_of_splitmix64() -> None:
    # SplitMix64 started at 0 adds the golden gamma before each draw: the published first
    # outputs are the mixes of 0, γ and 2γ.
    gamma = np.uint64(0x9E3779B97F4A7C15)
    tokens = np.arange(3, dtype=np.uint64) * gamma
    assert [f"{int(x):016x}" for x in rng.mix(tokens, 0)] == [
        "e220a8397b1dcdaf",
        "6e789e6aa1b965f4",
        "06c45d188009454f",
    ]


@given(tokens=TOKENS, key=U64)
def test_mix_equals_the_reference_and_can_be_undone(tokens: np.ndarray, key: int) -> None:
    mixed = [int(x) for x in rng.mix(tokens, key)]

    assert mixed == [reference_mix(int(token), key) for token in tokens]
    assert [reference_unmix(x, key) for x in mixed] == [int(token) for token in tokens]


@pytest.mark.parametrize("flip", ["token", "key"])
def test_one_bit_of_either_argument_flips_half_of_the_bits(flip: str) -> None:
    tokens = rng.mix(np.arange(4096, dtype=np.uint64), 7)
    plain = rng.mix(tokens, 99)
    for bit in range(64):
        mask = 1 << bit
        other = (
            rng.mix(tokens ^ np.uint64(mask), 99) if flip == "token" else rng.mix(tokens, 99 ^ mask)
        )
        flipped = np.unpackbits((plain ^ other).view(np.uint8)).reshape(-1, 64).mean(axis=0)
        # Each of 64 bits flips in half of 4,096 trials: 8 standard deviations are 0.0625.
        assert np.abs(flipped - 0.5).max() < 0.07


@given(tokens=TOKENS, key=U64, leaving=st.sets(st.integers(0, 59)))
def test_removing_samples_moves_nobody_else(
    tokens: np.ndarray, key: int, leaving: set[int]
) -> None:
    stays = np.array([i not in leaving for i in range(len(tokens))], dtype=bool)
    all_in_order = tokens[rng.order(tokens, key)]
    rest_in_order = tokens[stays][rng.order(tokens[stays], key)]

    kept = set(tokens[stays].tolist())
    assert rest_in_order.tolist() == [t for t in all_in_order.tolist() if t in kept]


@given(tokens=TOKENS, key=U64, seed=st.integers(0, 99))
def test_order_of_arrival_does_not_matter(tokens: np.ndarray, key: int, seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(tokens)
    np.testing.assert_array_equal(
        tokens[rng.order(tokens, key)], shuffled[rng.order(shuffled, key)]
    )


def test_orders_of_two_epochs_are_unrelated() -> None:
    tokens = np.arange(10_000, dtype=np.uint64)
    one, two = (np.argsort(rng.order(tokens, key)) for key in (1, 2))
    # Independent ranks correlate by 1/√n = 0.01 in standard deviation.
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.05
    assert abs(np.corrcoef(one, np.arange(10_000))[0, 1]) < 0.05


def test_tokens_are_left_as_they_are_and_nothing_is_an_answer() -> None:
    tokens = np.array([3, 1, 2], dtype=np.uint64)
    rng.order(tokens, 5)
    assert tokens.tolist() == [3, 1, 2]
    assert rng.order(tokens[:0], 5).tolist() == []
