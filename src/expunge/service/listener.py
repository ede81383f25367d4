"""Waits for messages from RabbitMQ, one worker's, one message at a time.

Each registration is on a channel of its own and lasts a few seconds. A queue that is deleted
and declared again within milliseconds leaves the channels that consumed from it deaf: RabbitMQ
3.10 sends no cancellation, counts them as consumers, gives them messages, and delivers none,
not even to what registers anew on the same channel. Closing the channel gives the messages to others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Condition
from time import monotonic
from typing import Final

from pika.channel import Channel
from pika.exceptions import ChannelClosedByClient
from pika.spec import Basic

from expunge.service.link import Link, declare, parameters_of

_RENEW_S: Final = 5.0  # no registration is older
_DIGITS: Final = 19  # of the largest number that a database keeps
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Given:
    """A message that the server gave us. Closing its channel gives it back."""

    unit: int
    channel: Channel
    tag: int

    def ack(self) -> None:
        if self.channel.is_open:
            self.channel.basic_ack(self.tag)
        self.give_back()

    def give_back(self) -> None:
        _close(self.channel)


@dataclass(slots=True)
class _Registration:
    """A consumer; its channel is there as soon as the server opened it."""

    channel: Channel | None = None


class Listener:
    """One connection that only consumes; opened at the first wait."""

    def __init__(self, url: str, queue: str) -> None:
        self._queue = queue
        self._link = Link(parameters_of(url), queue, self, "expunge-worker")
        self._changed = Condition()
        self._started = self._closed = False
        self._wanted = False  # somebody waits
        self._given: _Given | None = None  # has come, and nobody has seen it
        self._held: _Given | None = None  # was handed out, and not acknowledged
        self._registration: _Registration | None = None  # the link's thread owns it

    def wait(self, timeout_s: float) -> list[int]:
        """One unit, or none after ``timeout_s``, or once closed."""
        self._started = True
        self._link.start()
        if held := self._let_go():
            self._link.do(lambda _: held.give_back())
        end = monotonic() + timeout_s
        while not self._closed and (left := end - monotonic()) > 0:
            if given := self._wait_registered(min(left, _RENEW_S)):
                return [given.unit]
        return []

    def ack(self, units: Sequence[int]) -> None:
        """Let the server delete the message, where it is of one of ``units``."""
        if held := self._let_go(units):
            self._link.do(lambda _: held.ack())

    def healthy(self) -> bool:
        """Whether the connection is up, where anybody ever waited."""
        return not self._started or self._link.up()

    def close(self) -> None:
        """Let go of the connection; the server gives what was not acknowledged to others."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._link.close()

    def _let_go(self, units: Sequence[int] | None = None) -> _Given | None:
        """What is held, if it is of ``units``; it is not held any more."""
        with self._changed:
            held = self._held
            if held is None or (units is not None and held.unit not in units):
                return None
            self._held = None
            return held

    def _wait_registered(self, seconds: float) -> _Given | None:
        with self._changed:
            self._wanted = True
        self._link.do(self._register)  # where no connection is open, opening one registers
        with self._changed:
            self._changed.wait_for(lambda: self._given or self._closed, seconds)
            self._wanted = False
            self._held, self._given = self._given, None
            held = self._held
        self._link.do(lambda _: self._unregister())
        return held

    # ── In the link's thread ──

    def opened(self, channel: Channel) -> None:
        """Register where somebody waits."""
        self._register(channel)

    def lost(self) -> None:
        """What was given and not acknowledged is given again, to whoever waits."""
        self._registration = None
        with self._changed:
            self._given = self._held = None

    def _register(self, channel: Channel) -> None:
        if self._registration is not None or not self._wanted:
            return
        registration = self._registration = _Registration()
        answered = self._link.expect("registering a worker")

        def consume(own: Channel) -> None:
            if registration is not self._registration:  # the wait is over
                answered()
                own.close()
                return
            registration.channel = own
            own.add_on_close_callback(partial(self._ended, answered))
            own.add_on_cancel_callback(lambda _: self._cancelled(channel))
            own.basic_qos(prefetch_count=1)
            given = partial(self._delivered, registration)
            own.basic_consume(self._queue, given, callback=lambda _: answered())

        channel.connection.channel(on_open_callback=consume)

    def _unregister(self) -> None:
        """End the registration; what it was given, and nobody saw, goes back."""
        registration, self._registration = self._registration, None
        if registration is not None and registration.channel is not None:
            _close(registration.channel)

    def _cancelled(self, channel: Channel) -> None:
        """The server ended the registration: the queue was deleted, or lost its node."""
        _LOG.warning("The broker ended a worker's registration; it registers again.")
        self._unregister()
        declare(channel, self._queue, lambda _: self._register(channel))

    def _ended(self, answered: Callable[[], None], channel: Channel, error: BaseException) -> None:
        answered()  # where we closed it first, nothing else comes
        if not isinstance(error, ChannelClosedByClient) and channel.connection.is_open:
            self._link.drop("the server closed a worker's channel")

    def _delivered(
        self,
        registration: _Registration,
        channel: Channel,
        method: Basic.Deliver,
        _properties: object,
        body: bytes,
    ) -> None:
        unit = _unit_of(body)
        if unit is None:
            _LOG.error("A message that is no unit's number came from the broker; it is dropped.")
            channel.basic_ack(method.delivery_tag)
            return
        with self._changed:
            if registration is self._registration and self._wanted and self._given is None:
                self._registration = None  # the message owns the channel now
                channel.basic_cancel(method.consumer_tag)  # or acknowledging brings the next one
                self._given = _Given(unit, channel, method.delivery_tag)
                self._changed.notify_all()


def _close(channel: Channel) -> None:
    if channel.is_open:
        channel.close()


def _unit_of(body: bytes) -> int | None:
    return int(body) if body.isdigit() and len(body) <= _DIGITS else None
