"""F of exact unlearning is not 1: the figures of the notes, and what moves it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from draws import normal

from expunge.core.errors import InputError
from expunge.metrics import forgetting


@pytest.mark.parametrize(("models", "known"), [(32, 0.327), (64, 0.347), (128, 0.359)])
def test_retraining_itself_is_as_far_from_one_as_was_measured(models: int, known: float) -> None:
    drawn = normal(2 * models, 1200, about=models)
    found = forgetting.quality(drawn[:models], drawn[models:])
    assert found.value == pytest.approx(known, abs=0.02)
    assert np.median(found.epsilon) == pytest.approx(1.10, abs=0.01)


def test_beside_retraining_the_ideal_is_one() -> None:
    groups = normal(3, 64, 400, about=1)
    fair = forgetting.calibrated(groups[0], groups[1], groups[2])
    assert fair.ratio == pytest.approx(1, abs=0.08)
    for faulty in (groups[0] + 1.5, groups[0] - 1.5):
        assert forgetting.calibrated(faulty, groups[1], groups[2]).ratio < 0.5


def test_intervals_see_a_peak_in_the_middle() -> None:
    groups = normal(3, 64, 200, about=4)
    peaked = 0.2 * groups[0]
    alone = forgetting.calibrated(peaked, groups[1], groups[2])
    both = forgetting.calibrated(peaked, groups[1], groups[2], intervals=True)
    assert both.ratio < 0.5
    assert both.unlearned.value < alone.unlearned.value
    fair = forgetting.calibrated(groups[0], groups[1], groups[2], intervals=True)
    assert fair.ratio == pytest.approx(1, abs=0.15)


def test_models_that_can_be_told_apart_score_nothing() -> None:
    found = forgetting.quality(normal(16, 5) + 100, normal(16, 5))
    assert found.value == 0
    assert np.isinf(found.epsilon).all()


def test_a_threshold_by_hand() -> None:
    # Cut at 2: FPR ¼, FNR ¼, so log(¾ / ¼); no interval and no other cut does better.
    unlearned, retrained = [[1.0], [3.0], [4.0], [5.0]], [[0.0], [1.5], [2.0], [3.5]]
    found = forgetting.quality(unlearned, retrained)
    assert found.epsilon == pytest.approx([math.log(3)])
    # log 3 = 1.099 lies in the third bin of width ½.
    assert found.value == pytest.approx(2 / 2**3)


def test_the_order_of_the_groups_does_not_matter() -> None:
    drawn = normal(40, 50, about=2)
    one = forgetting.quality(drawn[:20], drawn[20:] + 0.7)
    other = forgetting.quality(drawn[20:] + 0.7, drawn[:20])
    np.testing.assert_allclose(one.epsilon, other.epsilon)


def test_equal_constants_cannot_be_told_apart() -> None:
    found = forgetting.quality(np.ones((8, 2)), np.ones((8, 2)))
    assert found.value == 1
    assert found.epsilon.tolist() == [0.0, 0.0]


def test_delta_lowers_epsilon() -> None:
    drawn = normal(64, 20, about=3)
    assert (
        forgetting.quality(drawn[:32], drawn[32:], delta=0.1).epsilon
        <= forgetting.quality(drawn[:32], drawn[32:]).epsilon
    ).all()


def test_the_score_of_the_competition() -> None:
    assert forgetting.score(0.4, (0.9, 1.0), (0.8, 0.8)) == pytest.approx(0.36)


def test_unequal_groups_are_refused() -> None:
    with pytest.raises(InputError, match="as many"):
        forgetting.quality(normal(8, 2), normal(9, 2))
    with pytest.raises(InputError, match="give as many"):
        forgetting.calibrated(normal(8, 2), normal(8, 2), normal(9, 2))
    with pytest.raises(InputError, match="delta"):
        forgetting.quality(normal(8, 2), normal(8, 2), delta=1.0)
