"""Ensembles: predict with all constituents of a version, and say which version it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expunge import learners
from expunge.core.errors import DataCorrupt, ModelWithdrawn
from expunge.core.types import Schema, Task
from expunge.learners.protocol import Features, Inputs, Learner, Predictor
from expunge.storage import packs
from expunge.training import recipe as recipes
from expunge.training.sql import Constituent, Model, Version


@dataclass(frozen=True, slots=True)
class Ensemble:
    """A version, loaded.

    Attributes:
        seen: Samples that each constituent has seen, (constituents,).
    """

    version: Version
    task: Task
    aggregate: str
    learner: Learner
    predictor: Predictor
    seen: NDArray[np.float64]

    def predict(self, features: Features) -> NDArray[np.float64]:
        """Probabilities (n, classes), or values (n, targets)."""
        return self.answer(self.learner.encode(self.task, features))

    def answer(self, inputs: Inputs) -> NDArray[np.float64]:
        """As :meth:`predict`, of rows that the learner has encoded."""
        each = self.predictor(inputs)
        if self.aggregate == "vote" and self.task.classes:
            return combine(ballots(each), np.ones_like(self.seen))
        return combine(each, self.seen)


def load(model: Model, version: Version, schema: Schema) -> Ensemble:
    """Read and verify all constituents of ``version``.

    Raises:
        ModelWithdrawn: No constituent is left.
        DataCorrupt: A checkpoint is not what the version says; if a newer version was
            published meanwhile, load that one.
    """
    standing = [c for c in version.constituents if c.frame is not None]
    if not standing:
        raise ModelWithdrawn(model.name)
    learner = learners.from_json(model.recipe.learner)
    task = recipes.task(model.recipe.view, schema)
    states = [state(model, constituent) for constituent in standing]
    seen = np.array([c.frame.samples for c in standing if c.frame], np.float64)
    return Ensemble(version, task, model.aggregate, learner, learner.predictor(task, states), seen)


def combine(each: NDArray[np.float64], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the constituents, weighted by samples seen: (c, n, k) and (c,) to (n, k)."""
    mean: NDArray[np.float64] = np.einsum("c,cnk->nk", seen / seen.sum(), each)
    return mean


def ballots(each: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn probabilities into votes: one for the likeliest class, (c, n, k) to (c, n, k)."""
    votes = np.zeros_like(each)
    np.put_along_axis(votes, each.argmax(axis=2)[:, :, None], 1.0, axis=2)
    return votes


def labels(task: Task, outputs: NDArray[np.float64]) -> NDArray[Any]:
    """Predicted classes, or values ((n,) where there is one target)."""
    if task.classes:
        classes: NDArray[Any] = np.asarray(task.classes)[outputs.argmax(axis=1)]
        return classes
    return outputs[:, 0] if outputs.shape[1] == 1 else outputs


def state(model: Model, constituent: Constituent) -> bytes:
    """The bytes of a constituent's checkpoint, verified."""
    assert constituent.pack is not None
    assert constituent.frame is not None
    with packs.reading(model.folder / constituent.pack) as pack:
        if pack is None:
            raise DataCorrupt(f"Pack {constituent.pack}")
        return pack.read(constituent.frame)


def names(constituents: Sequence[Constituent]) -> list[str | None]:
    """Names of the checkpoints that stand for the shards, hexadecimal."""
    return [c.frame.name.hex() if c.frame else None for c in constituents]
