"""Sums of products of integers are exact, whatever adds them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import RecipeInvalid
from expunge.learners.sums import products
from expunge.learners.sums.products import PANEL, Blocks


def exactly(left, right):
    """By Python's integers."""
    found = left.astype(object).T @ right.astype(object)
    return found.astype(np.int64)


def drawn(seed, rows, width, top):
    return np.random.default_rng(seed).integers(-top, top + 1, (rows, width)).astype(np.int64)


@given(
    rows=st.integers(0, 700),
    widths=st.tuples(st.integers(1, 5), st.integers(1, 4)),
    tops=st.tuples(st.integers(1, 32_767), st.integers(1, 1 << 30)),
    seed=st.integers(0, 99),
)
def test_cross_products_are_those_of_whole_numbers(rows, widths, tops, seed):
    left, right = drawn(seed, rows, widths[0], tops[0]), drawn(seed + 1, rows, widths[1], tops[1])
    total = np.full(widths, 7, np.int64)
    products.add_cross(total, left, right, tops[0] * tops[1], 1)
    np.testing.assert_array_equal(total, exactly(left, right) + 7)
    products.add_cross(total, left, right, tops[0] * tops[1], -1)
    np.testing.assert_array_equal(total, 7)


@pytest.mark.parametrize("top", [1, 127, 255, 296, 1023, 32_767])
def test_nothing_is_lost_where_all_are_as_large_as_they_may_be(top):
    x = np.full((5000, 3), top, np.int16)
    x[:, 1] = -top
    total = np.zeros(products.panelled(3), np.int64)
    products.add_square(total, x, None, top * top, 1)
    np.testing.assert_array_equal(total.reshape(3, 3), exactly(x, x))


@pytest.mark.parametrize("width", [1, PANEL, PANEL + 1, 2 * PANEL + 3])
def test_a_square_is_folded_into_panels_and_unfolded(width):
    x, weights = drawn(3, 20, width, 100).astype(np.int16), drawn(4, 20, 1, 9)[:, 0] + 9
    total = np.zeros(products.panelled(width), np.int64)
    products.add_square(total, x, weights, 100 * 100 * 18, 1)
    whole = np.zeros((width, width))
    products.unfold(total, whole)
    np.testing.assert_array_equal(np.tril(whole), np.tril(exactly(x * weights[:, None], x)))
    assert len(total) <= width * (width + PANEL) // 2


@given(bound=st.integers(1, 1 << 53))
def test_no_block_can_leave_the_integers_that_its_numbers_hold(bound):
    blocks = Blocks.of(bound)
    holds = {np.float32: 1 << 24, np.float64: 1 << 53}[blocks.kind]
    assert 1 <= blocks.rows <= holds // bound
    spans = [span for rows in (0, 1, 5000) for span in blocks.spans(rows)]
    assert sum(span.stop - span.start for span in spans) == 5001


def test_products_that_cannot_be_exact_are_refused():
    with pytest.raises(RecipeInvalid, match="fewer bits"):
        Blocks.of((1 << 53) + 1)
    with pytest.raises(RecipeInvalid, match="too many"):
        products.check_capacity(1 << 20, 1 << 43)
    products.check_capacity((1 << 20) - 1, 1 << 43)
