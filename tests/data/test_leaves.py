"""Leaves that are put together all at once are those that are put together one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from expunge.core import merkle, names
from expunge.data import leaves

ROWS = st.lists(
    st.tuples(
        st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32)
    ),
    max_size=20,
)


def joined(rows: list[tuple[int, int, bytes]]) -> np.ndarray[Any, Any]:
    commitments = np.frombuffer(b"".join(c for _, _, c in rows), np.uint8).reshape(-1, 32)
    keys, tokens = (np.array([row[i] for row in rows], np.uint64) for i in (0, 1))
    return leaves.join(keys, tokens, commitments)


@given(rows=ROWS)
def test_all_at_once_as_one_by_one(rows: list[tuple[int, int, bytes]]) -> None:
    each = [names.leaf(*row) for row in rows]
    found = joined(rows)
    assert [one.tobytes() for one in found] == each
    hashes = [merkle.leaf_hash(leaf) for leaf in each]
    assert leaves.hashes(found) == hashes
    assert leaves.root(found) == merkle.root(hashes)


def test_a_leaf_of_zeros_keeps_its_length() -> None:
    assert leaves.hashes(np.zeros((1, 48), np.uint8)) == [merkle.leaf_hash(bytes(48))]


def test_a_batch_is_committed_to_by_the_roots_of_its_segments() -> None:
    a, b, c = (bytes([i]) * 32 for i in range(3))
    assert leaves.batch_root([a]) == merkle.leaf_hash(a)
    left = merkle.node_hash(merkle.leaf_hash(a), merkle.leaf_hash(b))
    assert leaves.batch_root([a, b, c]) == merkle.node_hash(left, merkle.leaf_hash(c))


def test_a_batch_has_the_leaves_of_its_rows(make: Any) -> None:
    batch = make.one(make.people(30))
    found = batch.leaves(3, 9)
    assert found.shape == (6, 48)
    for place, ordinal in enumerate(range(3, 9)):
        token = int(batch.tokens(ordinal, ordinal + 1)[0])
        commitment = batch.commitments(ordinal, ordinal + 1).tobytes()
        assert found[place].tobytes() == names.leaf(batch.key(ordinal), token, commitment)
