"""Systems that come from sums are solved, and what is singular gets the solution of least norm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.learners.sums.solving import solve


@given(width=st.integers(1, 30), seed=st.integers(0, 99))
def test_a_regular_system_is_solved(width, seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(width, width + 5))
    matrix, right = root @ root.T + np.eye(width), rng.normal(size=(width, 3))
    found = solve(matrix, right)
    np.testing.assert_allclose(matrix @ found.values, right, atol=1e-9)
    assert 0 < found.condition <= 1 + 1e-12
    assert found.residual < 1e-12


@given(width=st.integers(2, 20), seed=st.integers(0, 99))
def test_a_singular_one_gets_the_solution_of_least_norm(width, seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(width, width - 1))
    matrix, right = root @ root.T, root @ rng.normal(size=(width - 1, 2))
    found = solve(matrix, right)
    np.testing.assert_allclose(found.values, np.linalg.pinv(matrix) @ right, atol=1e-4)
    assert found.condition == 0


def test_nothing_at_all_is_solved_by_zeros():
    found = solve(np.zeros((3, 3)), np.zeros((3, 1)))
    assert (found.values == 0).all()
    assert found.residual == 0


def test_a_case_by_hand():
    # [[2, 1], [1, 2]] v = [3, 3] has v = [1, 1]; its inverse is [[2, -1], [-1, 2]] / 3, so the
    # condition in the 1-norm is 3 · 1.
    found = solve(np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[3.0], [3.0]]))
    assert found.values[:, 0] == pytest.approx([1, 1])
    assert found.condition == pytest.approx(1 / 3)
