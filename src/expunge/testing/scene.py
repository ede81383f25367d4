"""A home with one dataset and one model, to which things happen that are checked on the way."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expunge.core import rng
from expunge.core.digest import Json
from expunge.core.types import Role
from expunge.data.datasets import Ground, Key
from expunge.data.ring import Ring
from expunge.execution.local import Executor, Inline, Report
from expunge.home import Home, Learning
from expunge.testing.names import check_names, kept_rows
from expunge.testing.state import NotExact
from expunge.training import plan as plans
from expunge.training.plan import Plan
from expunge.training.recipe import Sharded
from expunge.training.sql import Model


@dataclass
class Turns:
    """Trains in this process, and rebuilds in another one."""

    elsewhere: Executor
    here: Executor = field(default_factory=Inline)
    away: bool = False

    def run(
        self, function: str, arguments: Sequence[dict[str, Json]], report: Report
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """As :meth:`Executor.run`."""
        return (self.elsewhere if self.away else self.here).run(function, arguments, report)

    def kill(self) -> None:
        """As :meth:`Executor.kill`."""
        (self.elsewhere if self.away else self.here).kill()

    def close(self) -> None:
        """Leave both to their owners."""


@dataclass(frozen=True, slots=True)
class Row:
    """Where a row stands."""

    sample: str
    key: Key
    ordinal: int


class Scene:
    """A home with one dataset and one model, and what a script may do to them.

    Every change is checked on the way: forgetting a sample that the model learns from
    changes the names from its slice on and no other, and what is served at once is clean.

    Attributes:
        changed: Names of checkpoints that forgetting changed.
        corrected: Rows that were replaced.
        left: Ids that were forgotten, in order; some may have come back.
    """

    def __init__(self, home: Home, dataset: str, name: str, recipe: Sharded, turns: Turns) -> None:
        self.home, self.dataset = home, dataset
        self._name, self._recipe, self._turns = name, recipe, turns
        self.changed = self.corrected = 0
        self.left: list[str] = []
        self._trained = list(self.ground().batches)

    @property
    def model(self) -> Model:
        """The model's row."""
        with self.home.site.database.reading() as transaction:
            return self.home.site.model(transaction, self._name)

    def ground(self) -> Ground:
        """What the model may learn from at this moment."""
        with self.home.site.database.reading() as transaction:
            model = self.home.site.model(transaction, self._name)
            ground = self.home.site.ground_of(transaction, model)
        return replace(ground, memo={})  # what the engine remembered is not what we check it by

    def plans(self) -> list[Plan]:
        """What each constituent should be now."""
        return _plans(self.model, self.ground())

    def rows(self, *, gone: bool = False) -> list[Row]:
        """Rows that remain, or those that were forgotten and not destroyed; in slice order."""
        ground = self.ground()
        found = []
        for key, batch in ground.batches.items():
            column = batch.schema.of(Role.ID)[0].name
            ids = batch.read([column], 0, batch.rows)[column]
            is_gone = ground.is_gone(key, np.arange(batch.rows))
            there = np.flatnonzero(is_gone == gone).tolist()
            found += [Row(str(ids[ordinal]), key, ordinal) for ordinal in there]
        return found

    def slice_rows(self, plan: Plan, index: int) -> list[str]:
        """Ids of the samples that the model learns from in one slice, in ring order."""
        part, ground = plan.slices[index], self.ground()
        batch, column = ground.batches[part.key], ground.dataset.schema.of(Role.ID)[0].name
        ids = batch.read([column], part.start, part.stop)[column]
        return [str(one) for one in ids[kept_rows(self.model, ground, part)]]

    def forget(self, samples: Sequence[str] = (), subjects: Sequence[str] = ()) -> None:
        """Forget, and check names and what is served at once. Nothing named: nothing done."""
        if not (samples or subjects):
            return
        ground, before = self.ground(), self.plans()
        gone = _find(ground, samples, subjects)
        self.left += [row.sample for row in self.rows() if row.ordinal in gone[row.key]]
        self.home.forget(samples, subjects=subjects, dataset=self.dataset)
        self._check_clean()
        for old, new in zip(before, self.plans(), strict=True):
            self.changed += check_names(self.model, ground, old, new, gone)

    def append(self, rows: Any, *, slices: int = 1, readmit: bool = False) -> None:  # noqa: ANN401 - any source
        """Append rows and bring the model up to date, in this process."""
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            self.home.ingest(self.dataset, rows, slices=slices, readmit=readmit)
        self.train()

    def correct(self, rows: Any) -> None:  # noqa: ANN401 - any source
        """Correct rows by their ids."""
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            receipt = self.home.correct(rows, dataset=self.dataset)
        self._check_clean()
        self.corrected += receipt.accepted.samples

    def train(self) -> None:
        """Build what is missing, in this process."""
        self._turns.away = False
        learning = Learning(self.dataset, self.model.recipe.view)
        self.home.train(self._name, learning, self._recipe)
        self._trained = list(self.ground().batches)

    def recover(self) -> None:
        """Build what is missing in another process, and destroy what was forgotten."""
        self._turns.away = True
        self.home.recover()
        self._trained = list(self.ground().batches)

    def probe(self, most: int) -> int:
        """Take samples out one by one, on paper: names must change. Returns how many."""
        ground, model = self.ground(), self.model
        before = _plans(model, ground)
        chosen = [row for row in self.choose(most) if row.key in ground.batches]
        for row in chosen:
            gone = {row.key: np.array([row.ordinal], np.int64)}
            without = replace(ground, gone=_without(ground, gone), memo={})
            for old in before:
                new = plans.make(model.recipe, without, old.shard)
                check_names(model, ground, old, new, gone)
        return len(chosen)

    def choose(self, count: int, seed: int = 0) -> list[Row]:
        """A keyed choice of the rows that remain."""
        ground, rows = self.ground(), self.rows()
        tokens = Ring(ground.dataset.secret).tokens([row.sample for row in rows])
        return [rows[index] for index in rng.order(tokens, seed)[:count]]

    def _check_clean(self) -> None:
        """What is served is named by a plan without what was forgotten.

        Rows that were added and not trained yet may be missing: outdated is not unclean.
        """
        now, version = self.ground(), self.home.model(self._name).version
        older = replace(now, batches={key: now.batches[key] for key in self._trained}, memo={})
        assert version is not None
        clean = [_plans(self.model, ground) for ground in (now, older)]
        for shard, constituent in enumerate(version.constituents):
            names = {name for found in clean for name in found[shard].names}
            if constituent.frame and constituent.frame.name not in names:
                message = f"Shard {shard}: what is served has seen a forgotten sample."
                raise NotExact(message, shard=shard, slice=None, what="version")


def _plans(model: Model, ground: Ground) -> list[Plan]:
    return [plans.make(model.recipe, ground, shard) for shard in range(model.recipe.shards)]


def _find(
    ground: Ground, samples: Sequence[str], subjects: Sequence[str]
) -> dict[Key, NDArray[np.int64]]:
    ring, found = Ring(ground.dataset.secret), {}
    for key, batch in ground.batches.items():
        ordinals = batch.find_ids(sorted(samples), ring) if samples else np.empty(0, np.int64)
        each = [ordinals[ordinals >= 0], *(batch.find_subject(one, ring) for one in subjects)]
        all_of = np.unique(np.concatenate(each))
        found[key] = all_of[~ground.is_gone(key, all_of)]
    return found


def _without(ground: Ground, gone: dict[Key, NDArray[np.int64]]) -> dict[Key, NDArray[np.int64]]:
    none = np.empty(0, np.int64)
    keys = ground.gone.keys() | gone.keys()
    return {key: np.union1d(ground.gone.get(key, none), gone.get(key, none)) for key in keys}
