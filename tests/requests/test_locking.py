"""Whoever inserts tombstones or publishes is alone: nobody acts on ground that is gone.

The one who comes first is held up right after it has read its ground. The other one must not
come as far as reading its own before the first has committed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import pytest
import sqlalchemy as sa

from expunge.data import sql as data_sql
from expunge.home import Home
from expunge.storage import database
from expunge.testing.fakes import Tiny, people
from expunge.training.recipe import Sharded
from expunge.training.site import Site

HELD_UP_S = 0.6

Work = Callable[[Home], object]


class Crossing:
    """Holds up the first that reads its ground; notes whether another reads before it commits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.crossed = False
        self._first_reads, self._committed, self._second_reads = Event(), Event(), Event()
        self._real = Site.locked_ground
        monkeypatch.setattr(Site, "locked_ground", lambda *arguments: self._read(*arguments))

    def run(self, first: Work, home: Home, second: Work, other: Home) -> list[Exception]:
        """Run both, the second once the first has read; return what they raised."""
        errors: list[Exception] = []

        def quietly(work: Work, at: Home) -> None:
            try:
                work(at)
            except Exception as error:  # noqa: BLE001 - looked at by the test
                errors.append(error)

        slow = Thread(target=quietly, args=(first, home))
        fast = Thread(target=quietly, args=(second, other))
        slow.start()
        assert self._first_reads.wait(30)
        fast.start()
        slow.join()
        fast.join()
        return errors

    def _read(self, site: Site, transaction: sa.Connection, dataset: int) -> Any:
        ground = self._real(site, transaction, dataset)
        if not self._first_reads.is_set():
            sa.event.listen(transaction, "commit", lambda _: self._committed.set())
            self._first_reads.set()
            self._second_reads.wait(HELD_UP_S)
        elif not self._committed.is_set():
            self.crossed = True
            self._second_reads.set()
        return ground


def forget(sample: str) -> Work:
    return lambda home: home.forget([sample])


def correct(home: Home) -> None:
    home.correct({name: cells[40:41] for name, cells in people(60).items()})


def prepare(home: Home) -> None:
    home.ingest("people", people(60), id="id", subject="who")
    home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), shards=2, slices=2))
    home.forget(["s50"])  # so that there is something to publish


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(forget("s1"), forget("s2"), id="forget-forget"),
        pytest.param(forget("s1"), Home.recover, id="forget-publish"),
        pytest.param(Home.recover, forget("s1"), id="publish-forget"),
        pytest.param(correct, forget("s1"), id="correct-forget"),
    ],
)
def test_two_changes_do_not_cross(first, second, place, opened, monkeypatch):
    home, other = opened(**place), opened(**place)
    prepare(home)
    crossing = Crossing(monkeypatch)

    errors = crossing.run(first, home, second, other)

    assert not crossing.crossed
    assert errors == []
    home.recover()
    with home.site.database.reading() as transaction:
        ground = home.site.ground(transaction, home.site.dataset(transaction, "people").id)
    assert ground.tombstones == sum(len(gone) for gone in ground.gone.values())
    assert {str(request.state) for request in home.requests()} == {"done"}
    assert home.verify("m").exact


def test_a_missing_lock_would_be_seen(place, opened, monkeypatch):
    monkeypatch.setattr(data_sql, "lock", lambda transaction, dataset: None)
    monkeypatch.setattr(database, "_begin_sqlite", _begin_deferred)
    home, other = opened(**place), opened(**place)
    home.ingest("people", people(60), id="id", subject="who")
    crossing = Crossing(monkeypatch)
    with suppress(Exception):
        crossing.run(forget("s1"), home, forget("s2"), other)
    assert crossing.crossed


def _begin_deferred(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")
