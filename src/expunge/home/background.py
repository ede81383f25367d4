"""Work that goes on in a thread of its own, whenever somebody wakes it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Final

from expunge.core.errors import ExpungeError, WorkerFailed

_LOG: Final = logging.getLogger(__name__)


class Background:
    """Runs ``work`` in a thread whenever it is woken; started at the first time.

    Args:
        work: What to run; one at a time.
        failed: What to say when it raises; names nobody.
        every_s: Run it that often without being woken, too.
    """

    def __init__(
        self, work: Callable[[], object], failed: str, every_s: float | None = None
    ) -> None:
        self._work, self._failed, self._every_s = work, failed, every_s
        self._lock = Lock()
        self._event, self._stopping = Event(), Event()
        self._thread: Thread | None = None

    def wake(self) -> None:
        """Run the work, once more if it is running."""
        with self._lock:
            if self._stopping.is_set():
                return
            self._event.set()
            if self._thread is None:
                self._thread = Thread(target=self._run, name="expunge-background", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; whoever stops it also ends what goes on, and joins."""
        with self._lock:
            self._stopping.set()
            self._event.set()

    def join(self) -> None:
        """Wait until nothing runs any more."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._event.wait(self._every_s)
            self._event.clear()
            if self._stopping.is_set():
                return
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - whoever waits for it is told
                if self._stopping.is_set() and isinstance(error, WorkerFailed):
                    return  # closing killed the workers
                # No traceback: what others' errors say may quote a cell or an id.
                told = str(error) if isinstance(error, ExpungeError) else type(error).__name__
                _LOG.error("%s %s", self._failed, told)
