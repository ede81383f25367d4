"""Grounds from rows, without a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from expunge.core.types import Column, Kind, Role, Schema, View
from expunge.data.batch import Batch
from expunge.data.datasets import Ground
from expunge.data.ingest import Arrival, stage
from expunge.data.options import Ingest
from expunge.data.ring import Ring
from expunge.data.sql import Dataset
from expunge.training.recipe import Recipe

SECRET = bytes(range(32))
TIERS = ("low", "high")


@dataclass
class Land:
    """A dataset that grows batch by batch.

    Attributes:
        tiers: Whether rows have a tier, as the third part of a row.
    """

    root: Path
    tiers: bool = False
    batches: dict[tuple[int, int], Batch] = field(default_factory=dict)
    gone: dict[tuple[int, int], Any] = field(default_factory=dict)

    @property
    def schema(self) -> Schema:
        columns = [
            Column("id", Role.ID, Kind.TEXT, "str"),
            Column("who", Role.SUBJECT, Kind.TEXT, "str"),
            Column("x", Role.FEATURE, Kind.NUMERIC, "float32", low=0.0, high=10.0),
            Column("y", Role.VALUE, Kind.CATEGORICAL, "int32", categories=("no", "yes")),
        ]
        if self.tiers:
            columns.append(Column("tier", Role.TIER, Kind.CATEGORICAL, "int32", categories=TIERS))
        return Schema(tuple(columns))

    def add(
        self,
        names: Sequence[str],
        tier: Sequence[str] = (),
        parts: int = 1,
        who: Sequence[str] = (),
    ) -> None:
        """Append a batch of one row per name; a row's subject is of its id, its salt known."""
        number = 1 + max((key[1] for key in self.batches), default=-1)
        salts = [bytes([number + 1]) * 15 + bytes([i % 256]) for i in range(len(names))]
        rows: dict[str, Any] = {
            "id": list(names),
            "who": list(who) or [f"of {name}" for name in names],
            "x": np.arange(len(names), dtype=np.float32),
            "y": ["yes" if i % 2 else "no" for i in range(len(names))],
            "expunge:salt": pa.array(salts, pa.binary(16)),
        }
        if self.tiers:
            rows["tier"] = list(tier)
        options = Ingest(schema=self.schema, salts="expunge:salt", slices=parts)
        folder = self.root / str(number)
        for batch in stage(pa.table(rows), folder, Arrival(Ring(SECRET), number), options).batches:
            self.batches[batch.tier, batch.number] = Batch(batch.folder)

    def forget(self, key: tuple[int, int], *ordinals: int) -> None:
        """Forget rows of a batch."""
        before = self.gone.get(key, np.empty(0, np.int64))
        self.gone[key] = np.union1d(before, np.array(ordinals, np.int64))

    @property
    def ground(self) -> Ground:
        dataset = Dataset(1, "d", self.root, SECRET, self.schema, 0)
        return Ground(dataset, dict(sorted(self.batches.items())), dict(self.gone), 0)

    def recipe(self, shards: int = 1, slices: int = 2, **view: Any) -> Recipe:
        """A recipe of a learner that nobody runs."""
        learner = {"fields": {"rounds": 3}, "name": "xgboost", "revision": 1}
        found = replace(View(("y",), ("x",)), **view)
        return Recipe(found, learner, shards, slices, 5, self.schema.digest.hex())


@pytest.fixture
def land(tmp_path: Path) -> Land:
    return Land(tmp_path / "land")


@pytest.fixture(scope="session")
def shared_land(tmp_path_factory: pytest.TempPathFactory) -> Land:
    """One for many examples of hypothesis: they may change which rows are gone, nothing else."""
    return Land(tmp_path_factory.mktemp("land") / "land")


@pytest.fixture
def tiered(tmp_path: Path) -> Land:
    return Land(tmp_path / "land", tiers=True)
