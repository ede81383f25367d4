"""Rows that an audit asks models about: forgotten, staying and never seen ones, encoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from expunge import learners
from expunge.core import rng
from expunge.core.errors import InputError
from expunge.core.types import Task
from expunge.data import sql as data_sql
from expunge.data import table
from expunge.data.datasets import Ground, Key
from expunge.data.places import Change
from expunge.learners.protocol import Inputs
from expunge.metrics import signals
from expunge.metrics.arrays import Labels, Numbers
from expunge.training import loading, sql
from expunge.training import plan as plans
from expunge.training import recipe as recipes
from expunge.training.ensemble import Ensemble
from expunge.training.loading import Source
from expunge.training.sql import Model
from expunge.verify.shadows import Ordinals

# So much of doubt is mixed into answers: what a model that is quite certain is held to.
_SMOOTH: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows as a learner takes them.

    Attributes:
        inputs: Encoded features, n rows.
        classes: True classes by number, (n,).
    """

    inputs: Inputs
    classes: Labels

    def __len__(self) -> int:
        return len(self.classes)

    def answers(self, model: Ensemble) -> Numbers:
        """Probabilities that a model gives, (n, classes)."""
        return np.asarray(model.answer(self.inputs), dtype=np.float64)

    def phi(self, answers: Numbers) -> Numbers:
        """How sure these answers are of the truth, in nats, within ±13.8: (n,).

        One in a million is mixed in, so that models which are certain, as trees are, do not
        count for more than others.
        """
        mixed = (answers + _SMOOTH) / (1 + _SMOOTH * answers.shape[1])
        return signals.phi(mixed / mixed.sum(axis=1, keepdims=True), self.classes)


def task_of(model: Model, ground: Ground) -> Task:
    """The columns of a model.

    Raises:
        InputError: It is a regression, which has no probabilities to audit.
    """
    task = recipes.task(model.recipe.view, ground.dataset.schema)
    if not task.classes:
        raise InputError(
            f"Model {model.name!r} is a regression. An audit compares probabilities of classes; "
            f"build it again instead (`verify`), which shows more."
        )
    return task


def given(model: Model, ground: Ground, rows: Any, name: str) -> Rows:  # noqa: ANN401 - any table
    """Rows of the caller's own, with the view's features and its target.

    Raises:
        ColumnUnknown: A column is missing.
        CellInvalid: A cell does not fit its column.
        InputError: There are no rows, or a class is not declared.
    """
    task = task_of(model, ground)
    cells = table.cells((*task.features, *task.targets), rows)
    classes = np.asarray(cells[task.targets[0].name]).astype(np.int64)
    if not len(classes) or classes.min() < 0:
        raise InputError(
            f"`{name}` has {len(classes):,} rows, {(classes < 0).sum():,} of them of a class that "
            f"is not declared. Expected at least one row, and the classes that the model knows."
        )
    learner = learners.from_json(model.recipe.learner)
    features = {column.name: cells[column.name] for column in task.features}
    return Rows(learner.encode(task, features), classes)


def picked(model: Model, ground: Ground, rows: Ordinals) -> Rows | None:
    """Rows of the home; None where none is named.

    Raises:
        PlanStale: One was erased meanwhile.
    """
    folders = {key: batch.folder for key, batch in ground.batches.items()}
    source = Source(folders, model.recipe.view, task_of(model, ground))
    found = loading.pick(source, learners.from_json(model.recipe.learner), rows)
    return None if found is None else Rows(found.inputs, found.targets)


def held(transaction: sa.Connection, model: Model, ground: Ground) -> Ordinals:
    """Rows that the model forgot since its first version, and that are not erased yet."""
    first = sql.first_clean_to(transaction, model.id)
    behind = (one for one in data_sql.forgotten(transaction, model.dataset) if one.number > first)
    counting = {"", *model.scopes}
    found = {}
    for key, ordinals in _by_batch(one for one in behind if one.scope in counting).items():
        at = ordinals[ground.is_gone(key, ordinals, "")]  # not those that came back
        at = at[~ground.batches[key].pick_erased(at)] if len(at) else at
        found[key] = at[_is_learnt(model, ground, key, at)] if len(at) else at
    return {key: at for key, at in found.items() if len(at)}


def check_alike(model: Model, ground: Ground, strangers: Ground) -> None:
    """See that another dataset's rows can be asked about as the model's own.

    Raises:
        InputError: It is the model's own dataset, or it declares the columns otherwise.
    """
    if strangers.dataset.id == ground.dataset.id:
        raise InputError("Rows that no model saw cannot come from the model's own dataset.")
    if task_of(model, strangers) != task_of(model, ground):
        raise InputError(
            f"The columns of model {model.name!r} are not declared alike in that dataset. Ingest it "
            f"with `schema=` of the one that the model learns from."
        )


def drawn(ground: Ground, rows: Ordinals, most: int, key: int) -> Ordinals:
    """At most so many of some rows, by a keyed draw: others come or go, and these stay."""
    mixed = {
        name: rng.mix(ground.batches[name].tokens(0, ground.batches[name].rows)[at], key)
        for name, at in rows.items()
    }
    everything = np.concatenate([np.empty(0, np.uint64), *mixed.values()])
    if len(everything) <= most:
        return rows
    last = np.partition(everything, most - 1)[most - 1]
    return {name: at[mixed[name] <= last] for name, at in rows.items()}


def _by_batch(changes: Iterable[Change]) -> dict[Key, NDArray[np.int64]]:
    found: dict[Key, set[int]] = {}
    for one in changes:
        found.setdefault((one.tier, one.batch), set()).add(one.ordinal)
    return {key: np.array(sorted(at), np.int64) for key, at in sorted(found.items())}


def _is_learnt(
    model: Model, ground: Ground, key: Key, ordinals: NDArray[np.int64]
) -> NDArray[np.bool_]:
    batch, nothing = ground.batches[key], np.empty(0, np.int64)
    start, stop = int(ordinals[0]), int(ordinals[-1]) + 1
    kept = plans.kept(batch, start, stop, nothing, model.recipe.view.filters)
    return kept[ordinals - start]
