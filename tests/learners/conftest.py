"""A small table with mixed columns, as learners get it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from expunge.core.types import Column, Kind, Role, Task
from expunge.learners.protocol import Learner, Samples, Step

FEATURES = (
    Column("age", Role.FEATURE, Kind.NUMERIC, "float64", low=0, high=100, nullable=True),
    Column("hours", Role.FEATURE, Kind.NUMERIC, "int64", low=0, high=60),
    Column("job", Role.FEATURE, Kind.CATEGORICAL, "int32", categories=("a", "b", "c", "d")),
    Column("rooms", Role.FEATURE, Kind.CATEGORICAL, "int32", categories=(1, 2, 5)),
)
KIND = Column("kind", Role.VALUE, Kind.CATEGORICAL, "int32", categories=("x", "y", "z", "never"))
SIDE = Column("side", Role.VALUE, Kind.CATEGORICAL, "int32", categories=("low", "high"))
PRICE = Column("price", Role.VALUE, Kind.NUMERIC, "float64", low=0, high=5)
COST = Column("cost", Role.VALUE, Kind.NUMERIC, "float64", low=-5, high=5)


@dataclass(frozen=True)
class Table:
    """Rows and what to learn from them."""

    task: Task
    features: dict[str, NDArray[Any]]
    targets: NDArray[Any]
    weights: NDArray[np.float64]

    def samples(self, learner: Learner, rows: int | None = None, weighted: bool = False) -> Samples:
        """The first rows, encoded."""
        whole = Samples(
            tokens=np.arange(len(self.targets), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15),
            inputs=learner.encode(self.task, self.features),
            targets=self.targets,
            weights=self.weights if weighted else None,
        )
        return whole.first(len(whole) if rows is None else rows)

    def chain(self, learner: Learner, cuts: list[int], weighted: bool = False) -> list[bytes]:
        """The states after each of the slices that end at ``cuts``."""
        states: list[bytes] = []
        for k, rows in enumerate(cuts):
            parent = states[-1] if states else None
            samples = self.samples(learner, rows, weighted)
            states.append(learner.learn(self.task, parent, samples, Step(100 + k, 1 / len(cuts))))
        return states

    def predict(self, learner: Learner, states: list[bytes]) -> NDArray[np.float64]:
        """What the states say about all rows."""
        return learner.predictor(self.task, states)(learner.encode(self.task, self.features))


def _table(targets: tuple[Column, ...], rows: int = 160) -> Table:
    rng = np.random.default_rng(7)
    features: dict[str, NDArray[Any]] = {
        "age": rng.uniform(0, 100, rows),
        "hours": rng.integers(0, 60, rows),
        "job": rng.integers(-1, 4, rows).astype(np.int32),
        "rooms": rng.integers(0, 3, rows).astype(np.int32),
    }
    score = features["age"] / 50 + (features["job"] == 1) + features["hours"] / 60
    values = {
        "kind": np.digitize(score, [1.2, 2.0]),
        "side": (score > 1.5).astype(np.int64),
        "price": score,
        "cost": features["rooms"] - score,
    }
    found = [values[target.name] for target in targets]
    return Table(
        task=Task(FEATURES, targets),
        features=features,
        targets=found[0] if targets[0].kind is Kind.CATEGORICAL else np.stack(found, axis=1),
        weights=rng.uniform(0.5, 2, rows),
    )


@pytest.fixture(scope="session")
def kinds() -> Table:
    """Three classes, and a declared one that nobody has."""
    return _table((KIND,))


@pytest.fixture(scope="session")
def sides() -> Table:
    """Two classes."""
    return _table((SIDE,))


@pytest.fixture(scope="session")
def prices() -> Table:
    """One number."""
    return _table((PRICE,))


@pytest.fixture(scope="session")
def pairs() -> Table:
    """Two numbers."""
    return _table((PRICE, COST))


@pytest.fixture(scope="session", params=["kinds", "sides", "prices"])
def table(request: pytest.FixtureRequest) -> Table:
    """Each of them in turn."""
    found: Table = request.getfixturevalue(request.param)
    return found
