"""The queue of an installation in one process: numbers in memory."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Condition

from expunge.service.queue import Depth


class InProcessQueue:
    """A queue for the threads of this process; any number of them may wait.

    It dies with the process. Nothing is lost: workers begin by sweeping the database.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._units: dict[int, None] = {}  # in order, and each once however often it was published
        self._waiters = 0
        self._closed = False

    def publish(self, units: Sequence[int]) -> None:
        """Say that ``units`` are open."""
        with self._changed:
            self._units |= dict.fromkeys(units)
            self._changed.notify(len(units))

    def wait(self, timeout_s: float) -> list[int]:
        """The oldest unit, or nothing after ``timeout_s`` or once closed."""
        with self._changed:
            self._waiters += 1
            self._changed.wait_for(lambda: self._units or self._closed, timeout_s)
            self._waiters -= 1
            if self._closed or not self._units:
                return []
            unit = next(iter(self._units))
            del self._units[unit]
            return [unit]

    def ack(self, units: Sequence[int]) -> None:
        """Nothing to do: no worker dies alone here, so what was given is not kept."""

    def depth(self) -> Depth:
        """How much waits; costs nothing."""
        with self._changed:
            return Depth(len(self._units), self._waiters)

    def healthy(self) -> bool:
        """Until it is closed."""
        return not self._closed

    def close(self) -> None:
        """Wake all that wait; they get nothing any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
