"""What models can be built from again, and judged by: in a home, or in a package that left one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from expunge.core.names import shard_of
from expunge.data import sql as data_sql
from expunge.data.batch import Batch
from expunge.data.datasets import Ground, Key
from expunge.data.integrity import Roots, changed_roots, changed_rows, recorded_roots
from expunge.data.places import EVERYTHING, Change
from expunge.data.ring import SIZE, Ring
from expunge.training import scopes
from expunge.training.recipe import Recipe
from expunge.training.site import Site


@dataclass(frozen=True, slots=True)
class Basis:
    """One dataset at one moment, and the recipes of the models that learn from it.

    Attributes:
        ground: Of the whole dataset, with what is gone for some of these models besides.
        recipes: By the models' random ids, which are their folders' names.
        roots: What was recorded of each batch when it came.
        forgotten: The tombstones that count for some of these models, by number.
        lifted: The rows that came back to some of them, by number.
        hashes: Leaf hashes of forgotten rows by batch and ordinal, where leaves are not there.
    """

    ground: Ground
    recipes: Mapping[str, Recipe]
    roots: Roots
    forgotten: tuple[Change, ...]
    lifted: tuple[Change, ...] = ()
    hashes: Mapping[Key, Mapping[int, bytes]] = field(default_factory=dict)

    def ground_of(self, model: str) -> Ground:
        """What one of the models may learn from, by its random id."""
        return self.ground.under(self._scopes(model))

    def changed_rows(self) -> int:
        """How many remaining rows are not what they were when they came. About 4 µs a row."""
        ring, none = Ring(self.ground.dataset.secret), np.empty(0, np.int64)
        return sum(
            changed_rows(batch, self.ground.gone.get(key, none), ring)
            for key, batch in self.ground.batches.items()
        )

    def changed_roots(self, roots: Roots | None = None) -> int:
        """How many batches are not those of which roots were recorded. About 1.5 µs a row.

        Args:
            roots: From a source that is believed more than this one.
        """
        return changed_roots(self.ground, self.roots if roots is None else roots, self.hashes)

    def touched_since(self, number: int | None, model: str) -> set[int]:
        """Shards of a model that rows left, or came back to, behind ``number``; None: ever.

        Of a row whose key is not there, all shards in which it may have been.
        """
        counting = {EVERYTHING, *self._scopes(model)}
        behind = [
            change
            for change in (*self.forgotten, *self.lifted)
            if change.scope in counting and (number is None or change.number > number)
        ]
        behind.sort(key=_key)
        shards, found = self.recipes[model].shards, set[int]()
        for key, changes in groupby(behind, key=_key):
            ordinals = np.array([change.ordinal for change in changes], np.int64)
            for low, high in zip(*self._between(key, ordinals), strict=True):
                found.update(range(shard_of(low, shards), shard_of(high, shards) + 1))
        return found

    def _scopes(self, model: str) -> tuple[str, ...]:
        return scopes.counting_for(model, self.recipes[model])

    def _between(self, key: Key, ordinals: NDArray[np.int64]) -> tuple[list[int], list[int]]:
        """Least and greatest key that each of these rows may have."""
        batch = self.ground.batches[key]
        keys = batch.keys(0, batch.rows)
        greatest = keys[ordinals]
        is_blank = self.ground.is_gone(key, ordinals)
        if key in self.hashes and is_blank.any():
            # The row before them that is not blank has their keys; so look for the one behind.
            gone = self.ground.gone[key]
            ends = gone[np.append(np.flatnonzero(np.diff(gone) != 1), len(gone) - 1)]
            behind = ends[np.searchsorted(ends, ordinals[is_blank])] + 1
            greatest[is_blank] = np.append(keys, np.uint64(SIZE - 1))[behind]
        return keys[ordinals].tolist(), greatest.tolist()


def _key(change: Change) -> Key:
    return change.tier, change.batch


def in_home(site: Site, transaction: sa.Connection, dataset: int) -> Basis:
    """A dataset of a home as ``transaction`` sees it, with all models that learn from it.

    What the engine has remembered about it is not used.
    """
    known = site.ground(transaction, dataset)
    opened = {key: Batch(batch.folder) for key, batch in known.batches.items()}
    models = site.models_of(transaction, dataset)
    counting = {EVERYTHING}.union(*(model.scopes for model in models))
    return Basis(
        ground=replace(known, batches=opened, memo={}),
        recipes={model.folder.name: model.recipe for model in models},
        roots=recorded_roots(transaction, known.dataset.folder.name),
        forgotten=_in(counting, data_sql.forgotten(transaction, dataset)),
        lifted=_in(counting, data_sql.lifted(transaction, dataset)),
    )


def _in(counting: Collection[str], changes: Iterable[Change]) -> tuple[Change, ...]:
    return tuple(change for change in changes if change.scope in counting)
