"""Plans: which slices there are, and which names a change leaves alone."""

from __future__ import annotations

import pytest

from expunge.core.types import Filter
from expunge.data.sql import Place
from expunge.training import plan as plans

NAMES = [f"n{i}" for i in range(40)]


def names(land, recipe, shard=0) -> list[bytes]:
    return list(plans.make(recipe, land.ground, shard).names)


def test_a_slice_without_rows_does_not_enter_the_chain(land) -> None:
    land.add(NAMES)
    recipe = land.recipe(slices=4)
    whole = plans.make(recipe, land.ground, 0)
    assert [part.part for part in whole.slices] == [0, 1, 2, 3]
    emptied = whole.slices[1]
    land.forget((0, 0), *range(emptied.start, emptied.stop))
    without = plans.make(recipe, land.ground, 0)
    assert [part.part for part in without.slices] == [0, 2, 3]
    assert without.names[0] == whole.names[0]
    # Slice 2 now follows slice 0, so its name is not what it was behind slice 1.
    assert not set(without.names[1:]) & set(whole.names)
    assert [part.seed for part in without.slices] == [whole.slices[i].seed for i in (0, 2, 3)]


def test_the_last_slice_emptied_leaves_the_chain_before_it(land) -> None:
    land.add(NAMES)
    recipe = land.recipe(slices=3)
    whole = plans.make(recipe, land.ground, 0)
    land.forget((0, 0), *range(whole.slices[2].start, whole.slices[2].stop))
    assert names(land, recipe) == list(whole.names[:2])


def test_without_rows_there_is_no_model(land) -> None:
    land.add(NAMES)
    land.forget((0, 0), *range(40))
    plan = plans.make(land.recipe(), land.ground, 0)
    assert (plan.slices, plan.samples) == ((), 0)


def test_an_appended_batch_leaves_earlier_names_alone(land) -> None:
    land.add(NAMES)
    recipe = land.recipe(shards=2, slices=3)
    before = [names(land, recipe, shard) for shard in (0, 1)]
    land.add([f"m{i}" for i in range(30)], parts=2)
    after = [names(land, recipe, shard) for shard in (0, 1)]
    assert [chain[:3] for chain in after] == before
    assert [len(chain) for chain in after] == [5, 5]


def test_a_batch_that_was_emptied_changes_no_seed_and_no_name_before_it(land) -> None:
    land.add(NAMES)
    recipe = land.recipe(slices=2)
    land.add(["m"])
    land.add(["o"])
    whole = plans.make(recipe, land.ground, 0)
    land.forget((0, 1), 0)
    without = plans.make(recipe, land.ground, 0)
    assert without.names[:2] == whole.names[:2]
    assert [part.key for part in without.slices] == [(0, 0), (0, 0), (0, 2)]
    assert without.slices[2].seed == whole.slices[3].seed


def test_all_of_a_lower_tier_stands_before_a_higher_one(tiered) -> None:
    tiered.add(NAMES, tier=["low", "high"] * 20)
    tiered.add(["m1", "m2"], tier=["high", "low"])
    plan = plans.make(tiered.recipe(), tiered.ground, 0)
    assert [(part.key, part.part) for part in plan.slices] == [
        ((0, 0), 0),
        ((0, 0), 1),
        ((0, 1), 0),
        ((1, 0), 0),
        ((1, 0), 1),
        ((1, 1), 0),
    ]


def test_forgetting_in_a_higher_tier_leaves_the_lower_one_alone(tiered) -> None:
    tiered.add(NAMES, tier=["low", "high"] * 20)
    before = names(tiered, tiered.recipe())
    tiered.forget((1, 0), 0)
    after = names(tiered, tiered.recipe())
    assert after[:2] == before[:2]
    assert not set(after[2:]) & set(before)


def test_each_sample_is_in_one_slice_of_one_shard(land) -> None:
    land.add(NAMES)
    for shards, slices in ((1, 1), (3, 4), (7, 5)):
        recipe = land.recipe(shards=shards, slices=slices)
        found = [plans.make(recipe, land.ground, shard) for shard in range(shards)]
        ordinals = [o for plan in found for s in plan.slices for o in range(s.start, s.stop)]
        assert ordinals == list(range(40))


def test_what_the_view_does_not_learn_from_changes_no_name(land) -> None:
    land.add(NAMES)
    recipe = land.recipe(filters=(Filter("x", "<", 20.0),))
    before = names(land, recipe)
    assert before != names(land, land.recipe())
    x = land.batches[0, 0].read(["x"], 0, 40)["x"]
    outside = int((x >= 20).argmax())
    land.forget((0, 0), outside)
    assert names(land, recipe) == before
    land.forget((0, 0), int((x < 20).argmax()))
    assert names(land, recipe) != before


@pytest.mark.parametrize("shards", [1, 3])
def test_clean_depths_are_those_that_names_tell(land, shards: int) -> None:
    land.add(NAMES)
    land.add([f"m{i}" for i in range(9)], parts=2)
    recipe = land.recipe(shards=shards, slices=3)
    whole = [names(land, recipe, shard) for shard in range(shards)]
    for key, batch in land.batches.items():
        for ordinal in range(batch.rows):
            land.gone = {}
            land.forget(key, ordinal)
            (found,) = plans.clean_depths(recipe, land.ground, [Place(*key, ordinal, 0)]).items()
            shard, depth = found
            after = names(land, recipe, shard)
            same = [a == b for a, b in zip(whole[shard], after, strict=False)]
            assert depth == (same.index(False) if False in same else len(after))


def test_the_recipes_parts_are_in_the_names(land) -> None:
    land.add(NAMES)
    recipes = [
        land.recipe(),
        land.recipe(slices=3),
        land.recipe(shards=2),
        land.recipe(purpose="to lend"),
        land.recipe(features=("x", "y"), targets=("x",)),
        land.recipe(weight="x"),
    ]
    first = [names(land, recipe)[0] for recipe in recipes]
    assert len(set(first)) == len(first)


def test_equal_rows_in_two_shards_have_two_names(land) -> None:
    land.add(NAMES)
    recipe = land.recipe(shards=4, slices=1)
    assert len({names(land, recipe, shard)[0] for shard in range(4)}) == 4
