"""Plans: what each constituent should be, by name, from the samples that remain.

A plan is a pure function of recipe, ring and ground. Comparing its names with what rests in
a pack says what to keep, what to destroy and what to build.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from expunge.core import names, rng
from expunge.core.digest import Json, digest
from expunge.core.errors import DataCorrupt
from expunge.core.types import Filter
from expunge.data import filters, leaves, ring
from expunge.data.batch import Batch
from expunge.data.datasets import Ground, Key
from expunge.data.sql import Place
from expunge.training.recipe import Recipe

_MOST_REMEMBERED = 200_000
_REMEMBERED: WeakKeyDictionary[Batch, dict[Any, Any]] = WeakKeyDictionary()
"""What was computed about a batch's rows, for as long as somebody holds the batch."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice that has rows, and the checkpoint that training it makes.

    Attributes:
        key: Tier and batch.
        part: Sub-range of the shard's part of the ring.
        start: First ordinal in the batch.
        stop: Ordinal behind the last.
        drop: Forgotten ordinals in between.
        samples: Rows that the view learns from here.
        root: RFC 6962 root over their leaves.
        name: Of the checkpoint after this slice.
        seed: Of all randomness in this slice.
    """

    key: Key
    part: int
    start: int
    stop: int
    drop: NDArray[np.int64]
    samples: int
    root: bytes
    name: bytes
    seed: int

    def to_json(self) -> list[Json]:
        """As plain JSON."""
        place = [*self.key, self.part, self.start, self.stop, self.drop.tolist()]
        return [*place, self.samples, self.root.hex(), self.name.hex(), self.seed]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Slice:
        """Read what :meth:`to_json` wrote."""
        tier, number, part, start, stop, drop, samples, root, name, seed = value
        gone = np.array(drop, np.int64)
        digests = bytes.fromhex(root), bytes.fromhex(name)
        return cls((tier, number), part, start, stop, gone, samples, *digests, seed)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one constituent should be. Without slices there is no model yet."""

    shard: int
    slices: tuple[Slice, ...]

    @property
    def names(self) -> tuple[bytes, ...]:
        """Names of the checkpoints, in order."""
        return tuple(part.name for part in self.slices)

    @property
    def samples(self) -> int:
        """How many samples the whole constituent sees."""
        return sum(part.samples for part in self.slices)


def make(recipe: Recipe, ground: Ground, shard: int) -> Plan:
    """Plan one constituent. Costs one hash per row of each slice that changed since the last."""
    known = ("plan", recipe.digest, shard)
    if known not in ground.memo:
        ground.memo[known] = _make(recipe, ground, shard)
    plan: Plan = ground.memo[known]
    return plan


def _make(recipe: Recipe, ground: Ground, shard: int) -> Plan:
    name = _first_name(recipe, ground, shard)
    slices = []
    for key, part, start, stop in _spans(recipe, ground, shard):
        drop = ground.gone_between(key, start, stop)
        samples, root = _root(ground.batches[key], start, stop, drop, recipe.view.filters)
        if samples:
            name = names.checkpoint(name, names.place(*key, part), samples, root)
            seed = rng.seed(recipe.seed, shard, "slice", *key, part)
            slices.append(Slice(key, part, start, stop, drop, samples, root, name, seed))
    return Plan(shard, tuple(slices))


def ending(recipe: Recipe, ground: Ground, shard: int, name: bytes) -> Plan | None:
    """The part of a plan that ends with the checkpoint ``name``; None where no plan has it.

    Rows that came since then stand behind all others of their tier, and so before those of
    higher tiers: such a checkpoint is in no plan any more, and still saw no forgotten row.
    """
    for then in _earlier(ground):
        plan = make(recipe, then, shard)
        if name in plan.names:
            return Plan(shard, plan.slices[: plan.names.index(name) + 1])
    return None


def _earlier(ground: Ground) -> Iterator[Ground]:
    """The ground, and what it was before each later arrival that may stand between slices."""
    yield ground
    if len({tier for tier, _ in ground.batches}) > 1:
        for last in sorted({number for _, number in ground.batches}, reverse=True)[1:]:
            before = {key: batch for key, batch in ground.batches.items() if key[1] <= last}
            yield replace(ground, batches=before, memo={})


def ring_digest(ground: Ground) -> bytes:
    """What names say about a ring: nothing about its secret to whoever does not know it."""
    return digest("ring", ground.dataset.secret)


def clean_depths(recipe: Recipe, ground: Ground, places: Collection[Place]) -> dict[int, int]:
    """For each shard that learnt from these rows: how many of its checkpoints did not see them.

    No hash is computed: checkpoints before the first touched slice keep their names. So this
    costs the same for a slice of ten rows and of ten million.
    """
    first: dict[int, tuple[Key, int]] = {}
    for place in places:
        if _is_learnt(recipe, ground, place):
            shard, key, part = _position(recipe, ground, place)
            first[shard] = min(first.get(shard, (key, part)), (key, part))
    return {shard: _checkpoints_before(recipe, ground, shard, w) for shard, w in first.items()}


