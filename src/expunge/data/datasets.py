"""A dataset at one moment: its batches and which of their rows are gone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from expunge.data import sql
from expunge.data.batch import Batch

Key: TypeAlias = tuple[int, int]
"""(tier, batch number): the order of slices."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a plan stands on.

    Attributes:
        batches: In the order of slices.
        gone: Sorted ordinals of forgotten rows, for each batch that has some.
        tombstones: Number of the last tombstone that is counted in.
        memo: What was derived from this ground, by what it is; for whoever derives it.
    """

    dataset: sql.Dataset
    batches: Mapping[Key, Batch]
    gone: Mapping[Key, NDArray[np.int64]]
    tombstones: int
    memo: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def gone_between(self, key: Key, start: int, stop: int) -> NDArray[np.int64]:
        """Forgotten ordinals of batch ``key`` in [start, stop)."""
        gone = self.gone.get(key)
        if gone is None:
            return np.empty(0, np.int64)
        return gone[np.searchsorted(gone, start) : np.searchsorted(gone, stop)]

    def without(self, places: Collection[sql.Place]) -> Ground:
        """This ground with further rows gone, as a transaction that adds tombstones leaves it.

        It is not remembered: the transaction may still be rolled back.
        """
        added = [(place.tier, place.batch, place.ordinal) for place in places]
        last = self.tombstones + len(places)
        return Ground(self.dataset, self.batches, _join(self.gone, added), last)

    def is_gone(self, key: Key, ordinals: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these rows were forgotten."""
        return np.isin(ordinals, self.gone.get(key, np.empty(0, np.int64)))


@dataclass(slots=True)
class Grounds:
    """Loads grounds, and reads only the tombstones that are new since the last time."""

    root: Path
    _known: dict[int, Ground] = field(default_factory=dict)
    _batches: dict[Path, Batch] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def load(self, transaction: sa.Connection, dataset: sql.Dataset) -> Ground:
        """The ground as ``transaction`` sees it."""
        with self._lock:
            batches = {
                key: self._open(dataset.folder / folder)
                for key, folder in sql.batch_folders(transaction, dataset.id).items()
            }
            known = self._known.get(dataset.id)
            if known is not None and known.dataset == dataset and known.batches == batches:
                return known
            gone, since = self._seen(dataset)
            added = (
                sql.places_after(transaction, dataset.id, since)
                if since < dataset.tombstones
                else []
            )
            ground = Ground(dataset, batches, _join(gone, added), dataset.tombstones)
            self._known[dataset.id] = ground
            return ground

    def _seen(self, dataset: sql.Dataset) -> tuple[Mapping[Key, NDArray[np.int64]], int]:
        known = self._known.get(dataset.id)
        # A reader in an older transaction than the last one must not see what it cannot.
        if known is None or known.tombstones > dataset.tombstones:
            return {}, 0
        return known.gone, known.tombstones

    def _open(self, folder: Path) -> Batch:
        if folder not in self._batches:
            self._batches[folder] = Batch(folder)
        return self._batches[folder]


def _join(
    gone: Mapping[Key, NDArray[np.int64]], added: list[tuple[int, int, int]]
) -> dict[Key, NDArray[np.int64]]:
    fresh: dict[Key, list[int]] = {}
    for tier, batch, ordinal in added:
        fresh.setdefault((tier, batch), []).append(ordinal)
    joined = dict(gone)
    for key, ordinals in fresh.items():
        earlier = gone.get(key, np.empty(0, np.int64))
        joined[key] = np.union1d(earlier, np.array(ordinals, np.int64))
    return joined
