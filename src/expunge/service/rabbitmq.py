"""The queue on RabbitMQ: durable, confirmed, and never deaf.

Messages are kept by a quorum queue, and publishing returns when the server has confirmed them.
A worker is registered with the server only while it waits: a busy one is given nothing that
another could begin. So each wait registers anew, and within a wait that happens every few
seconds: whatever made the server forget a consumer lasts that long at most.

References:
    RabbitMQ documentation, "Consumer Acknowledgements and Publisher Confirms", "Quorum Queues",
    "Consumers" (cancel notification), "Blocked Connection Notifications".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from expunge.service.listener import Listener
from expunge.service.queue import Depth
from expunge.service.sender import Sender

QUEUE: Final = "expunge.units"


class RabbitQueue:
    """A :class:`~expunge.service.queue.Queue` on a RabbitMQ server, or a cluster of them.

    Connects in the background, at once for publishing, and for waiting at the first wait.

    Args:
        url: Of the server, as ``amqp://user:password@host:5672/vhost``; ``amqps://`` for TLS.
        queue: Its name; homes that share a server have queues of their own.
    """

    def __init__(self, url: str, queue: str = QUEUE) -> None:
        self._sender = Sender(url, queue)
        self._listener = Listener(url, queue)

    def publish(self, units: Sequence[int]) -> None:
        """Say that ``units`` are open; one round trip, however many.

        Raises:
            BrokerUnreachable: The server did not confirm all of them: it is away, it is short of
                memory or disk, or the queue was deleted. Known after 6 s at most.
        """
        if units:
            self._sender.publish(units)

    def wait(self, timeout_s: float) -> list[int]:
        """One unit to try, or none after ``timeout_s``, or once closed."""
        return self._listener.wait(timeout_s)

    def ack(self, units: Sequence[int]) -> None:
        """Say that ``units`` were tried; lost where the connection is, and then they come again."""
        self._listener.ack(units)

    def depth(self) -> Depth:
        """How much waits, as the server counts; makes the queue where it was deleted.

        Raises:
            BrokerUnreachable: It does not answer.
        """
        return self._sender.depth()

    def healthy(self) -> bool:
        """Whether all that it was used for works at the moment."""
        return self._sender.healthy() and self._listener.healthy()

    def close(self) -> None:
        """Close the connections; 10 s at most, where the server does not answer."""
        self._listener.close()
        self._sender.close()
