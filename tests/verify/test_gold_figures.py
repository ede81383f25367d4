"""Further figures beside retrained models: by hand, at their ideal, and where somebody differs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.metrics import signals
from expunge.verify import gold_figures
from expunge.verify.gold import Answers
from expunge.verify.gold_figures import Margins

CLASSES = np.array([0, 1] * 150)


def model(seed: int, right: float = 0.8, sure: float = 0.7) -> np.ndarray:
    """Probabilities of a model that is right so often, and as sure as is said."""
    draw = np.random.default_rng(seed)
    hit = draw.uniform(size=len(CLASSES)) < right
    top = np.where(hit, CLASSES, 1 - CLASSES)
    found = np.full((len(CLASSES), 2), 1 - sure)
    found[np.arange(len(CLASSES)), top] = sure
    return found


def phi(probabilities: np.ndarray) -> np.ndarray:
    return np.asarray(signals.phi(probabilities, CLASSES))


def told(served: np.ndarray, seeds: range = range(8)) -> Answers:
    again = np.array([model(seed) for seed in seeds]).reshape(-1, *served.shape)
    again_phi = np.array([phi(one) for one in again]).reshape(-1, len(CLASSES))
    return Answers(CLASSES, served, again, phi(served), again_phi)


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
    assert gold_figures.losses(told(np.full((300, 2), 0.5)))[0] == pytest.approx(math.log(2))
    # Right eight times of ten, and 0.7 sure: −0.8 log 0.7 − 0.2 log 0.3, as far as it was drawn so.
    served = model(99)
    right = (served.argmax(axis=1) == CLASSES).mean()
    by_hand = -right * math.log(0.7) - (1 - right) * math.log(0.3)
    assert gold_figures.losses(told(served))[0] == pytest.approx(by_hand)


def test_classes_by_hand() -> None:
    classes = np.array([0, 0, 1, 1])
    all_right = np.eye(2)[classes]
    half_of_one = np.eye(2)[[0, 1, 1, 1]]
    assert gold_figures.per_class(all_right, half_of_one, classes) == 0.5
    assert gold_figures.per_class(half_of_one, half_of_one, classes) == 0
