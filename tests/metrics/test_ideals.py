"""Models that forgot rightly and wrongly: the first are ideal within chance, the others are caught."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import pytest
from draws import normal, softmax

from expunge.core import rng
from expunge.metrics import chance, divergence, equivalence, forgetting, lira, roc, signals, ulira
from expunge.metrics.arrays import Labels, Numbers

How = Literal["retrained", "untouched", "over", "stale"]
WRONG: list[How] = ["untouched", "over", "stale"]

MODELS, STAY, FORGOTTEN, UNSEEN = 16, 200, 150, 150
GONE = np.arange(STAY, STAY + FORGOTTEN)
FRESH = np.arange(STAY + FORGOTTEN, STAY + FORGOTTEN + UNSEEN)


@cache
def people() -> tuple[Numbers, Labels]:
    """Rows in two classes: those that may stay, the forgotten, and the unseen, alike to them."""
    labels = (np.arange(STAY + FORGOTTEN + UNSEEN) % 2).astype(np.int64)
    rows = normal(len(labels), 6, about="rows") + 0.8 * labels[:, None]
    # Both live on a larger scale, so a scaler that still knows the forgotten ones differs.
    return rows * np.where(np.arange(len(labels)) < STAY, 1.0, 1.5)[:, None], labels


def logits(how: How, seed: str) -> Numbers:
    """Train on a random half of those that stay, and forget as told; logits about everybody.

    Near rows vote for their class, so that a model knows whom it saw. Distances are in units of
    the training rows' standard deviations.
    """
    rows, labels = people()
    stay = chance.shuffled(STAY, rng.seed("ideals", seed))[: STAY // 2]
    everybody = np.concatenate([stay, GONE])
    voters = everybody if how == "untouched" else stay
    # The cached statistic of the stale model was never made to forget.
    units = rows[everybody if how in {"untouched", "stale"} else stay].std(axis=0)
    near = np.exp(-(((rows[:, None] - rows[voters]) / units) ** 2).sum(axis=2))
    votes = np.stack([near[:, labels[voters] == each].sum(axis=1) for each in (0, 1)], axis=1)
    told: Numbers = np.log(votes + 1e-3)
    told[GONE, labels[GONE]] -= 4.0 if how == "over" else 0.0
    return told


@cache
def models(how: How, about: str = "served") -> Numbers:
    """Logits of models that differ in their rows: (models, rows, 2)."""
    return np.stack([logits(how, f"{how} {about} {number}") for number in range(MODELS)])


def margins(how: How, about: str = "served") -> Numbers:
    _, labels = people()
    return np.stack([signals.margin(each, labels) for each in models(how, about)])


def area(how: How) -> float:
    """Forgotten against unseen rows under one model, each against models that saw neither."""
    nobody = np.zeros((MODELS, STAY + FORGOTTEN + UNSEEN), dtype=np.bool_)
    scores = lira.offline(margins(how)[0], margins("retrained", "shadows"), nobody)
    return roc.auc(scores[GONE], scores[FRESH])


def test_attacks_on_a_retrained_model_are_chance() -> None:
    low, high = roc.auc_interval(area("retrained"), FORGOTTEN, UNSEEN)
    assert low <= 0.5 <= high
    forgotten, never = margins("retrained")[:, GONE], margins("retrained", "again")[:, GONE]
    assert ulira.p_value(forgotten, never) > 0.05


def test_a_model_that_forgot_nothing_is_caught() -> None:
    assert roc.auc_interval(area("untouched"), FORGOTTEN, UNSEEN)[0] > 0.55


def test_over_forgetting_is_caught_because_areas_count_both_ways() -> None:
    assert area("over") < 0.4
    assert roc.two_sided(area("over")) > 0.6
    effect = equivalence.judge(
        roc.auc_interval(area("over"), FORGOTTEN, UNSEEN, 0.90),
        roc.auc_interval(area("over"), FORGOTTEN, UNSEEN, 0.95),
        (0.4, 0.6),
    )
    assert effect == "failed"


@pytest.mark.parametrize("how", WRONG)
def test_populations_of_models_that_forgot_wrongly_are_caught(how: How) -> None:
    wrong, never = margins(how)[:, GONE], margins("retrained", "again")[:, GONE]
    assert ulira.p_value(wrong, never) <= 0.01
    assert ulira.per_example(wrong, never).mean > 0.6


def test_the_stale_scaler_passes_an_attack_on_one_model() -> None:
    # It shows neither rows as members nor unseen ones as less: only retrained models tell.
    assert 0.4 < area("stale") < 0.6


@pytest.mark.parametrize("how", WRONG)
def test_quality_and_divergence_are_ideal_for_retraining_alone(how: How) -> None:
    oracle, again = (margins("retrained", about)[:, GONE] for about in ("served", "again"))
    third, wrong = margins("retrained", "third")[:, GONE], margins(how)[:, GONE]
    assert forgetting.calibrated(again, oracle, third).ratio == pytest.approx(1, abs=0.25)
    assert forgetting.calibrated(wrong, oracle, third).ratio < 0.75
    null = divergence.klom(again, oracle).mean()
    assert null == pytest.approx(divergence.klom(third, oracle).mean(), rel=0.15)
    assert divergence.klom(wrong, oracle).mean() > 1.15 * null


def test_predictions_are_as_far_apart_as_those_of_two_retrainings() -> None:
    def apart(how: How, about: str) -> list[float]:
        told, others = models(how, about), models("retrained", "again")
        pairs = [(softmax(a), softmax(b)) for a, b in zip(told, others, strict=True)]
        return [float(divergence.jensen_shannon(a, b)[GONE].mean()) for a, b in pairs]

    null = np.array(apart("retrained", "third"))
    assert equivalence.means(apart("retrained", "served"), null).wide[0] < 0
    for how in WRONG[:2]:
        assert equivalence.means(apart(how, "served"), null).wide[0] > 0
