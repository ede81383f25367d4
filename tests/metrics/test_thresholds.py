"""One threshold for all rows: the scores point one way, and the cut is the best one."""

from __future__ import annotations

import numpy as np
import pytest
from draws import normal, softmax
from hypothesis import given
from hypothesis import strategies as st

from expunge.metrics import roc, thresholds

SCORES = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=20)


@pytest.mark.parametrize("name", thresholds.SCORES)
def test_a_member_scores_higher_and_a_stranger_does_not(name: str) -> None:
    labels = np.arange(900) % 3
    logits = normal(900, 3) + 1.0 * np.eye(3)[labels]
    more = logits + 2.0 * np.eye(3)[labels] * (np.arange(900) < 450)[:, None]
    score = thresholds.SCORES[name]
    members = score(softmax(more), labels)
    assert roc.auc(members[:450], members[450:]) > 0.6
    strangers = score(softmax(logits), labels)
    low, high = roc.auc_interval(roc.auc(strangers[:450], strangers[450:]), 450, 450, 0.99)
    assert low <= 0.5 <= high


@given(SCORES, SCORES)
def test_no_cut_is_better(member: list[float], other: list[float]) -> None:
    best = thresholds.advantage(member, other, thresholds.threshold(member, other))
    cuts = [*member, *other, -5.0]
    assert best == pytest.approx(max(thresholds.advantage(member, other, cut) for cut in cuts))


def test_an_advantage_by_hand() -> None:
    assert thresholds.advantage([3.0, 1.0], [2.0, 0.0, 0.0, 0.0], 1.5) == pytest.approx(0.25)


def test_a_cut_from_other_rows_does_not_flatter() -> None:
    # Chosen and judged on the same 20 rows of one distribution, an attack seems to work.
    flattered, fair = [], []
    for row in normal(300, 80):
        cut = thresholds.threshold(row[:20], row[20:40])
        flattered.append(thresholds.advantage(row[:20], row[20:40], cut))
        fair.append(thresholds.advantage(row[40:60], row[60:], cut))
    assert np.mean(flattered) > 0.15
    assert np.mean(fair) == pytest.approx(0, abs=0.03)
