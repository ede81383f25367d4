"""Publishes to RabbitMQ, and knows what was confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, Final, TypeVar

from pika import BasicProperties, DeliveryMode
from pika.channel import Channel
from pika.frame import Method
from pika.spec import Basic

from expunge.core.errors import BrokerUnreachable
from expunge.service.link import ANSWER_S, Link, Work, declare, parameters_of
from expunge.service.queue import Depth

_CONNECT_S: Final = 1.0  # publishing waits so long for a connection; the relay tries again
_KEPT: Final = BasicProperties(delivery_mode=DeliveryMode.Persistent)

T = TypeVar("T")


@dataclass(slots=True)
class _Batch:
    """Messages that were published together, and are confirmed one by one."""

    unconfirmed: int
    done: Future[None] = field(default_factory=Future)


class Sender:
    """One connection that only publishes: a server short of memory blocks it, and no consumer."""

    def __init__(self, url: str, queue: str) -> None:
        self._queue = queue
        self._link = Link(parameters_of(url), queue, self, "expunge-publisher")
        self._lock = Lock()
        self._asked: set[Future[Any]] = set()
        # The link's thread owns these.
        self._last = 0  # tag of the last message on this channel
        self._open: dict[int, _Batch] = {}  # by tag, in order
        self._link.start()

    def publish(self, units: Sequence[int]) -> None:
        """Publish, and wait for the server's confirmation of each.

        Raises:
            BrokerUnreachable: It did not come.
        """
        batch = _Batch(len(units))
        self._ask(partial(self._send, units=units, batch=batch), batch.done)

    def depth(self) -> Depth:
        """Ask the server how much waits.

        Raises:
            BrokerUnreachable: It does not answer.
        """
        answer: Future[Depth] = Future()

        def tell(declared: Method[Any]) -> None:
            told = declared.method
            _settle(answer, Depth(told.message_count, told.consumer_count))

        return self._ask(lambda channel: declare(channel, self._queue, tell), answer)

    def healthy(self) -> bool:
        """Whether publishing would work."""
        return self._link.up()

    def close(self) -> None:
        """Let go of the connection."""
        self._link.close()

    def _ask(self, work: Work, answer: Future[T]) -> T:
        if not self._link.wait_up(_CONNECT_S):
            raise BrokerUnreachable("it does not answer, or takes no messages at the moment")
        with self._lock:
            self._asked.add(answer)
        try:
            self._link.do(work)
            return answer.result(ANSWER_S)
        except TimeoutError:
            self._link.drop("what was sent was not confirmed")
            raise BrokerUnreachable(f"no answer within {ANSWER_S:.0f} s") from None
        finally:
            with self._lock:
                self._asked.discard(answer)

    # ── In the link's thread ──

    def opened(self, channel: Channel) -> None:
        """Have everything confirmed, from the channel's first message on."""
        self._last = 0
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._confirmed)

    def lost(self) -> None:
        """Whoever waits for an answer gets none."""
        self._open.clear()
        with self._lock:
            for answer in self._asked:
                _refuse(answer, "the connection broke")

    def _send(self, channel: Channel, units: Sequence[int], batch: _Batch) -> None:
        for unit in units:
            self._last += 1
            self._open[self._last] = batch
            channel.basic_publish("", self._queue, str(unit).encode(), _KEPT, mandatory=True)

    def _confirmed(self, frame: Method[Any]) -> None:
        told = frame.method
        up_to = [tag for tag in self._open if tag <= told.delivery_tag] if told.multiple else []
        for tag in up_to or [told.delivery_tag]:
            batch = self._open.pop(tag, None)
            if batch is None:
                continue
            batch.unconfirmed -= 1
            if isinstance(told, Basic.Nack):
                _refuse(batch.done, "it refused a message")
            elif not batch.unconfirmed:
                _settle(batch.done, None)

    def _returned(self, *_: object) -> None:
        """The queue is gone. The server confirms what it returned: it was dealt with, not kept."""
        for batch in self._open.values():
            _refuse(batch.done, "its queue was deleted")
        self._link.drop("the queue was deleted")


def _settle(answer: Future[T], value: T) -> None:
    with suppress(InvalidStateError):
        answer.set_result(value)


def _refuse(answer: Future[Any], why: str) -> None:
    with suppress(InvalidStateError):
        answer.set_exception(BrokerUnreachable(why))
