"""What the tests of the service share: a home with a model of three shards, and its workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from expunge.execution.local import Executor, Inline
from expunge.home import Home
from expunge.requests import units
from expunge.requests.unit_tables import UNITS
from expunge.requests.units import Unit
from expunge.service.inprocess import InProcessQueue
from expunge.service.worker import Worker, WorkerSettings
from expunge.testing.fakes import Tiny, people
from expunge.training import sql as training_sql
from expunge.training.recipe import Sharded
from expunge.training.sql import Model

FAST = WorkerSettings(lease_s=60.0, beat_s=0.2, sweep_s=0.2, attempts=3, backoff_s=0.05)


class Office:
    """A home with a model of three shards, and workers for it."""

    def __init__(self, home: Home) -> None:
        self.home, self.site = home, home.site
        self.workers: list[Worker] = []
        self.queue = InProcessQueue()

    def worker(self, executor: Executor | None = None, settings: WorkerSettings = FAST) -> Worker:
        self.workers.append(Worker(self.site, executor or Inline(), self.queue, settings))
        return self.workers[-1]

    def model(self) -> Model:
        with self.site.database.reading() as transaction:
            return self.site.model(transaction, "m")

    def want(self, *shards: int, request: str = "r") -> list[int]:
        """As after a request: units for these shards, whose constituents are set back."""
        model = self.model()
        with self.site.database.transaction() as transaction:
            self.site.locked_ground(transaction, model.dataset)
            return units.want(transaction, model, shards, [request])

    def forget(self, *samples: str) -> list[str]:
        """Forget, and want what that touches."""
        return [self.home.forget(sample).request for sample in samples]

    def unfinished(self) -> list[Unit]:
        with self.site.database.reading() as transaction:
            return units.all_unfinished(transaction)

    def end_leases(self) -> None:
        """As if those that workers have had run out."""
        with self.site.database.transaction() as transaction:
            transaction.execute(UNITS.update().values(until=0.0))

    def unit(self, number: int) -> Any:
        with self.site.database.reading() as transaction:
            return transaction.execute(UNITS.select().where(UNITS.c.id == number)).one()

    def names(self) -> list[bytes | None]:
        with self.site.database.reading() as transaction:
            version = training_sql.current(transaction, self.model().id)
        assert version is not None
        assert version.whole
        return [c.frame.name if c.frame else None for c in version.constituents]

    def rebuilt(self) -> int:
        return sum(fact.kind == "unit.rebuilt" for fact in self.home.facts())

    def rows(self, count: int = 3) -> list[str]:
        return [f"s{n}" for n in range(count)]

    def check_exact(self) -> None:
        """All requests are done, and the model is the build that never saw what they named."""
        assert {str(request.state) for request in self.home.requests()} <= {"done"}
        assert self.home.verify("m").exact
        self.names()


@pytest.fixture
def office(place: dict[str, Any], opened: Callable[..., Home]) -> Iterator[Office]:
    home = opened(**place)
    home.ingest("people", people(60), id="id", subject="who", values=["y"])
    home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), shards=3, slices=2))
    office = Office(home)
    yield office
    office.queue.close()
    for worker in office.workers:
        worker.stop()
    assert all(worker.join(120) for worker in office.workers)


def wait_for(what: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)
