"""What a model must train again once rows are forgotten: counted, not planned.

No hash is computed and, but for a view's filters, no cell is read: a slice's samples are the
length of its span less what is gone in it. A rebuild in the runtime that built the
model visits exactly these samples; in another one it starts from the first slice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate

from expunge import learners
from expunge.data.datasets import Ground
from expunge.data.sql import Place
from expunge.training import plan as plans
from expunge.training import versions
from expunge.training.sql import Model, Version


@dataclass(frozen=True, slots=True)
class Work:
    """What one shard must train again.

    Attributes:
        slices: How many of its checkpoints.
        samples: Visits, where each pass over the slices so far counts as one. Of a learner that
            subtracts: rows that go, once for each checkpoint.
        kept: Checkpoints that stay.
    """

    slices: int
    samples: int
    kept: int


def work_of(
    model: Model,
    version: Version,
    ground: Ground,
    gone: Collection[Place],
    named: Collection[Place],
) -> dict[int, Work]:
    """By shard, what is to be trained for a request, once ``gone`` are gone.

    Args:
        model: The model.
        version: Its current version.
        ground: Its own, without these places.
        gone: Rows that are about to go; those that the model's view leaves out touch nothing.
        named: All that the request is about: it waits for their shards, where these are behind.
    """
    depths = _depths(model, version, ground, gone)
    behind = {c.shard: c.depth for c in version.constituents if not c.whole}
    waited = {s: behind[s] for s in versions.touched(model, named, ground) if s in behind}
    work = {
        shard: _work(plans.sizes(model.recipe, ground, shard), depth)
        for shard, depth in sorted((waited | depths).items())
    }
    if not learners.subtracts(model.recipe.learner):
        return work
    rows = plans.rows_by_shard(model.recipe, ground, gone)
    return {s: replace(one, samples=one.slices * rows.get(s, 0)) for s, one in work.items()}


def is_withdrawn(version: Version, work: Mapping[int, Work]) -> bool:
    """Whether nothing clean would be left to answer until a shard is rebuilt."""
    kept = (work[c.shard].kept if c.shard in work else c.depth for c in version.constituents)
    return not any(kept)


def _depths(
    model: Model, version: Version, ground: Ground, gone: Collection[Place]
) -> dict[int, int]:
    """By touched shard, how many checkpoints stay."""
    if version.batches == len(ground.batches):
        clean = plans.clean_depths(model.recipe, ground, gone)
        return {s: min(depth, version.constituents[s].depth) for s, depth in clean.items()}
    # Rows were added and are not trained yet: only names tell what of the packs stays.
    best = [
        versions.best(model, plans.make(model.recipe, ground, shard))
        for shard in versions.touched(model, gone, ground)
    ]
    return {one.shard: one.depth for one in best if not one.whole}


def _work(sizes: list[int], kept: int) -> Work:
    visits = list(accumulate(sizes))[kept:]
    return Work(slices=len(visits), samples=sum(visits), kept=kept)
