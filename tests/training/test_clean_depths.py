"""How far back a request sets a shard, for any rows together: what the names of plans tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from expunge.data.sql import Place
from expunge.training import plan as plans


def alike(before: tuple[bytes, ...], after: tuple[bytes, ...]) -> int:
    """How many names two chains have in common, from the first on."""
    same = [a == b for a, b in zip(before, after, strict=False)]
    return same.index(False) if False in same else len(same)


@pytest.mark.parametrize("shards", [1, 3])
def test_the_first_touched_slice_decides(land: Any, shards: int) -> None:
    land.add([f"n{i}" for i in range(40)])
    land.add([f"m{i}" for i in range(9)], parts=2)
    recipe = land.recipe(shards=shards, slices=3)
    whole = [plans.make(recipe, land.ground, shard).names for shard in range(shards)]
    every = [(key, ordinal) for key, batch in land.batches.items() for ordinal in range(batch.rows)]
    chance = np.random.default_rng(1)
    for count in (2, 3, 5) * 8:
        land.gone = {}
        rows = [every[i] for i in chance.permutation(len(every))[:count]]
        for key, ordinal in rows:
            land.forget(key, ordinal)
        ground = land.ground
        found = plans.clean_depths(recipe, ground, [Place(*key, o, 0) for key, o in rows])
        names = [plans.make(recipe, ground, shard).names for shard in range(shards)]
        touched = {shard for shard in range(shards) if names[shard] != whole[shard]}
        assert found == {shard: alike(whole[shard], names[shard]) for shard in touched}
