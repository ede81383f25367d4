"""The LightGBM learner: rounds by slices, one class so far, slices too small to split."""

from __future__ import annotations

import dataclasses
from typing import Any

import lightgbm
import numpy as np
import pytest

from expunge.core.errors import RecipeInvalid
from expunge.learners.lightgbm import LightGBM
from expunge.learners.protocol import Step
from expunge.learners.state import dump, parse

SMALL = LightGBM(rounds=12, min_data_in_leaf=5)


def _booster(state: bytes) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=parse(state)[1]["model"].tobytes().decode())


def test_each_slice_adds_its_share_of_the_rounds(kinds: Any) -> None:
    states = kinds.chain(SMALL, [40, 80, 160])
    assert [_booster(state).current_iteration() for state in states] == [4, 8, 12]


def test_earlier_trees_stay(kinds: Any) -> None:
    one, two = kinds.chain(dataclasses.replace(SMALL, bagging_fraction=0.5), [80, 160])
    early, late = (_booster(state).dump_model()["tree_info"] for state in (one, two))
    assert len(late) == 2 * len(early) == 48  # one per class
    assert [tree["tree_structure"] for tree in late[: len(early)]] == [
        tree["tree_structure"] for tree in early
    ]


def test_the_seed_of_the_slice_is_the_only_chance(kinds: Any) -> None:
    learner = dataclasses.replace(SMALL, bagging_fraction=0.5, feature_fraction=0.5)
    samples = kinds.samples(learner)
    one, again, two = (
        learner.learn(kinds.task, None, samples, Step(seed, 1.0)) for seed in (1, 1, 2)
    )
    assert one == again
    assert _trees(one) != _trees(two)
    calm = (SMALL.learn(kinds.task, None, samples, Step(seed, 1.0)) for seed in (1, 2))
    assert len({str(_trees(state)) for state in calm}) == 1


def _trees(state: bytes) -> Any:
    return [tree["tree_structure"] for tree in _booster(state).dump_model()["tree_info"]]


def test_rounds_owed_by_slices_of_one_class_are_boosted_later(kinds: Any) -> None:
    late = dataclasses.replace(kinds, targets=np.where(np.arange(160) < 80, 2, kinds.targets))
    first, second, third, fourth = late.chain(SMALL, [40, 80, 120, 160])
    assert first == dump({"format": 1, "only": 2, "owed": 3}, {})
    assert second == dump({"format": 1, "only": 2, "owed": 6}, {})
    assert [_booster(state).current_iteration() for state in (third, fourth)] == [9, 12]


def test_a_class_that_comes_late_is_learnt(kinds: Any) -> None:
    # 0 and 1 first; class 2 is not in the first half at all.
    first = np.where(np.arange(160) < 80, np.minimum(kinds.targets, 1), kinds.targets)
    late = dataclasses.replace(kinds, targets=first)
    learner = dataclasses.replace(SMALL, rounds=60)
    found = late.predict(learner, late.chain(learner, [80, 160]))[-1]
    rows = np.arange(160) >= 80
    assert (found.argmax(axis=1) == kinds.targets)[rows & (kinds.targets == 2)].mean() > 0.8


@pytest.mark.parametrize("rows", [1, 2, 3, 9])
def test_too_few_rows_to_split_are_no_error(rows: int, table: Any) -> None:
    learner = LightGBM(rounds=6, bagging_fraction=0.4, base_score=7.0)
    states = table.chain(learner, [rows, rows + 1, 160])
    found = table.predict(learner, states)
    assert np.isfinite(found).all()
    if not table.task.classes:
        assert (found[0] == 7).all()
        assert found[2].std() > 0


def test_constant_columns_are_no_error(prices: Any) -> None:
    flat = dataclasses.replace(
        prices, features={name: cells * 0 for name, cells in prices.features.items()}
    )
    assert np.isfinite(flat.predict(SMALL, flat.chain(SMALL, [80, 160]))).all()
    # … and later slices may split what was constant.
    half = {
        name: np.where(np.arange(160) < 80, cells[0], cells).astype(cells.dtype)
        for name, cells in prices.features.items()
    }
    late = dataclasses.replace(prices, features=half)
    found = late.predict(SMALL, late.chain(SMALL, [80, 160]))
    assert found[1, 80:].std() > 0.05


def test_the_base_is_declared_and_not_fitted(prices: Any, sides: Any) -> None:
    stump = LightGBM(rounds=1, learning_rate=1e-9, base_score=3.5)
    assert prices.predict(stump, prices.chain(stump, [160])) == pytest.approx(3.5)
    assert sides.predict(stump, sides.chain(stump, [160])) == pytest.approx(0.5)
    # Moving targets and base together moves predictions, whatever slices there are.
    moved = dataclasses.replace(prices, targets=prices.targets + 1024)
    learner = dataclasses.replace(SMALL, base_score=1024.0)
    np.testing.assert_allclose(
        moved.predict(learner, moved.chain(learner, [80, 160])) - 1024,
        prices.predict(SMALL, prices.chain(SMALL, [80, 160])),
        atol=1e-5,
    )


def test_categories_are_split_natively(kinds: Any) -> None:
    (state,) = kinds.chain(SMALL, [160])
    splits = str(_trees(state))
    assert "'decision_type': '=='" in splits
    few = dataclasses.replace(
        kinds, features=kinds.features | {"job": np.minimum(kinds.features["job"], 1)}
    )
    assert np.isfinite(kinds.predict(SMALL, few.chain(SMALL, [160]))).all()


def test_several_targets_are_refused(pairs: Any) -> None:
    with pytest.raises(RecipeInvalid, match="predicts one target, the view has 2"):
        pairs.chain(SMALL, [160])


def test_options_go_to_lightgbm(kinds: Any) -> None:
    forest = LightGBM(
        rounds=4,
        bagging_fraction=0.5,
        min_data_in_leaf=5,
        options={"boosting": "dart", "max_bin": 15, "bagging_freq": 2},
    )
    states = kinds.chain(forest, [80, 160])
    assert states == kinds.chain(forest, [80, 160])
    text = parse(states[0])[1]["model"].tobytes().decode()
    assert "[max_bin: 15]" in text
    assert "[bagging_freq: 2]" in text
    assert "[boost_from_average: 0]" in text


@pytest.mark.parametrize("name", ["seed", "num_threads", "objective", "num_leaves", "device_type"])
def test_options_that_are_ours_are_refused(name: str) -> None:
    with pytest.raises(RecipeInvalid, match=name):
        LightGBM(options={name: 1})
