"""Merkle roots and proofs, against RFC 6962's definitions and its published test vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import DataCorrupt
from expunge.core.merkle import (
    Frontier,
    check_consistency,
    check_inclusion,
    in_memory,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    root,
)

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


def split(n: int) -> int:
    """The largest power of two below n."""
    return 1 << (n - 1).bit_length() - 1


def reference_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n]) of RFC 6962 section 2.1.1, word by word."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*reference_path(m, leaves[:k]), root(leaves[k:])]
    return [*reference_path(m - k, leaves[k:]), root(leaves[:k])]


def reference_proof(m: int, leaves: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """SUBPROOF(m, D[n], b) of RFC 6962 section 2.1.2, word by word."""
    if m == len(leaves):
        return [] if whole else [root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*reference_proof(m, leaves[:k], whole), root(leaves[k:])]
    return [*reference_proof(m - k, leaves[k:], False), root(leaves[:k])]


def reference_inclusion(leaf: bytes, m: int, n: int, path: list[bytes]) -> bytes | None:
    """The root that a path leads to, by the same recursion; None where its length is wrong."""
    if n == 1:
        return None if path else leaf
    if not path:
        return None
    k = split(n)
    inside = (m, k) if m < k else (m - k, n - k)
    below = reference_inclusion(leaf, *inside, path[:-1])
    if below is None:
        return None
    return node_hash(below, path[-1]) if m < k else node_hash(path[-1], below)


def reference_consistency(
    m: int, n: int, path: list[bytes], old: bytes | None
) -> tuple[bytes, bytes] | None:
    """Old and new root of a proof, by the same recursion; ``old`` while the old tree is whole."""
    if m == n:
        if old is not None:
            return None if path else (old, old)
        return (path[0], path[0]) if len(path) == 1 else None
    if not path:
        return None
    k, last = split(n), path[-1]
    if m <= k:
        below = reference_consistency(m, k, path[:-1], old)
        return below and (below[0], node_hash(below[1], last))
    below = reference_consistency(m - k, n - k, path[:-1], None)
    return below and (node_hash(last, below[0]), node_hash(last, below[1]))


def grown(n: int) -> list[bytes]:
    return [leaf_hash(i.to_bytes(4, "big")) for i in range(n)]


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[bytes], int, int]:
    """Leaves, how many of them are in the tree, and a number below that."""
    size = draw(st.integers(1, 300))
    return grown(size + draw(st.integers(0, 3))), size, draw(st.integers(0, size - 1))


@given(trees())
def test_a_path_is_that_of_the_definition_and_shows_the_leaf(
    tree: tuple[list[bytes], int, int],
) -> None:
    # Later leaves may be there already: they are not the tree's.
    leaves, size, index = tree
    path = prove_inclusion(index, size, in_memory(leaves))
    assert path == reference_path(index, leaves[:size])
    assert check_inclusion(leaves[index], index, size, path, root(leaves[:size]))


@given(trees())
def test_a_consistency_proof_is_that_of_the_definition_and_shows_the_prefix(
    tree: tuple[list[bytes], int, int],
) -> None:
    leaves, size, first = tree
    first += 1
    proof = prove_consistency(first, size, in_memory(leaves))
    assert proof == reference_proof(first, leaves[:size])
    assert check_consistency(first, root(leaves[:first]), size, root(leaves[:size]), proof)


@given(trees(), st.data())
def test_a_changed_inclusion_proof_shows_nothing(
    tree: tuple[list[bytes], int, int], data: st.DataObject
) -> None:
    leaves, size, index = tree
    whole, other = root(leaves[:size]), leaf_hash(b"another")
    path = prove_inclusion(index, size, in_memory(leaves))

    assert not check_inclusion(other, index, size, path, whole)
    assert not check_inclusion(leaves[index], index, size, path, other)
    assert not check_inclusion(leaves[index], index, size, [*path, other], whole)
    assert not check_inclusion(leaves[index], index, size, [other, *path], whole)
    wrong = data.draw(st.integers(-1, 2 * size).filter(lambda i: i != index))
    assert not check_inclusion(leaves[index], wrong, size, path, whole)
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        assert not check_inclusion(leaves[index], index, size, path[:at] + path[at + 1 :], whole)
        changed = [*path[:at], flipped(path[at], data), *path[at + 1 :]]
        assert not check_inclusion(leaves[index], index, size, changed, whole)


@given(trees(), st.data())
def test_a_changed_consistency_proof_shows_nothing(
    tree: tuple[list[bytes], int, int], data: st.DataObject
) -> None:
    leaves, size, first = tree
    first += 1
    old, new, other = root(leaves[:first]), root(leaves[:size]), leaf_hash(b"another")
    proof = prove_consistency(first, size, in_memory(leaves))

    assert not check_consistency(first, other, size, new, proof)
    assert not check_consistency(first, old, size, other, proof)
    assert not check_consistency(first, old, size, new, [*proof, other])
    assert not check_consistency(first, old, size, new, [other, *proof])
    assert check_consistency(first, new, size, old, proof) is (first == size)
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        assert not check_consistency(first, old, size, new, proof[:at] + proof[at + 1 :])
        changed = [*proof[:at], flipped(proof[at], data), *proof[at + 1 :]]
        assert not check_consistency(first, old, size, new, changed)


@given(st.integers(-1, 70), st.integers(-1, 70), trees())
def test_inclusion_is_shown_exactly_where_the_definition_says_so(
    index: int, size: int, tree: tuple[list[bytes], int, int]
) -> None:
    # A path may fit several sizes (leaf 0 of 3 and of 4): the size must come from a signed note.
    leaves, true_size, true_index = tree
    path = prove_inclusion(true_index, true_size, in_memory(leaves))
    whole, leaf = root(leaves[:true_size]), leaves[true_index]
    inside = 0 <= index < size
    expected = inside and reference_inclusion(leaf, index, size, path) == whole
    assert check_inclusion(leaf, index, size, path, whole) is expected


@given(st.integers(-1, 70), st.integers(-1, 70), trees())
def test_consistency_is_shown_exactly_where_the_definition_says_so(
    first: int, size: int, tree: tuple[list[bytes], int, int]
) -> None:
    leaves, true_size, true_first = tree
    true_first += 1
    old, new = root(leaves[:true_first]), root(leaves[:true_size])
    proof = prove_consistency(true_first, true_size, in_memory(leaves))
    inside = 0 < first <= size
    expected = inside and reference_consistency(first, size, proof, old) == (old, new)
    assert check_consistency(first, old, size, new, proof) is expected


@given(st.lists(st.integers(0, 40), max_size=8))
def test_a_frontier_has_the_root_whatever_the_batches(batches: list[int]) -> None:
    leaves, frontier, at = grown(sum(batches)), Frontier(), 0
    for batch in batches:
        frontier = frontier.extend(iter(leaves[at : at + batch]))
        at += batch
        assert frontier.size == at
        assert frontier.root == root(leaves[:at])
        assert Frontier.from_bytes(at, frontier.to_bytes()) == frontier
    assert frontier == Frontier().extend(leaves)


def test_proofs_by_hand() -> None:
    a, b, c, d, e = grown(5)
    read = in_memory([a, b, c, d, e])
    ab, cd = node_hash(a, b), node_hash(c, d)
    assert prove_inclusion(2, 5, read) == [d, ab, e]
    assert prove_inclusion(4, 5, read) == [node_hash(ab, cd)]
    assert prove_inclusion(0, 3, read) == [b, c]
    assert prove_consistency(3, 5, read) == [c, d, ab, e]
    assert prove_consistency(4, 5, read) == [e]
    assert prove_consistency(5, 5, read) == []
    assert Frontier().extend([a, b, c, d, e]).peaks == (node_hash(ab, cd), e)


def test_the_tree_of_nothing_begins_every_tree() -> None:
    leaves, nothing = grown(3), hashlib.sha256().digest()
    assert prove_consistency(0, 3, in_memory(leaves)) == []
    assert check_consistency(0, nothing, 3, root(leaves), [])
    assert check_consistency(0, nothing, 0, nothing, [])
    assert not check_consistency(0, leaves[0], 3, root(leaves), [])
    assert not check_consistency(0, nothing, 3, root(leaves), [leaves[0]])
    assert not check_consistency(0, nothing, 0, root(leaves), [])
    assert Frontier().root == nothing


def test_there_is_no_proof_of_what_is_not_there() -> None:
    read = in_memory(grown(4))
    for index, size in ((4, 4), (-1, 4), (0, 0)):
        with pytest.raises(ValueError, match="No leaf"):
            prove_inclusion(index, size, read)
    for first, size in ((5, 4), (-1, 4)):
        with pytest.raises(ValueError, match="no prefix"):
            prove_consistency(first, size, read)


def test_a_path_that_ends_early_does_not_make_a_node_a_leaf() -> None:
    a, b, c, d = grown(4)
    ab, cd = node_hash(a, b), node_hash(c, d)
    whole = node_hash(ab, cd)
    for index in range(4):
        assert not check_inclusion(ab, index, 4, [cd], whole)
        assert not check_inclusion(whole, index, 4, [], whole)


def test_a_place_beyond_the_tree_is_not_shown_though_the_path_is_right() -> None:
    # Leaf 6 of 8 takes the turns that leaf 6 of 5 would take, were there one.
    leaves = grown(8)
    path = prove_inclusion(6, 8, in_memory(leaves))
    assert check_inclusion(leaves[6], 6, 8, path, root(leaves))
    assert check_inclusion(leaves[6], 6, 7, path, root(leaves)) is False
    assert check_inclusion(leaves[6], 6, 5, path, root(leaves)) is False


def test_hashes_of_other_lengths_show_nothing() -> None:
    leaves = grown(2)
    whole = root(leaves)
    for short in (b"", leaves[1][:31], leaves[1] + b"\0"):
        assert not check_inclusion(leaves[0], 0, 2, [short], whole)
        assert not check_inclusion(short, 0, 2, [leaves[1]], whole)
        assert not check_inclusion(short, 0, 1, [], short)
        assert not check_consistency(1, leaves[0], 2, whole, [short])
        assert not check_consistency(1, short, 1, short, [])
        assert not check_consistency(0, short, 0, short, [])


@pytest.mark.parametrize("size", [2**63 - 1, 2**62 + 12_345, 2**62])
def test_proofs_of_the_largest_trees_are_short(size: int) -> None:
    reads: list[tuple[int, int]] = []

    def read(level: int, index: int) -> bytes:
        assert (index + 1) << level <= size, "only perfect subtrees of the tree are read"
        reads.append((level, index))
        return bytes(32)

    for index in (0, 2**40 + 5, size - 1):
        path = prove_inclusion(index, size, read)
        assert len(path) <= 63
        assert len(reads) <= 2 * 63
        reads.clear()
    assert len(prove_consistency(2**50 + 3, size, read)) <= 64
    assert not check_inclusion(bytes(32), 0, size, [bytes(32)] * 100_000, bytes(32))
    assert not check_consistency(3, bytes(32), size, bytes(32), [bytes(32)] * 100_000)


def test_a_damaged_frontier_is_refused() -> None:
    whole = Frontier().extend(grown(5)).to_bytes()
    for size, data in ((5, whole[:-1]), (5, whole + b"\0"), (4, whole), (-5, whole), (5, b"")):
        with pytest.raises(DataCorrupt):
            Frontier.from_bytes(size, data)
    for size, peaks in ((3, (whole[:32],)), (-1, (whole[:32],)), (1, (b"short",))):
        with pytest.raises(ValueError, match="peaks"):
            Frontier(size, peaks)


def flipped(value: bytes, data: st.DataObject) -> bytes:
    """``value`` with one bit changed."""
    bit = data.draw(st.integers(0, 8 * len(value) - 1))
    return (int.from_bytes(value, "big") ^ 1 << bit).to_bytes(len(value), "big")
