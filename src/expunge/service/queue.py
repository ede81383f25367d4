"""What wakes workers: a queue of unit numbers. The database's rows are the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Depth:
    """How much waits in a queue.

    Attributes:
        waiting: Messages that no worker has been given.
        consumers: Workers that wait for one at the moment; a busy worker does not wait.
    """

    waiting: int
    consumers: int


class Queue(Protocol):
    """Tells workers which units to try. It may forget, repeat and reorder them.

    A worker claims in the database what it is told, so a repeated message finds nothing, and
    sweeps the database every few seconds, so a lost one costs those seconds. One worker waits
    at a time; publishing is for any thread.
    """

    def publish(self, units: Sequence[int]) -> None:
        """Say that ``units`` are open. When it returns, the queue keeps them, crash or not.

        Raises:
            BrokerUnreachable: Some of them may not be kept; publish them again.
        """
        ...

    def wait(self, timeout_s: float) -> list[int]:
        """The units to try, one as a rule; empty after ``timeout_s``, or once closed.

        What the wait before gave and nobody acknowledged goes back to the queue first.
        Raises nothing where the broker is down: it comes back by itself.
        """
        ...

    def ack(self, units: Sequence[int]) -> None:
        """Say that ``units`` were tried: call it after the claim, and before the building."""
        ...

    def depth(self) -> Depth:
        """How much waits.

        Raises:
            BrokerUnreachable: Nobody can tell at the moment.
        """
        ...

    def healthy(self) -> bool:
        """Whether publishing would work, and a worker that waits would be told."""
        ...

    def close(self) -> None:
        """Let go of all connections and threads; a worker that waits gets nothing."""
        ...
