"""The relay never loses a unit, whatever breaks between its steps."""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit
from uuid import uuid4

import pika
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from expunge.core.errors import BrokerUnreachable
from expunge.requests.unit_tables import OUTBOX
from expunge.service.inprocess import InProcessQueue
from expunge.service.rabbitmq import RabbitQueue
from expunge.service.relay import Relay
from expunge.storage.database import Database, sqlite_url
from expunge.testing.proxy import Proxy

PATIENCE_S = 60.0


def database_in(folder: Path) -> Database:
    database = Database(sqlite_url(folder / f"{uuid4().hex}.sqlite"))
    database.create()
    return database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = database_in(tmp_path)
    yield database
    database.close()


def write(database: Database, units: Sequence[int]) -> None:
    with database.transaction() as transaction:
        there = set(transaction.scalars(sa.select(OUTBOX.c.unit)))
        new = [{"unit": unit} for unit in units if unit not in there]
        if new:
            transaction.execute(OUTBOX.insert(), new)


def left(database: Database) -> set[int]:
    with database.reading() as transaction:
        return set(transaction.scalars(sa.select(OUTBOX.c.unit)))


class Killed(Exception):
    """The process died at this line."""


class Breaking(InProcessQueue):
    """Keeps the first of what is published, then says that the broker went, or dies."""

    def __init__(self) -> None:
        super().__init__()
        self.next: tuple[int, type[Exception] | None] = (0, None)
        self.tries = 0

    def publish(self, units: Sequence[int]) -> None:
        self.tries += 1
        kept, error = self.next
        if error is None:
            return super().publish(units)
        super().publish(units[:kept])
        if error is BrokerUnreachable:
            raise BrokerUnreachable("the test says so")
        raise error


class Crashes(RuleBasedStateMachine):
    """Units are written, relays sweep and die, workers take: in any order."""

    folder: Path

    @initialize()
    def begin(self) -> None:
        self.database = database_in(self.folder)
        self.queue = Breaking()
        self.written: set[int] = set()
        self.taken: set[int] = set()

    @rule(units=st.sets(st.integers(1, 50), min_size=1, max_size=8))
    def want(self, units: set[int]) -> None:
        write(self.database, sorted(units))
        self.written |= units

    @rule(
        kept=st.integers(0, 8),
        error=st.sampled_from([None, BrokerUnreachable, Killed]),
        batch=st.integers(1, 5),
    )
    def sweep(self, kept: int, error: type[Exception] | None, batch: int) -> None:
        self.queue.next = (kept, error)
        expected = left(self.database)
        relay = Relay(self.database, self.queue, batch=batch)
        if error is not None and expected:
            with pytest.raises(error):
                relay.sweep()
        else:
            assert relay.sweep() == len(expected)
            assert left(self.database) == set()

    @rule()
    def die_before_forgetting(self) -> None:
        """Confirmed, and the transaction that deletes the rows never commits."""
        self.queue.next = (0, None)
        with pytest.MonkeyPatch.context() as patch, suppress(Killed):
            patch.setattr("expunge.service.relay.outbox.sent", _die)
            Relay(self.database, self.queue).sweep()

    @rule()
    def take(self) -> None:
        self.taken |= set(self.queue.wait(0))

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "queue"):
            waiting = set(self.queue._units)
            assert self.written == left(self.database) | waiting | self.taken

    def teardown(self) -> None:
        if hasattr(self, "queue"):
            self.queue.next = (0, None)
            Relay(self.database, self.queue).sweep()
            assert left(self.database) == set()
            self.nothing_is_lost()
            self.database.close()


def _die(*_: object) -> None:
    raise Killed


def test_crashes_between_any_two_steps_lose_no_unit(tmp_path: Path) -> None:
    class Here(Crashes):
        folder = tmp_path

    run_state_machine_as_test(
        Here, settings=settings(max_examples=40, stateful_step_count=20, deadline=None)
    )


