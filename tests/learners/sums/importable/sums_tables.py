"""Small tables for learners that are made of sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import expunge
from expunge.core.types import Column, Kind, Role, Task
from expunge.learners.protocol import Samples, Step

NUMBERS = tuple(
    Column(name, Role.FEATURE, Kind.NUMERIC, "float64", low=0, high=1) for name in "abcd"
)
KIND = Column("kind", Role.VALUE, Kind.CATEGORICAL, "int32", categories=("x", "y", "z", "never"))
PRICE = Column("price", Role.VALUE, Kind.NUMERIC, "float64", low=-4, high=4)
COST = Column("cost", Role.VALUE, Kind.NUMERIC, "float64", low=-4, high=4)


@dataclass(frozen=True)
class Table:
    """Rows, and what to learn from them."""

    task: Task
    cells: dict[str, NDArray[Any]]
    targets: NDArray[Any]
    weights: NDArray[np.float64] | None = None

    def pick(self, learner, rows) -> Samples:
        """Some rows as samples."""
        return Samples(
            tokens=np.asarray(rows, np.uint64),
            inputs=learner.encode(self.task, {name: c[rows] for name, c in self.cells.items()}),
            targets=self.targets[rows],
            weights=None if self.weights is None else self.weights[rows],
        )

    def learn(self, learner, rows, parent=None) -> bytes:
        """The state after some rows."""
        return learner.learn(self.task, parent, self.pick(learner, rows), Step(1, 1.0))

    def change(self, learner, state, gone=(), come=()) -> bytes:
        """The state without some rows and with others."""
        moved = [self.pick(learner, np.array(r, int)) if len(r) else None for r in (gone, come)]
        return learner.change(self.task, state, *moved)

    def predict(self, learner, state) -> NDArray[np.float64]:
        """What a state says about all rows."""
        return learner.predictor(self.task, [state])(learner.encode(self.task, self.cells))[0]


def table(*targets: Column, rows: int = 200, weighted: bool = False, seed: int = 0) -> Table:
    """Rows whose targets follow from their features, and some noise."""
    rng = np.random.default_rng(seed)
    cells = {column.name: np.rint(rng.uniform(0, 1, rows) * 255) / 255 for column in NUMBERS}
    noise = rng.normal(size=rows) / 10
    values = {
        "kind": np.digitize(cells["a"] + cells["b"] ** 2 + noise, [0.6, 1.1]),
        "price": cells["a"] - 2 * cells["c"] + noise,
        "cost": cells["d"] * 2 - 1 + noise,
    }
    found = [values[target.name] for target in targets]
    return Table(
        task=Task(NUMBERS, targets),
        cells=cells,
        targets=found[0] if targets[0] is KIND else np.stack(found, axis=1),
        weights=rng.integers(0, 9, rows) / 4 if weighted else None,
    )


LEARNERS = {
    "ridge": expunge.Ridge(),
    "least squares": expunge.Ridge(penalty=0.0),
    "lda": expunge.LDA(),
    "gaussian": expunge.GaussianBayes(),
    "multinomial": expunge.MultinomialBayes(),
    "bernoulli": expunge.BernoulliBayes(above=127),
}
TARGETS = {"classes": (KIND,), "a number": (PRICE,), "two numbers": (PRICE, COST)}
CASES = [
    pytest.param(learner, table(*targets, weighted=weighted), id=f"{name}-{what}-{weighted}")
    for name, learner in LEARNERS.items()
    for what, targets in TARGETS.items()
    for weighted in (False, True)
    if what == "classes" or isinstance(learner, expunge.Ridge)
]
