"""A connection to RabbitMQ that comes back by itself, served by a thread of its own.

Heartbeats must be answered while a worker builds for minutes, so no other thread ever touches
the connection. Whatever ends it (the server, the network, silence) ends in the same place: it
is dropped, the role is told, and a new one is opened after a pause with jitter, for ever.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from threading import Condition, Event, Lock, Thread
from time import monotonic
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import urlsplit

from pika import SelectConnection, URLParameters
from pika.adapters.select_connection import IOLoop
from pika.channel import Channel
from pika.exceptions import AMQPError

from expunge.core.errors import InputError

Work: TypeAlias = Callable[[Channel], None]

ANSWER_S: Final = 5.0  # a server that takes longer to answer anything is as good as gone
_HEARTBEAT_S: Final = 10  # where the URL does not say; silence is noticed after 15 to 30 s
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_STABLE_S: Final = 5.0  # a connection that lived that long was no failure to connect
_LOG: Final = logging.getLogger(__name__)

# Durable on a majority of nodes, and the only kind that RabbitMQ 4 still keeps safe.
_QUORUM: Final = {"x-queue-type": "quorum"}

# It tells each lost connection five times over, with tracebacks; we tell it once.
logging.getLogger("pika").setLevel(logging.CRITICAL)


class Role(Protocol):
    """What a link is for. Both are called in the link's thread."""

    def opened(self, channel: Channel) -> None:
        """The queue exists, and the channel is new."""
        ...

    def lost(self) -> None:
        """No answer comes any more to what the last channel was asked."""
        ...


def parameters_of(url: str) -> URLParameters:
    """Read a broker's URL.

    Raises:
        InputError: It is none. What it says is not shown: it may be a password.
    """
    try:
        at = urlsplit(url)
        if at.scheme not in {"amqp", "amqps"} or not at.hostname:
            raise ValueError
        parameters = URLParameters(url)
    except (ValueError, TypeError, LookupError):
        raise InputError(
            "The broker's URL cannot be read. Write it as amqp://user:password@host:5672/%2F."
        ) from None
    if parameters.heartbeat is None:
        parameters.heartbeat = _HEARTBEAT_S
    parameters.socket_timeout = parameters.stack_timeout = ANSWER_S
    parameters.connection_attempts = 1
    return parameters


def declare(channel: Channel, queue: str, then: Callable[[Any], None]) -> None:
    """Make the queue where it is missing; ``then`` gets the server's answer, with its counts."""
    channel.queue_declare(queue, durable=True, arguments=_QUORUM, callback=then)


def pause_s(failures: int) -> float:
    """How long to wait after so many failures in a row: full jitter under a doubling bound."""
    bound = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures, 16))
    return bound * secrets.randbelow(1000) / 1000


