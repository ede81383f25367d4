"""What every queue promises: in memory, and on a real broker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Thread
from uuid import uuid4

import pika
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expunge.core.errors import BrokerUnreachable
from expunge.service.inprocess import InProcessQueue
from expunge.service.queue import Depth, Queue
from expunge.service.rabbitmq import RabbitQueue

from .conftest import wait_for  # noqa: TID252 - tests are no package

PATIENCE_S = 60.0


@pytest.fixture(params=["in-process", pytest.param("rabbitmq", marks=pytest.mark.broker)])
def queue(request: pytest.FixtureRequest) -> Iterator[Queue]:
    if request.param == "in-process":
        yield InProcessQueue()
        return
    url, name = request.getfixturevalue("broker_url"), f"test-{uuid4().hex}"
    queue = RabbitQueue(url, name)
    wait_for(queue.healthy)  # publishing waits a second at most, and machines may be busy
    yield queue
    queue.close()
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_delete(name)


def take_all(queue: Queue, count: int) -> list[int]:
    """So many units, and what comes behind them, each acknowledged."""
    taken: list[int] = []
    while units := queue.wait(PATIENCE_S if len(taken) < count else 0.05):
        queue.ack(units)
        taken += units
    return taken


@given(batches=st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=5), max_size=4))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_that_is_published_comes_once_it_is_waited_for(
    queue: Queue, batches: list[list[int]]
) -> None:
    for units in batches:
        queue.publish(units)
    published = [unit for units in batches for unit in units]
    # In memory a unit waits once; a server keeps each message.
    count = len(published if isinstance(queue, RabbitQueue) else set(published))
    taken = take_all(queue, count)
    assert set(taken) == set(published)
    assert len(taken) <= len(published)


def test_a_wait_is_over_as_soon_as_something_is_published(queue: Queue) -> None:
    Thread(target=lambda: (time.sleep(0.2), queue.publish([7]))).start()
    began = time.monotonic()
    assert queue.wait(PATIENCE_S) == [7]
    assert time.monotonic() - began < PATIENCE_S / 2


def test_a_wait_for_nothing_ends_in_time(queue: Queue) -> None:
    began = time.monotonic()
    assert queue.wait(0.2) == []
    assert queue.wait(0) == []
    assert 0.2 <= time.monotonic() - began < PATIENCE_S / 2


def test_what_was_acknowledged_is_gone(queue: Queue) -> None:
    queue.publish([1, 2])
    queue.ack(queue.wait(PATIENCE_S))
    queue.ack([99])  # never given
    assert len(take_all(queue, 1)) == 1
    assert queue.wait(0.2) == []


def test_depth_counts_what_waits_and_who_waits_for_it(queue: Queue) -> None:
    assert queue.depth() == Depth(waiting=0, consumers=0)
    worker = Thread(target=queue.wait, args=(PATIENCE_S,))
    worker.start()
    eventually(lambda: queue.depth() == Depth(waiting=0, consumers=1))
    queue.publish([1])
    worker.join()
    queue.ack([1])  # until then, a server counts the worker
    queue.publish([2, 3])
    eventually(lambda: queue.depth() == Depth(waiting=2, consumers=0))


def test_closing_wakes_whoever_waits_and_ends_health(queue: Queue) -> None:
    told: list[list[int]] = []
    worker = Thread(target=lambda: told.append(queue.wait(PATIENCE_S)))
    worker.start()
    eventually(lambda: queue.healthy() and queue.depth().consumers == 1)
    queue.close()
    worker.join(PATIENCE_S / 2)
    assert told == [[]]
    assert not queue.healthy()
    assert queue.wait(PATIENCE_S) == []
    queue.close()  # twice is once


def test_many_threads_share_the_units_of_a_process() -> None:
    queue, taken = InProcessQueue(), []

    def work() -> None:
        while units := queue.wait(PATIENCE_S):
            taken.extend(units)

    workers = [Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for unit in range(200):
        queue.publish([unit])
    eventually(lambda: len(taken) == 200)
    queue.close()
    for worker in workers:
        worker.join()
    assert sorted(taken) == list(range(200))


def eventually(true: object) -> None:
    """Wait until it is so; a broker that is away at the moment is not yet."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            if true():  # type: ignore[operator]
                return
        except BrokerUnreachable:
            pass
        time.sleep(0.02)
    pytest.fail("it did not come to be so")
