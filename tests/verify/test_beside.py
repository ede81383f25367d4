"""One model beside retrained ones: one more of them lies in the null, and passes where it can."""

from __future__ import annotations

import math

import numpy as np
import pytest

from expunge.core import rng
from expunge.metrics import chance
from expunge.verify import beside, report

WORDS = ("more", "less")


def test_one_more_retraining_lies_in_the_null_and_never_fails_oftener_than_it_may() -> None:
    drawn = chance.normal((3000, 9), rng.seed("beside"))
    found = [beside.found(row[0], row[1:].tolist(), {}, WORDS, 0.1) for row in drawn]
    inside = [one.null is not None and one.null[0] <= one.value <= one.null[1] for one in found]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)
    failed = [
        report.judge(one.narrow, one.wide, one.ideal, 0.1, one.null) == "failed" for one in found
    ]
    # Outside of the margin *and* of the null, with the whole of an interval: rarer than 5 %.
    assert np.mean(failed) < 0.05


def test_by_hand() -> None:
    found = beside.found(5.0, [1.0, 2.0, 3.0], {"rows": 7}, WORDS, 1.0)
    half = 4.3027 * math.sqrt(4 / 3)
    assert found.wide == pytest.approx((5 - half, 5 + half), abs=1e-3)
    assert found.null == pytest.approx((2 - half, 2 + half), abs=1e-3)
    assert found.ideal == 2
    assert found.counts == {"rows": 7, report.RETRAINED: 3}


def test_trainings_that_do_not_vary_are_compared_as_closely_as_the_figure_is_known() -> None:
    same = beside.found(0.5, [0.5] * 4, {}, WORDS, 0.05, least=0.001)
    assert report.judge(same.narrow, same.wide, same.ideal, 0.05, same.null) == "passed"
    other = beside.found(0.9, [0.5] * 4, {}, WORDS, 0.05, least=0.001)
    assert report.judge(other.narrow, other.wide, other.ideal, 0.05, other.null) == "failed"


def test_what_it_takes_is_said_or_that_no_number_will_do() -> None:
    again = [0.0, 0.02, -0.02, 0.01]
    assert beside.found(0.0, again, {}, WORDS, 1.0).more is None
    many = beside.found(0.0, again, {}, WORDS, 0.06).more
    assert many is None or many.endswith(report.RETRAINED)
    none = beside.found(0.0, again, {}, WORDS, 0.01).more
    assert none is not None
    assert "retraining itself varies" in none
