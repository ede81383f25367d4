"""Merkle roots, against RFC 6962's definition and its published test vectors."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.merkle import leaf_hash, node_hash, root

# The entries and roots of the reference implementation's tests (google/certificate-transparency).
ENTRIES = [
    bytes.fromhex(entry)
    for entry in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def reference(entries: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word by word."""
    n = len(entries)
    if n == 0:
        return hashlib.sha256(b"").digest()
    if n == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < n:
        k *= 2
    return hashlib.sha256(b"\x01" + reference(entries[:k]) + reference(entries[k:])).digest()


@pytest.mark.parametrize("n", range(len(ROOTS)))
def test_published_roots(n: int) -> None:
    assert root([leaf_hash(entry) for entry in ENTRIES[:n]]).hex() == ROOTS[n]


@given(st.lists(st.binary(max_size=4), max_size=70))
def test_root_equals_the_definition(entries: list[bytes]) -> None:
    assert root([leaf_hash(entry) for entry in entries]) == reference(entries)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8, 9, 1000])
def test_root_equals_the_definition_at_the_edges(n: int) -> None:
    entries = [i.to_bytes(2, "big") for i in range(n)]
    assert root([leaf_hash(entry) for entry in entries]) == reference(entries)


def test_a_leaf_is_never_taken_for_a_node() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    for entry in (left + right, b"\x00" + left + right, b"\x01" + left + right):
        assert leaf_hash(entry) != node_hash(left, right)


def test_roots_notice_order_repetition_and_absence() -> None:
    a, b, c = map(leaf_hash, (b"a", b"b", b"c"))
    roots = [root(x) for x in ([a, b, c], [b, a, c], [a, b], [a, b, c, c], [a, c])]
    assert len(set(roots)) == len(roots)


def test_root_leaves_its_argument_alone() -> None:
    leaves = [leaf_hash(bytes([i])) for i in range(5)]
    before = list(leaves)
    root(leaves)
    assert leaves == before
    assert all(a != b for a, b in pairwise(leaves))
