"""A small world: sixty rows about fifteen people, and a model of three shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from expunge.data import appending
from expunge.data.batch import Batch
from expunge.data.datasets import Ground
from expunge.home import Home, Model
from expunge.testing import state
from expunge.testing.fakes import Tiny, people
from expunge.training import plan as plans
from expunge.training.recipe import Sharded

SECRET = 2


@dataclass(frozen=True)
class World:
    """A home with one dataset, ``people``, and one model, ``m``."""

    home: Home
    model: Model

    def ground(self) -> Ground:
        with self.home.site.database.reading() as transaction:
            id_ = self.home.site.dataset(transaction, "people").id
            return self.home.site.ground(transaction, id_)

    def batch(self, number: int = 0) -> Batch:
        return self.ground().batches[0, number]

    def plan(self, shard: int) -> plans.Plan:
        return plans.make(self.model._row.recipe, self.ground(), shard)

    def rows_of(self, shard: int, *slices: int) -> list[str]:
        """Ids of the rows of a shard's first batch; of some slices, or of all."""
        found = self.plan(shard).slices
        chosen = [found[s] for s in slices] if slices else found
        ids = self.ids(0)
        return [i for part in chosen for i in ids[part.start : part.stop]]

    def ids(self, number: int = 0) -> list[str]:
        batch = self.batch(number)
        return batch.read(["id"], 0, batch.rows)["id"].tolist()

    def served(self) -> list[str | None]:
        return [c.frame.name.hex() if c.frame else None for c in self.model.version.constituents]

    def depths(self) -> list[int]:
        return [c.depth for c in self.model.version.constituents]

    def erased(self, number: int = 0) -> list[str]:
        """Numbers of the erased rows of a batch, by place in the ring."""
        batch = self.batch(number)
        return np.flatnonzero(batch.erased(0, batch.rows)).tolist()

    def units(self) -> int:
        """How many pieces were built so far."""
        return sum(fact.kind == "unit.rebuilt" for fact in self.home.facts())

    def check_whole(self, requests: Sequence[str] = ("done",)) -> None:
        """Every model is the build that never saw what was forgotten; nothing is held."""
        states = {str(request.state) for request in self.home.requests()}
        assert states <= set(requests)
        with self.home.site.database.reading() as transaction:
            models = self.home.site.all_models(transaction)
        for model in models:
            version = self.home.model(model.name).version
            for chain in state.read(model, version):
                own = self.ground().under(model.scopes)
                plan = plans.make(model.recipe, own, chain.shard)
                assert [c.name for c in chain.checkpoints] == [n.hex() for n in plan.names]
                assert chain.stray == 0
            assert self.home.verify(model.name).exact


@pytest.fixture
def world(home: Home, monkeypatch: pytest.MonkeyPatch) -> World:
    # A ring on which each of the six slices has at least two people.
    with monkeypatch.context() as patch:
        patch.setattr(appending.secrets, "token_bytes", lambda count: bytes([SECRET]) * count)
        home.ingest("people", people(60), id="id", subject="who")
    view = home.dataset("people").view("y")
    return World(home, home.train("m", view, Sharded(Tiny(), shards=3, slices=2)))


@pytest.fixture
def rows() -> dict[str, Any]:
    """The rows of the world."""
    return people(60)
