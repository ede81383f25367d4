"""Exposure: ranks by hand, and what secrets that were never there have."""

from __future__ import annotations

import math

import numpy as np
import pytest
from draws import normal

from expunge.metrics import exposure


def test_ranks_and_bits_by_hand() -> None:
    references = [1.0, 2.0, 3.0]
    assert exposure.ranks([0.5, 2.5, 9.0], references).tolist() == [1, 3, 4]
    assert exposure.exposure([0.5, 2.5, 9.0], references) == pytest.approx([2, 2 - math.log2(3), 0])
    assert exposure.highest(3) == 2
    assert exposure.p_values([0.5, 9.0], references).tolist() == [0.25, 1.0]


def test_ties_stand_in_the_middle() -> None:
    assert exposure.ranks([2.0], [2.0, 2.0, 3.0]).tolist() == [2.0]


def test_secrets_that_were_never_there_have_uniform_ranks() -> None:
    canaries, references = normal(3000), normal(20_000, about=1)
    found = exposure.exposure(canaries, references)
    assert found.mean() == pytest.approx(math.log2(math.e), abs=0.08)
    for bits in (1, 3, 5):
        assert np.mean(found > bits) == pytest.approx(2.0**-bits, abs=0.02)
    assert np.mean(exposure.p_values(canaries, references) <= 0.05) == pytest.approx(0.05, abs=0.01)


def test_a_secret_that_stayed_is_exposed() -> None:
    found = exposure.exposure(normal(50) - 8, normal(1023, about=1))
    assert found == pytest.approx(np.full(50, exposure.highest(1023)))
