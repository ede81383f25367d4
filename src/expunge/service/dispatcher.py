"""Many that wait become one transaction: a thread that takes all that is there at once.

While one group is served the next one gathers, so that groups are as large as the load asks
for, and a single request does not wait for others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Final, Generic, TypeVar

from expunge.core.errors import ServerBusy, ServerStopping

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Asked, Answered]):
    """Somebody in an event loop, waiting for an answer."""

    asked: Asked
    future: asyncio.Future[Answered]
    loop: asyncio.AbstractEventLoop


class Dispatcher(Generic[Asked, Answered]):
    """Serves what event loops ask for, in groups, in a thread of its own.

    Args:
        serve: Answers a group, in order; an exception among the answers is raised to whoever
            asked. What it raises itself is raised to the whole group.
        most: In a group.
        waiting: That many may wait, more are refused.
    """

    def __init__(
        self,
        serve: Callable[[Sequence[Asked]], Sequence[Answered | Exception]],
        most: int,
        waiting: int,
    ) -> None:
        self._serve, self._most, self._most_waiting = serve, most, waiting
        self._queue: SimpleQueue[_Waiting[Asked, Answered] | None] = SimpleQueue()
        self._lock = Lock()
        self._stopped = False
        self._thread = Thread(target=self._run, name="expunge-dispatcher", daemon=True)
        self._thread.start()

    def submit(self, asked: Asked) -> asyncio.Future[Answered]:
        """Ask; to be called in an event loop.

        Raises:
            ServerBusy: Too many wait.
            ServerStopping: It was closed.
        """
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Asked, Answered] = _Waiting(asked, loop.create_future(), loop)
        with self._lock:  # nothing may enter behind the end
            if self._stopped:
                raise ServerStopping
            if self._queue.qsize() >= self._most_waiting:
                raise ServerBusy
            self._queue.put(waiting)
        return waiting.future

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._queue.qsize()

    def close(self, timeout_s: float | None = None) -> bool:
        """Take nothing more, and answer all that wait. Returns whether they are."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._queue.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            group, is_over = self._gather()
            if group:
                _tell(group, self._answers(group))
            if is_over:
                return

    def _gather(self) -> tuple[list[_Waiting[Asked, Answered]], bool]:
        first = self._queue.get()
        if first is None:
            return [], True
        group = [first]
        while len(group) < self._most:
            try:
                following = self._queue.get_nowait()
            except Empty:
                break
            if following is None:
                return group, True
            group.append(following)
        return group, False

    def _answers(
        self, group: Sequence[_Waiting[Asked, Answered]]
    ) -> Sequence[Answered | Exception]:
        try:
            return self._serve([waiting.asked for waiting in group])
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            # No traceback: what others' errors say may quote an id.
            _LOG.error("A group of %d could not be served: %s", len(group), type(error).__name__)
            return [error] * len(group)


def _tell(
    group: Sequence[_Waiting[Asked, Answered]], answers: Sequence[Answered | Exception]
) -> None:
    """Wake each event loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Answered], object]]] = {}
    for waiting, answer in zip(group, answers, strict=True):
        by_loop.setdefault(waiting.loop, []).append((waiting.future, answer))
    for loop, told in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, told)


def _resolve(told: Sequence[tuple[asyncio.Future[Answered], object]]) -> None:
    for future, answer in told:
        if future.done():  # whoever asked has gone
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)  # type: ignore[arg-type]  # what is no exception is an answer