def rows_by_shard(recipe: Recipe, ground: Ground, places: Collection[Place]) -> dict[int, int]:
    """How many of these rows each shard learns, or learnt, from."""
    learnt = [place for place in places if _is_learnt(recipe, ground, place)]
    return dict(Counter(_position(recipe, ground, place)[0] for place in learnt))


def sizes(recipe: Recipe, ground: Ground, shard: int) -> list[int]:
    """How many samples each slice of a plan has, in order; no hash is computed."""
    counts = (
        _samples(recipe, ground, key, start, stop)
        for key, _, start, stop in _spans(recipe, ground, shard)
    )
    return [count for count in counts if count]


def kept(
    batch: Batch, start: int, stop: int, drop: NDArray[np.int64], conditions: tuple[Filter, ...]
) -> NDArray[np.bool_]:
    """Which rows of [start, stop) remain and satisfy the view's filters."""
    keep = np.ones(stop - start, np.bool_)
    keep[drop - start] = False
    if conditions:
        cells = batch.read([c.column for c in conditions], start, stop)
        keep &= filters.mask(conditions, batch.schema, cells)
    return keep


def _is_learnt(recipe: Recipe, ground: Ground, place: Place) -> bool:
    batch = ground.batches[place.tier, place.batch]
    nothing = np.empty(0, np.int64)
    return bool(kept(batch, place.ordinal, place.ordinal + 1, nothing, recipe.view.filters)[0])


def _position(recipe: Recipe, ground: Ground, place: Place) -> tuple[int, Key, int]:
    """Shard, and slice in it, of one row."""
    key = (place.tier, place.batch)
    point = ground.batches[key].key(place.ordinal) * recipe.shards
    shard, rest = point >> 64, point & (ring.SIZE - 1)
    return shard, key, rest * _parts(recipe, ground, key) >> 64


def _checkpoints_before(recipe: Recipe, ground: Ground, shard: int, where: tuple[Key, int]) -> int:
    """How many slices with rows stand before slice ``where`` of a shard."""
    return sum(
        _samples(recipe, ground, key, start, stop) > 0
        for key, part, start, stop in _spans(recipe, ground, shard)
        if (key, part) < where
    )


def _samples(recipe: Recipe, ground: Ground, key: Key, start: int, stop: int) -> int:
    """How many rows of [start, stop) the view learns from; a cell is read only by its filters."""
    drop = ground.gone_between(key, start, stop)
    if not recipe.view.filters:
        return stop - start - len(drop)
    return int(kept(ground.batches[key], start, stop, drop, recipe.view.filters).sum())


def _parts(recipe: Recipe, ground: Ground, key: Key) -> int:
    return recipe.slices if key[1] == 0 else ground.batches[key].parts


def _first_name(recipe: Recipe, ground: Ground, shard: int) -> bytes:
    # The ring's secret decides the visiting order, and the shard decides the seeds: equal
    # names must mean equal bytes, so both are in the name.
    return names.constituent(recipe.digest, ring_digest(ground), shard)


def _spans(recipe: Recipe, ground: Ground, shard: int) -> Iterator[tuple[Key, int, int, int]]:
    for key, batch in ground.batches.items():
        parts = _parts(recipe, ground, key)
        for part, (start, stop) in enumerate(_batch_spans(batch, shard, recipe.shards, parts)):
            if stop > start:
                yield key, part, start, stop


def _batch_spans(batch: Batch, shard: int, shards: int, parts: int) -> list[tuple[int, int]]:
    def spans() -> list[tuple[int, int]]:
        return [batch.span(*ring.bounds(shard, shards, part, parts)) for part in range(parts)]

    return _remembered(batch, (shard, shards, parts), spans)


def _root(
    batch: Batch, start: int, stop: int, drop: NDArray[np.int64], conditions: tuple[Filter, ...]
) -> tuple[int, bytes]:
    """How many rows a slice has, and the root over their leaves; remembered."""
    what = (start, stop, sha256(drop.tobytes()).digest(), conditions)
    return _remembered(batch, what, lambda: _hash(batch, start, stop, drop, conditions))


def _remembered(batch: Batch, what: tuple[Any, ...], compute: Callable[[], T]) -> T:
    known = _REMEMBERED.setdefault(batch, {})
    value: T | None = known.get(what)
    if value is None:
        if len(known) >= _MOST_REMEMBERED:
            known.clear()  # what is lost costs its hashes again, nothing else
        known[what] = value = compute()
    return value


def _hash(
    batch: Batch, start: int, stop: int, drop: NDArray[np.int64], conditions: tuple[Filter, ...]
) -> tuple[int, bytes]:
    keep = kept(batch, start, stop, drop, conditions)
    if not keep.any():
        return 0, b""
    if (batch.erased(start, stop) & keep).any():
        # Erased, and yet not forgotten: the database is older than its files.
        raise DataCorrupt("The database, which does not know that rows were erased,")
    rows = batch.leaves(start, stop)[keep]
    return len(rows), leaves.root(rows)
