"""Keyed draws are what they are called."""

from __future__ import annotations

import numpy as np
from scipy import stats

from expunge.metrics import chance


def test_draws_follow_their_laws() -> None:
    assert stats.kstest(chance.uniform((20_000,), 1), "uniform").pvalue > 0.01
    assert stats.kstest(chance.normal((100, 200), 2).ravel(), "norm").pvalue > 0.01


def test_a_key_decides_everything() -> None:
    np.testing.assert_array_equal(chance.normal((3, 2), 7), chance.normal((3, 2), 7))
    assert (chance.normal((3, 2), 7) != chance.normal((3, 2), 8)).all()


def test_shuffles_are_permutations() -> None:
    assert sorted(chance.shuffled(50, 3)) == list(range(50))
    assert not np.array_equal(chance.shuffled(50, 3), chance.shuffled(50, 4))
