"""Relearning: steps by hand, and an index of 1 for models that were truly retrained."""

from __future__ import annotations

import numpy as np
import pytest
from draws import normal

from expunge.core.errors import InputError
from expunge.metrics import relearn


def test_steps_by_hand() -> None:
    assert relearn.steps_to([0.1, 0.5, 0.86, 0.9], original=0.9, within=0.05) == 2
    assert relearn.steps_to([0.9], original=0.9) == 0
    assert relearn.steps_to([0.1, 0.2], original=0.9) is None


def test_an_index_by_hand() -> None:
    found = relearn.anamnesis([1, 3], [3, 7])
    # Counted from 1: 2, 4 against 4, 8; geometric means √8 and √32.
    assert found is not None
    assert found.value == pytest.approx(0.5)
    assert found.runs == (2, 2)


def test_a_retrained_model_has_an_index_of_one() -> None:
    held = []
    for row in normal(400, 12, about=1):
        steps = [round(20 * np.exp(0.3 * each)) for each in row]
        found = relearn.anamnesis(steps[:6], steps[6:])
        assert found is not None
        held.append(found.interval[0] <= 1 <= found.interval[1])
    assert np.mean(held) == pytest.approx(0.95, abs=0.04)


def test_a_model_that_did_not_forget_is_far_below_one_and_an_over_forgotten_one_above() -> None:
    scratch = [18, 22, 20, 25]
    left = relearn.anamnesis([0, 1, 0, 1], scratch)
    pushed = relearn.anamnesis([60, 70, 65, 80], scratch)
    assert left is not None
    assert pushed is not None
    assert left.interval[1] < 1 < pushed.interval[0]


def test_runs_that_do_not_get_there_have_no_figure() -> None:
    assert relearn.anamnesis([None, 3], [4, 5]) is None
    assert relearn.anamnesis([3, 3], [4, 4]) is None
    with pytest.raises(InputError, match="two seeds"):
        relearn.anamnesis([3], [4, 5])
    with pytest.raises(InputError, match="original"):
        relearn.steps_to([0.5], original=0)
