"""What happens to a dataset and its model before :func:`check_exact` looks: operations."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from expunge.core import rng
from expunge.core.digest import Json
from expunge.core.types import Role
from expunge.data.datasets import Ground, Key
from expunge.data.ring import Ring
from expunge.execution.local import Executor, Inline, Report
from expunge.home import Home
from expunge.testing.state import NotExact
from expunge.training import plan as plans
from expunge.training.plan import Plan, Slice
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
        forgotten: Rows that were forgotten.
    """

    def __init__(self, home: Home, dataset: str, name: str, recipe: Sharded, turns: Turns) -> None:
        self.home, self.dataset = home, dataset
        self._name, self._recipe, self._turns = name, recipe, turns
        self.changed = 0
        self.forgotten = 0

    @property
    def model(self) -> Model:
        """The model's row."""
        with self.home.site.database.reading() as transaction:
            return self.home.site.model(transaction, self._name)

    def ground(self) -> Ground:
        """The dataset at this moment."""
        with self.home.site.database.reading() as transaction:
            dataset = self.home.site.dataset(transaction, self.dataset)
            ground = self.home.site.grounds.load(transaction, dataset)
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
        return [str(one) for one in ids[_kept(self.model, ground, part)]]

    def forget(self, samples: Sequence[str] = (), subjects: Sequence[str] = ()) -> None:
        """Forget, and check names and what is served at once. Nothing named: nothing done."""
        if not (samples or subjects):
            return
        ground, before = self.ground(), self.plans()
        gone = _find(ground, samples, subjects)
        self.home.forget(samples, subjects=subjects, dataset=self.dataset)
        self._check_clean()
        for old, new in zip(before, self.plans(), strict=True):
            self.changed += check_names(self.model, ground, old, new, gone)
        self.forgotten += sum(len(ordinals) for ordinals in gone.values())

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
        self.forgotten += receipt.accepted.samples

    def train(self) -> None:
        """Build what is missing, in this process."""
        self._turns.away = False
        learning = _learning(self.dataset, self.model)
        self.home.train(self._name, learning, self._recipe)

    def recover(self) -> None:
        """Build what is missing in another process, and destroy what was forgotten."""
        self._turns.away = True
        self.home.recover()

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
        version = self.home.model(self._name).version
        assert version is not None
        for plan, constituent in zip(self.plans(), version.constituents, strict=True):
            if constituent.frame and constituent.frame.name not in plan.names:
                message = f"Shard {plan.shard}: what is served has seen a forgotten sample."
                raise NotExact(message, shard=plan.shard, slice=None, what="version")


class Operation(Protocol):
    """A step of a script."""

    def __call__(self, scene: Scene) -> None:
        """Do it."""
        ...


@dataclass(frozen=True, slots=True)
class Forget:
    """Forget samples, subjects or both."""

    samples: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()

    def __call__(self, scene: Scene) -> None:
        """Do it."""
        scene.forget(self.samples, self.subjects)


@dataclass(frozen=True, slots=True)
class ForgetSome:
    """Forget a keyed choice of the rows that remain."""

    count: int
    seed: int = 0

    def __call__(self, scene: Scene) -> None:
        """Do it."""
        scene.forget([row.sample for row in scene.choose(self.count, self.seed)])


@dataclass(frozen=True, slots=True)
class ForgetFromEach:
    """Forget one sample of each shard, from one place in its chain.

    What comes before it is kept, so that a checkpoint which knew of later samples shows.

    Attributes:
        place: 0 is the first slice, 1 the last one.
    """

    place: float

    def __call__(self, scene: Scene) -> None:
        """Do it."""
        chains = [plan for plan in scene.plans() if plan.slices]
        slices = [round(self.place * (len(plan.slices) - 1)) for plan in chains]
        found = [scene.slice_rows(p, index) for p, index in zip(chains, slices, strict=True)]
        scene.forget([ids[len(ids) // 2] for ids in found])


@dataclass(frozen=True, slots=True)
class Append:
    """Append rows as a new batch, and train.

    Attributes:
        rows: Any source that ``Home.ingest`` takes, with the dataset's columns.
        slices: As in ``Home.ingest``.
        readmit: Whether forgotten ids may come back.
    """

    rows: Any
    slices: int = 1
    readmit: bool = False

    def __call__(self, scene: Scene) -> None:
        """Do it."""
        scene.append(self.rows, slices=self.slices, readmit=self.readmit)


@dataclass(frozen=True, slots=True)
class Correct:
    """Replace the rows that have the ids of these."""

    rows: Any

    def __call__(self, scene: Scene) -> None:
        """Do it."""
        scene.correct(self.rows)


@dataclass(frozen=True, slots=True)
class Recover:
    """Rebuild, and destroy what was forgotten, before the script goes on."""

    def __call__(self, scene: Scene) -> None:
        """Do it."""
        scene.recover()


def check_names(
    model: Model, ground: Ground, old: Plan, new: Plan, gone: dict[Key, NDArray[np.int64]]
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
    touched = [_held(model, ground, part, gone) for part in old.slices]
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


def _held(model: Model, ground: Ground, part: Slice, gone: dict[Key, NDArray[np.int64]]) -> bool:
    """Whether the model learnt from one of these rows in this slice."""
    ordinals = gone.get(part.key, np.empty(0, np.int64))
    inside = ordinals[(ordinals >= part.start) & (ordinals < part.stop)]
    return bool(_kept(model, ground, part)[inside - part.start].any())


def _kept(model: Model, ground: Ground, part: Slice) -> NDArray[np.bool_]:
    batch, filters = ground.batches[part.key], model.recipe.view.filters
    return plans.kept(batch, part.start, part.stop, part.drop, filters)


def _plans(model: Model, ground: Ground) -> list[Plan]:
    return [plans.make(model.recipe, ground, shard) for shard in range(model.recipe.shards)]


def _learning(dataset: str, model: Model) -> Any:  # noqa: ANN401 - of home
    from expunge.home import Learning

    return Learning(dataset, model.recipe.view)


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
