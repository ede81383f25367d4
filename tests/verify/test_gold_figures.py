"""Further figures beside retrained models: by hand, at their ideal, and where somebody differs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.verify import gold_figures
from expunge.verify.gold_figures import Margins, Told

CLASSES = np.array([0, 1] * 150)


def model(seed: int, right: float = 0.8, sure: float = 0.7) -> np.ndarray:
    """Probabilities of a model that is right so often, and as sure as is said."""
    draw = np.random.default_rng(seed)
    hit = draw.uniform(size=len(CLASSES)) < right
    top = np.where(hit, CLASSES, 1 - CLASSES)
    found = np.full((len(CLASSES), 2), 1 - sure)
    found[np.arange(len(CLASSES)), top] = sure
    return found


def told(served: np.ndarray, seeds: range = range(8)) -> Told:
    return Told(CLASSES, [served, *(model(seed) for seed in seeds)])


def checks(served: np.ndarray) -> dict[str, str]:
    groups = {name: told(served) for name in ("forgotten", "retained", "unseen")}
    return {one.name: one.verdict for one in gold_figures.checks(groups, Margins())}


@settings(max_examples=25, deadline=None)
@given(st.integers(100, 10_000))
def test_a_model_like_the_retrained_ones_never_fails(seed: int) -> None:
    verdicts = checks(model(seed))
    assert len(verdicts) == 7
    assert "failed" not in verdicts.values()


@pytest.mark.parametrize(
    ("served", "failing"),
    [
        (model(99, right=0.2), {"gold-loss-forgotten", "gold-classes-unseen", "gold-tow"}),
        (model(99, right=0.6, sure=0.999), {"gold-loss-forgotten", "gold-calibration-unseen"}),
        (model(99, sure=0.999), {"gold-activation-forgotten"}),
    ],
)
def test_a_model_that_differs_fails_where_it_does(served: np.ndarray, failing: set[str]) -> None:
    verdicts = checks(served)
    assert {name for name in failing if verdicts[name] == "failed"} == failing


def test_without_unseen_rows_those_that_stay_are_asked_about() -> None:
    groups = {name: told(model(99)) for name in ("forgotten", "retained")}
    names = [one.name for one in gold_figures.checks(groups, Margins())]
    assert "gold-calibration-retained" in names
    assert "gold-tow" not in names


@pytest.mark.parametrize("retrained", [0, 1, 2])
def test_too_few_retrained_models_are_inconclusive(retrained: int) -> None:
    of = told(model(99), range(retrained))
    groups = dict.fromkeys(("forgotten", "retained", "unseen"), of)
    found = list(gold_figures.checks(groups, Margins()))
    assert {one.verdict for one in found} == {"inconclusive"}
    assert all("three retrained" in one.why for one in found)


def test_losses_by_hand() -> None:
    half = np.full((4, 2), 0.5)
    assert gold_figures.loss(half, np.array([0, 1, 0, 1])) == pytest.approx(math.log(2), rel=1e-5)
    wrong = np.array([[1.0, 0.0]])
    assert gold_figures.loss(wrong, np.array([1])) == pytest.approx(math.log(1e6), rel=1e-4)


def test_classes_by_hand() -> None:
    classes = np.array([0, 0, 1, 1])
    all_right = np.eye(2)[classes]
    half_of_one = np.eye(2)[[0, 1, 1, 1]]
    assert gold_figures.per_class(all_right, half_of_one, classes) == 0.5
    assert gold_figures.per_class(half_of_one, half_of_one, classes) == 0
