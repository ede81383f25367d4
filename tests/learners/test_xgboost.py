"""The XGBoost learner: rounds by slices, chance from the slice, a declared base."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import xgboost

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column, Kind, Role, Task
from expunge.learners.boosting import rounds_of
from expunge.learners.protocol import Step
from expunge.learners.state import parse
from expunge.learners.xgboost import XGBoost


def _booster(state: bytes) -> xgboost.Booster:
    return xgboost.Booster(model_file=bytearray(parse(state)[1]["model"].tobytes()))


def test_each_slice_adds_its_share_of_the_rounds(kinds: Any) -> None:
    states = kinds.chain(XGBoost(rounds=12), [40, 80, 160])
    assert [_booster(state).num_boosted_rounds() for state in states] == [4, 8, 12]


@pytest.mark.parametrize(
    ("rounds", "slices", "expected"),
    [(100, 1, 100), (100, 5, 33), (3, 5, 1), (1, 50, 1), (9, 5, 3)],
)
def test_rounds_are_rounded_half_up_and_never_none(rounds: int, slices: int, expected: int) -> None:
    assert rounds_of(Step(0, 2 / (slices + 1)), rounds) == expected
    assert rounds_of(Step(0, 0.5), 5) == 3  # 2.5, half up


def test_earlier_trees_stay(kinds: Any) -> None:
    one, two = kinds.chain(XGBoost(rounds=8, subsample=0.5), [80, 160])
    early, late = (_booster(state).get_dump(dump_format="json") for state in (one, two))
    assert len(late) == 2 * len(early) == 32  # one per class
    assert late[: len(early)] == early


def test_the_seed_of_the_slice_is_the_only_chance(kinds: Any) -> None:
    learner = XGBoost(rounds=4, subsample=0.5)
    samples = kinds.samples(learner)
    one, again, two = (
        learner.learn(kinds.task, None, samples, Step(seed, 1.0)) for seed in (1, 1, 2)
    )
    assert one == again != two
    certain = XGBoost(rounds=4)
    assert _trees(certain, kinds, 1) == _trees(certain, kinds, 2)


def _trees(learner: XGBoost, table: Any, seed: int) -> list[str]:
    state = learner.learn(table.task, None, table.samples(learner), Step(seed, 1.0))
    found: list[str] = _booster(state).get_dump()
    return found


def test_the_base_is_declared_and_not_fitted(prices: Any, sides: Any) -> None:
    stump = XGBoost(rounds=1, eta=1e-9)
    assert prices.predict(stump, prices.chain(stump, [160])) == pytest.approx(0, abs=1e-6)
    assert sides.predict(stump, sides.chain(stump, [160])) == pytest.approx(0.5)
    known = dataclasses.replace(stump, base_score=3.5)
    assert prices.predict(known, prices.chain(known, [160])) == pytest.approx(3.5)
    rare = dataclasses.replace(stump, base_score=0.1)
    found = sides.predict(rare, sides.chain(rare, [160]))
    np.testing.assert_allclose(found, np.tile([0.9, 0.1], (1, 160, 1)), atol=1e-6)


def test_several_targets_are_predicted_together(pairs: Any) -> None:
    learner = XGBoost(rounds=20, base_score=0.5)
    found = pairs.predict(learner, pairs.chain(learner, [80, 160]))
    assert found.shape == (2, 160, 2)
    assert (((found[1] - pairs.targets) ** 2).mean(axis=0) < 0.2 * pairs.targets.var(axis=0)).all()


def test_a_declared_target_of_one_class_is_certain(sides: Any) -> None:
    column = dataclasses.replace(sides.task.targets[0], categories=("low",))
    one = dataclasses.replace(
        sides, task=Task(sides.task.features, (column,)), targets=np.zeros(160, np.int64)
    )
    learner = XGBoost(rounds=2)
    assert (one.predict(learner, one.chain(learner, [160])) == np.ones((1, 160, 1))).all()


def test_categories_are_codes_and_missing_is_missing(kinds: Any) -> None:
    learner = XGBoost(rounds=4)
    rows = learner.encode(kinds.task, kinds.features)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(rows[:, 2]), kinds.features["job"] == -1)
    seen = ~np.isnan(rows[:, 2])
    np.testing.assert_array_equal(rows[seen, 2], kinds.features["job"][seen])
    dump = json.loads(_booster(kinds.chain(learner, [160])[0]).get_dump(dump_format="json")[1])
    assert dump is not None
    model = json.loads(bytes(_booster(kinds.chain(learner, [160])[0]).save_raw("json")))
    trees = model["learner"]["gradient_booster"]["model"]["trees"]
    assert any(1 in tree["split_type"] for tree in trees)  # 1: by categories


def test_a_category_that_training_never_saw_has_an_answer(kinds: Any) -> None:
    learner = XGBoost(rounds=4)
    few = dataclasses.replace(
        kinds, features=kinds.features | {"job": np.minimum(kinds.features["job"], 1)}
    )
    states = few.chain(learner, [160])
    assert np.isfinite(kinds.predict(learner, states)).all()
    assert kinds.chain(learner, [160]) != states


def test_tensors_are_laid_flat_and_text_is_refused(kinds: Any) -> None:
    pixels = Column("pixels", Role.FEATURE, Kind.TENSOR, "uint8", shape=(2, 3))
    text = Column("text", Role.FEATURE, Kind.TEXT, "str")
    cells = {
        "pixels": np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
        "text": np.array(["a", "b"], object),
    }
    rows = XGBoost().encode(Task((pixels,), kinds.task.targets), cells)
    np.testing.assert_array_equal(rows, np.arange(12).reshape(2, 6))
    with pytest.raises(RecipeInvalid, match="text column 'text'"):
        XGBoost().encode(Task((pixels, text), kinds.task.targets), cells)


def test_options_go_to_xgboost(kinds: Any) -> None:
    plain, forest = XGBoost(rounds=2), XGBoost(rounds=2, options={"num_parallel_tree": 3})
    counts = [
        len(_booster(kinds.chain(learner, [160])[0]).get_dump()) for learner in (plain, forest)
    ]
    assert counts == [8, 24]
    dart = XGBoost(rounds=4, options={"booster": "dart", "rate_drop": 0.5})
    assert kinds.chain(dart, [80, 160]) == kinds.chain(dart, [80, 160])


@pytest.mark.parametrize("name", ["seed", "nthread", "objective", "max_depth", "base_score"])
def test_options_that_are_ours_are_refused(name: str) -> None:
    with pytest.raises(RecipeInvalid, match=name):
        XGBoost(options={name: 1})


def test_no_rounds_are_refused() -> None:
    with pytest.raises(RecipeInvalid, match="at least 1, got 0"):
        XGBoost(rounds=0)
