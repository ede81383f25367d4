"""Plans: what each constituent should be, by name, from the samples that remain.

A plan is a pure function of recipe, ring and ground. Comparing its names with what rests in
a pack says what to keep, what to destroy and what to build.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from expunge.core import merkle, rng
from expunge.core.digest import digest
from expunge.core.types import Filter
from expunge.data import filters, ring
from expunge.data.batch import Batch
from expunge.data.datasets import Ground, Key
from expunge.training.recipe import Recipe


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
        root: RFC 6962 root over their commitments.
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
    name = _first_name(recipe, ground, shard)
    slices = []
    for key, part, start, stop in _spans(recipe, ground, shard):
        drop = ground.gone_between(key, start, stop)
        samples, root = _root(ground.batches[key], start, stop, drop.tobytes(), recipe.view.filters)
        if samples:
            place = ("slice", *key, part)
            name = digest("checkpoint", name, ":".join(map(str, place)).encode(), root)
            seed = rng.seed(recipe.seed, shard, *place)
            slices.append(Slice(key, part, start, stop, drop, samples, root, name, seed))
    return Plan(shard, tuple(slices))


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


def slice_root(commitments: NDArray[np.uint8]) -> bytes:
    """RFC 6962 root over row commitments, (n, 32), in ring order."""
    raw = commitments.tobytes()
    return merkle.root([merkle.leaf_hash(raw[i : i + 32]) for i in range(0, len(raw), 32)])


def _first_name(recipe: Recipe, ground: Ground, shard: int) -> bytes:
    # The ring's secret decides the visiting order, and the shard decides the seeds: equal
    # names must mean equal bytes, so both are in the name.
    ring_digest = digest("ring", ground.dataset.secret)
    return digest("constituent", recipe.digest, ring_digest, shard.to_bytes(4, "little"))


def _spans(recipe: Recipe, ground: Ground, shard: int) -> Iterator[tuple[Key, int, int, int]]:
    for key, batch in ground.batches.items():
        parts = recipe.slices if key[1] == 0 else batch.parts
        for part, (start, stop) in enumerate(_batch_spans(batch, shard, recipe.shards, parts)):
            if stop > start:
                yield key, part, start, stop


@lru_cache(maxsize=4096)
def _batch_spans(batch: Batch, shard: int, shards: int, parts: int) -> list[tuple[int, int]]:
    return [batch.span(*ring.bounds(shard, shards, part, parts)) for part in range(parts)]


# Bounded by entries of about 200 bytes; a lost entry costs its hashes again, nothing else.
@lru_cache(maxsize=200_000)
def _root(
    batch: Batch, start: int, stop: int, drop: bytes, conditions: tuple[Filter, ...]
) -> tuple[int, bytes]:
    keep = kept(batch, start, stop, np.frombuffer(drop, np.int64), conditions)
    if not keep.any():
        return 0, b""
    commitments = batch.commitments(start, stop)
    return int(keep.sum()), slice_root(commitments if keep.all() else commitments[keep])
