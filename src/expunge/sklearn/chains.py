"""Chains of checkpoints, one for each shard: a pure function of a recipe and of rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from expunge.core import rng
from expunge.core.types import Task
from expunge.data.ring import bounds
from expunge.learners.protocol import Inputs, Predictor, Samples, Step
from expunge.learners.seeding import one_thread
from expunge.sklearn.rows import Rows
from expunge.training.recipe import Sharded


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A constituent after a slice that has rows.

    Attributes:
        part: Number of the slice in its shard.
        samples: How many it has seen.
        weight: What they weigh together; their number where they have no weights.
        state: Canonical bytes of the learner.
    """

    part: int
    samples: int
    weight: float
    state: bytes


@dataclass(frozen=True)
class Chains:
    """All constituents of a model, as far as they are built.

    Attributes:
        chains: One for each shard, its checkpoints in order; each continues the one before.
    """

    recipe: Sharded
    task: Task
    rows: Rows
    chains: tuple[tuple[Checkpoint, ...], ...]

    @classmethod
    def empty(cls, recipe: Sharded, task: Task, rows: Rows) -> Chains:
        """Nothing is built yet."""
        return cls(recipe, task, rows, ((),) * recipe.shards)

    def without(self, gone: NDArray[np.bool_]) -> Chains:
        """Drop rows, and all checkpoints that saw one of them."""
        places = np.searchsorted(self._lows, self.rows.keys[gone], side="right") - 1
        chains = list(self.chains)
        for place in np.unique(places).tolist():
            shard, part = divmod(place, self.recipe.slices)
            chains[shard] = tuple(c for c in chains[shard] if c.part < part)
        return replace(self, rows=self.rows.take(~gone), chains=tuple(chains))

    def built(self) -> Chains:
        """Build what is missing. Costs the missing slices, each with all samples before it."""
        starts = np.append(np.searchsorted(self.rows.keys, self._lows), len(self.rows))
        with one_thread():
            chains = tuple(self._chain(shard, starts) for shard in range(self.recipe.shards))
        return replace(self, chains=chains)

    def inputs(self, x: NDArray[np.float64]) -> Inputs:
        """Encode rows for the learner."""
        cells = {column.name: x[:, i] for i, column in enumerate(self.task.features)}
        learner = self.recipe.learner
        none = learner.encode(self.task, {name: cell[:0] for name, cell in cells.items()})
        # A matrix of doubles is `x` itself, which must not be rounded to float32 on the way.
        if isinstance(none, np.ndarray) and none.dtype == x.dtype and none.shape[1:] == x.shape[1:]:
            return x
        return learner.encode(self.task, cells)

    def load(self) -> tuple[Predictor, NDArray[np.float64]] | None:
        """Predictor with the last checkpoint of each shard, and their weights; None of none."""
        last = [chain[-1] for chain in self.chains if chain]
        if not last:
            return None
        predictor = self.recipe.learner.predictor(self.task, [c.state for c in last])
        return predictor, np.array([c.weight for c in last])

    @cached_property
    def _lows(self) -> NDArray[np.uint64]:
        """Where each slice of each shard begins on the ring."""
        shards, parts = self.recipe.shards, self.recipe.slices
        lows = [bounds(s, shards, part, parts)[0] for s in range(shards) for part in range(parts)]
        return np.array(lows, np.uint64)

    def _chain(self, shard: int, starts: NDArray[np.int64]) -> tuple[Checkpoint, ...]:
        chain, parts = list(self.chains[shard]), self.recipe.slices
        ends = starts[shard * parts : (shard + 1) * parts + 1]
        chosen = np.flatnonzero(self.rows.alive[ends[0] : ends[-1]]) + ends[0]
        totals = np.searchsorted(chosen, ends[1:]).tolist()
        seen = chain[-1].samples if chain else 0
        if seen == totals[-1]:
            return tuple(chain)
        samples = self._samples(chosen)
        for part, total in enumerate(totals):
            if total > seen:  # a slice without rows neither trains nor enters the chain
                parent = chain[-1].state if chain else None
                chain.append(self._learnt(shard, part, parent, samples.first(total)))
                seen = total
        return tuple(chain)

    def _learnt(self, shard: int, part: int, parent: bytes | None, samples: Samples) -> Checkpoint:
        recipe = self.recipe
        # The home's seeds and schedule, for tier 0 and batch 0.
        step = Step(rng.seed(recipe.seed, shard, "slice", 0, 0, part), 2 / (recipe.slices + 1))
        state = recipe.learner.learn(self.task, parent, samples, step)
        weights = samples.weights
        weight = float(len(samples) if weights is None else weights.sum())
        return Checkpoint(part, len(samples), weight, state)

    def _samples(self, chosen: NDArray[np.int64]) -> Samples:
        rows = self.rows
        return Samples(
            tokens=rows.tokens[chosen],
            inputs=self.inputs(rows.x[chosen]),
            targets=rows.y[chosen],
            weights=None if rows.weights is None else rows.weights[chosen],
        )
