"""Tug of war and zero retrain forgetting: by hand, and what retraining itself has."""

from __future__ import annotations

import numpy as np
import pytest
from draws import normal, softmax
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import InputError
from expunge.metrics import tow, zrf
from expunge.metrics.tow import Figures

SHARE = st.floats(0, 1)


@given(SHARE, SHARE, SHARE)
def test_the_same_figures_are_ideal_and_others_are_less(a: float, b: float, c: float) -> None:
    one, other = Figures(a, b, c), Figures(c, a, b)
    assert tow.tow(one, one) == 1
    assert tow.tow(one, other) == pytest.approx(tow.tow(other, one))
    assert 0 <= tow.tow(one, other) <= 1


def test_by_hand() -> None:
    assert tow.tow(Figures(1.0, 1.0, 0.8), Figures(0.8, 1.0, 0.9)) == pytest.approx(0.72)


def test_percent_is_refused() -> None:
    with pytest.raises(InputError, match="percent"):
        Figures(90, 1, 1)


def test_zrf_by_hand() -> None:
    assert zrf.zrf(np.eye(2), np.eye(2)) == 1
    assert zrf.zrf(np.eye(2), np.eye(2)[::-1]) == pytest.approx(0)


def test_the_ideal_of_zrf_is_what_retraining_has_and_not_one() -> None:
    incompetent = softmax(0.1 * normal(200, 4, about="random"))
    knows = 2 * normal(200, 4, about="rows")
    models = [softmax(knows + 0.5 * normal(200, 4, about=seed)) for seed in range(9)]
    low, high = zrf.retrained(models[:8], incompetent)
    assert high < 0.95
    assert low <= zrf.zrf(models[8], incompetent) <= high
    told_which_they_were = zrf.zrf(incompetent, incompetent)
    assert told_which_they_were > high
