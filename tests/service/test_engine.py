"""What a server does beside answering."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pika
import pytest

from expunge.home import Home
from expunge.service.engine import queue_of
from expunge.service.inprocess import InProcessQueue
from expunge.service.rabbitmq import QUEUE

from .conftest import wait_for  # noqa: TID252 - tests are no package


@pytest.mark.broker
def test_homes_that_share_a_broker_do_not_wake_each_others_workers(
    broker_url: str, opened: Callable[..., Home], tmp_path: Path
) -> None:
    one, other = opened(tmp_path / "one"), opened(tmp_path / "other")
    queues = [queue_of(home, broker_url) for home in (one, one, other)]
    try:
        sender, worker, stranger = queues
        wait_for(sender.healthy)
        sender.publish([7])
        assert stranger.wait(0.5) == []
        assert worker.wait(60) == [7]
        worker.ack([7])
    finally:
        for queue in queues:
            queue.close()
        with pika.BlockingConnection(pika.URLParameters(broker_url)) as connection:
            for home in (one, other):
                name = f"{QUEUE}.{home.ledger.origin.removeprefix('expunge/')}"
                assert connection.channel().queue_declare(name, passive=True)
                connection.channel().queue_delete(name)


def test_without_a_broker_the_queue_is_in_memory(home: Home) -> None:
    assert isinstance(queue_of(home, None), InProcessQueue)