@pytest.mark.parametrize("kept", [0, 2])
@pytest.mark.parametrize("error", [BrokerUnreachable, Killed])
def test_rows_of_what_was_not_confirmed_stay(
    database: Database, kept: int, error: type[Exception]
) -> None:
    queue = Breaking()
    queue.next = (kept, error)
    write(database, [1, 2, 3])
    with pytest.raises(error):
        Relay(database, queue).sweep()
    assert left(database) == {1, 2, 3}


@given(units=st.sets(st.integers(1, 2**31 - 1), max_size=30), batch=st.integers(1, 7))
@settings(max_examples=20)
def test_every_row_is_moved_once(
    tmp_path_factory: pytest.TempPathFactory, units: set[int], batch: int
) -> None:
    database, queue = database_in(tmp_path_factory.mktemp("relay")), InProcessQueue()
    write(database, sorted(units))
    assert Relay(database, queue, batch=batch).sweep() == len(units)
    assert Relay(database, queue).sweep() == 0
    assert queue.depth().waiting == len(units)
    database.close()


def test_a_unit_is_told_of_when_it_may_begin(database: Database) -> None:
    with sqlite3.connect(str(database.url.database)) as raw:  # without checking foreign keys
        raw.executemany(
            "INSERT INTO unit (id, model, shard, state, wanted_at, until, fence, attempt, not_before)"
            " VALUES (?, 1, ?, 'open', '', 0, 0, 0, ?)",
            [(1, 1, 0.0), (2, 2, 1060.0)],
        )
    raw.close()
    write(database, [1, 2])
    queue = InProcessQueue()
    assert Relay(database, queue, clock=lambda _: 1000.0).sweep() == 1
    assert left(database) == {2}
    assert Relay(database, queue, clock=lambda _: 1060.0).sweep() == 1
    assert [queue.wait(0.1), queue.wait(0.1)] == [[1], [2]]


def eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if true():
            return
        time.sleep(0.02)
    pytest.fail("it did not come to be so")


def test_it_moves_at_once_when_woken_and_by_itself_otherwise(database: Database) -> None:
    queue = InProcessQueue()
    relay = Relay(database, queue, every_s=0.3)
    write(database, [1])
    relay.wake()
    assert queue.wait(PATIENCE_S) == [1]
    write(database, [2])
    assert queue.wait(PATIENCE_S) == [2], "nobody woke it"
    relay.close()
    write(database, [3])
    relay.wake()
    assert queue.wait(0.5) == []
    assert left(database) == {3}


def test_a_broker_that_is_away_is_told_once_and_so_is_its_return(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    queue = Breaking()
    queue.next = (0, BrokerUnreachable)
    relay = Relay(database, queue, every_s=0.02)
    write(database, [1])
    relay.wake()
    eventually(lambda: queue.tries > 5)
    queue.next = (0, None)
    assert queue.wait(PATIENCE_S) == [1]
    relay.close()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert told[0].startswith("The message broker cannot be used: the test says so.")
    assert told[1].startswith("The broker is back")


@pytest.mark.broker
def test_connections_that_drop_under_load_lose_nothing(
    database: Database, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("expunge.service.link._LONGEST_PAUSE_S", 0.1)
    at, name = urlsplit(broker_url), f"test-{uuid4().hex}"
    assert at.hostname is not None
    with Proxy(at.hostname, at.port or 5672) as proxy:
        queue = RabbitQueue(re.sub(r"@[^/]+", f"@127.0.0.1:{proxy.port}", broker_url), name)
        relay = Relay(database, queue, every_s=0.05, batch=7)
        relay.wake()
        taken: set[int] = set()
        done = Event()

        def work() -> None:
            while not done.is_set():
                units = queue.wait(0.5)
                taken.update(units)
                queue.ack(units)

        worker = Thread(target=work, daemon=True)
        worker.start()
        for start in range(0, 400, 10):
            write(database, range(start, start + 10))
            relay.wake()
            time.sleep(0.05)
            if start % 50 == 40:
                eventually(lambda: proxy.drop() > 0)
        eventually(lambda: len(taken) == 400)
        eventually(lambda: left(database) == set())
        done.set()
        worker.join()
        relay.close()
        queue.close()
    with pika.BlockingConnection(pika.URLParameters(broker_url)) as connection:
        connection.channel().queue_delete(name)
