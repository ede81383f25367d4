"""Systems that come from sums are solved, and what is singular gets the solution of least norm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.learners.sums.solving import Solution, aligned
from expunge.learners.sums.solving import solve as solve_aligned


def solve(matrix, right) -> Solution:
    """With the matrix in its place, and nonsense above its diagonal."""
    placed = aligned(*matrix.shape)
    placed[...] = np.tril(matrix) + np.triu(np.full(matrix.shape, 1e9), 1)
    return solve_aligned(placed, right)


@given(width=st.integers(1, 30), seed=st.integers(0, 99))
def test_a_regular_system_is_solved(width, seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(width, width + 5))
    matrix, right = root @ root.T + np.eye(width), rng.normal(size=(width, 3))
    found = solve(matrix, right)
    np.testing.assert_allclose(found.values, np.linalg.solve(matrix, right), atol=1e-9)
    assert 0 < found.condition <= 1
    assert found.added == 0


@given(width=st.integers(2, 20), seed=st.integers(0, 99))
def test_a_singular_one_is_solved_too(width, seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(width, width - 1))
    matrix, right = root @ root.T, root @ rng.normal(size=(width - 1, 2))
    found = solve(matrix, right)
    np.testing.assert_allclose(matrix @ found.values, right, atol=1e-5)
    assert 0 <= found.added < 1e-9 * matrix.trace()


def test_of_two_columns_that_are_the_same_each_gets_half():
    found = solve(np.array([[2.0, 2.0], [2.0, 2.0]]), np.array([[4.0], [4.0]]))
    np.testing.assert_allclose(found.values, 1, atol=0.01)
    assert 0 < found.added < 1e-9


def test_nothing_at_all_is_solved_by_zeros():
    found = solve(np.zeros((3, 3)), np.zeros((3, 1)))
    assert (found.values == 0).all()


def test_a_case_by_hand():
    # [[4, 2], [2, 2]] v = [6, 4] has v = [1, 1], and its factor [[2, 0], [1, 1]] the pivots 2, 1.
    found = solve(np.array([[4.0, 2.0], [2.0, 2.0]]), np.array([[6.0], [4.0]]))
    assert found.values[:, 0] == pytest.approx([1, 1])
    assert found.condition == pytest.approx(1 / 4)


@pytest.mark.parametrize("width", [1, 3, 64, 700])
def test_where_arrays_lie_in_memory_changes_no_bit(width):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(width, width))
    matrix, right = root @ root.T + np.eye(width), rng.normal(size=(width, 3))
    found = set()
    for offset in range(9):
        stored = np.empty(right.size + offset)[offset:].reshape(right.shape)
        stored[...] = right
        keep = np.empty(17 * offset + 1)  # what malloc gives next lies elsewhere
        one = solve(matrix, stored)
        found.add((one.values.tobytes(), one.condition, one.added))
        del keep
    assert len(found) == 1


@pytest.mark.parametrize("width", [1, 2, 3, 9, 100])
def test_the_system_stands_where_it_always_stands(width):
    kept = [aligned(width, 3) for _ in range(20)]
    assert {one.ctypes.data % 64 for one in kept} == {0}
    assert all(one.flags.f_contiguous and one.shape == (width, 3) for one in kept)
