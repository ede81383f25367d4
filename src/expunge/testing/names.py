"""Which names a removal must change, and which it must not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from expunge.data.datasets import Ground, Key
from expunge.testing.state import NotExact
from expunge.training import plan as plans
from expunge.training.plan import Plan, Slice
from expunge.training.sql import Model


def check_names(
    model: Model, ground: Ground, old: Plan, new: Plan, gone: Mapping[Key, NDArray[np.int64]]
) -> int:
    """Names change from the first slice that held a sample on, and nowhere else.

    Args:
        model: Whose plans they are.
        ground: As it was before.
        old: Its plan for a shard.
        new: The plan without the rows that went.
        gone: Their ordinals.

    Returns:
        How many names went.

    Raises:
        NotExact: They did not.
    """
    touched = [held(model, ground, part, gone) for part in old.slices]
    first = touched.index(True) if True in touched else len(touched)
    if new.names[:first] != old.names[:first]:
        message = f"Shard {old.shard}: names before slice {first} changed, which held no forgotten sample."
        raise NotExact(message, shard=old.shard, slice=first, what="names")
    if first == len(touched) and new.names != old.names:
        message = f"Shard {old.shard}: names changed, and it held no forgotten sample."
        raise NotExact(message, shard=old.shard, slice=None, what="names")
    if kept := set(old.names[first:]) & set(new.names):
        message = f"Shard {old.shard}: {len(kept)} names from slice {first} on outlived its sample."
        raise NotExact(message, shard=old.shard, slice=first, what="names")
    return len(old.names) - first


def held(model: Model, ground: Ground, part: Slice, gone: Mapping[Key, NDArray[np.int64]]) -> bool:
    """Whether the model learnt from one of these rows in this slice."""
    ordinals = gone.get(part.key, np.empty(0, np.int64))
    inside = ordinals[(ordinals >= part.start) & (ordinals < part.stop)]
    return bool(kept_rows(model, ground, part)[inside - part.start].any())


def kept_rows(model: Model, ground: Ground, part: Slice) -> NDArray[np.bool_]:
    """Which rows of a slice the model learns from."""
    batch, filters = ground.batches[part.key], model.recipe.view.filters
    return plans.kept(batch, part.start, part.stop, part.drop, filters)