class Link:
    """Keeps one channel open; :meth:`do` works on it.

    Args:
        parameters: Of the broker.
        queue: Its name; declared on each new channel.
        role: Told about each channel.
        name: Shown by ``rabbitmqctl list_connections``, and the thread's.
    """

    def __init__(self, parameters: URLParameters, queue: str, role: Role, name: str) -> None:
        self._parameters, self._queue, self._role, self._name = parameters, queue, role, name
        parameters.client_properties = {"connection_name": name}
        self._lock = Lock()  # held for moments, also by the link's thread
        self._changed = Condition(self._lock)
        self._stopping = Event()
        self._thread: Thread | None = None
        self._loop: IOLoop | None = None  # with `_connection`: there while the loop takes callbacks
        self._connection: SelectConnection | None = None
        self._channel: Channel | None = None
        self._blocked = self._dropped = False
        self._up_since: float | None = None
        self._told_up = True  # the last that we logged; each outage is told once

    def start(self) -> None:
        """Begin to connect; does nothing the second time."""
        with self._lock:
            if self._thread is None and not self._stopping.is_set():
                self._thread = Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def up(self) -> bool:
        """Whether the channel is open and the server takes what is published."""
        return self._channel is not None and not self._blocked

    def wait_up(self, timeout_s: float) -> bool:
        """Whether it is up within ``timeout_s``."""
        with self._changed:
            self._changed.wait_for(lambda: self.up() or self._stopping.is_set(), timeout_s)
            return self.up()

    def do(self, work: Work) -> None:
        """Run ``work`` in the link's thread soon; dropped where the channel is lost before."""
        self._call(lambda: self._on_channel(work))

    def expect(self, what: str) -> Callable[[], None]:
        """In the link's thread: drop the connection unless what is returned is called in time."""
        loop = self._loop
        assert loop is not None, "called in the link's thread, while it has a loop"
        timer = loop.call_later(ANSWER_S, lambda: self._drop(f"{what} was not answered"))
        return lambda: loop.remove_timeout(timer)

    def drop(self, why: str) -> None:
        """Give up the connection, from any thread; the link opens a new one."""
        self._call(lambda: self._drop(why))

    def close(self) -> None:
        """Close for good; returns when no thread and no socket is left, after 5 s at most."""
        with self._lock:
            self._stopping.set()
            self._changed.notify_all()
        self._call(self._leave)
        if self._thread is not None:
            self._thread.join()

    # ── In the link's thread ──

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._once()
            since, self._up_since = self._up_since, None
            lived = since is not None and monotonic() - since > _STABLE_S
            failures = 0 if lived else failures + 1
            self._stopping.wait(pause_s(failures))

    def _once(self) -> None:
        """Open one connection, and serve it until it ends."""
        loop = IOLoop()
        try:
            if self._begin(loop):
                loop.start()
        except Exception as error:  # noqa: BLE001 - a thread that ends is a deaf worker
            _LOG.error(
                "%s: failed inside (%s); it connects anew.", self._name, type(error).__name__
            )
        finally:
            self._forget()
            loop.close()

    def _begin(self, loop: IOLoop) -> bool:
        with self._lock:
            if self._stopping.is_set():
                return False
            self._loop, self._dropped = loop, False
            self._connection = SelectConnection(
                self._parameters,
                on_open_callback=self._connected,
                on_open_error_callback=self._ended,
                on_close_callback=self._ended,
                custom_ioloop=loop,
            )
        self._answered = self.expect("opening the connection")
        return True

    def _forget(self) -> None:
        with self._lock:
            self._loop = self._connection = self._channel = None
            self._blocked = False
        self._role.lost()

    def _connected(self, connection: SelectConnection) -> None:
        connection.add_on_connection_blocked_callback(lambda *_: self._set_blocked(True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._set_blocked(False))
        connection.channel(on_open_callback=self._channelled)

    def _channelled(self, channel: Channel) -> None:
        channel.add_on_close_callback(lambda _, error: self._closed(error))
        declare(channel, self._queue, lambda _: self._declared(channel))

    def _declared(self, channel: Channel) -> None:
        self._answered()
        self._role.opened(channel)
        with self._changed:
            self._channel, self._up_since = channel, monotonic()
            self._changed.notify_all()
        self._told_up = True
        _LOG.info("%s: connected to the broker.", self._name)

    def _closed(self, error: BaseException) -> None:
        """The channel is closed: by the server, unless the whole connection is being closed."""
        if self._connection is not None and self._connection.is_open:
            self._drop(f"the server closed the channel, {_reason(error)}")

    def _set_blocked(self, blocked: bool) -> None:
        with self._changed:
            self._blocked = blocked
            self._changed.notify_all()
        _LOG.warning("%s: the broker %s publishing.", self._name, "stopped" if blocked else "takes")

    def _on_channel(self, work: Work) -> None:
        if self._channel is not None and self._channel.is_open:
            work(self._channel)

    def _leave(self) -> None:
        connection = self._connection
        if connection is None or connection.is_closing or connection.is_closed:
            return
        self.expect("closing the connection")
        connection.close()

    def _drop(self, why: str) -> None:
        """End the connection without asking the server, which may not answer."""
        connection = self._connection
        if connection is None or connection.is_closed or self._dropped:
            return
        self._channel, self._dropped = None, True
        # pika's heartbeats end a dead connection by this; `close` would wait for an answer.
        connection._terminate_stream(AMQPError(why))

    def _ended(self, _connection: SelectConnection, error: BaseException) -> None:
        if self._told_up and not self._stopping.is_set():
            _LOG.warning("%s: lost the broker (%s); it connects anew.", self._name, _reason(error))
            self._told_up = False
        if self._loop is not None:
            self._loop.stop()

    def _call(self, what: Callable[[], None]) -> None:
        with self._lock:
            if self._loop is not None:
                self._loop.add_callback_threadsafe(what)


def _reason(error: BaseException) -> str:
    """What ended a connection, in words that cannot hold a password: ours, or a class's name."""
    if type(error) is AMQPError:
        return str(error)
    code = getattr(error, "reply_code", None)
    return type(error).__name__ if code is None else f"{type(error).__name__} {code}"
