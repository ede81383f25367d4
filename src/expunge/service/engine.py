"""What a server does by itself: tell the queue, rebuild, and write the ledger."""

from __future__ import annotations

from typing import Final

import expunge
from expunge.core.errors import InputError
from expunge.execution.local import Inline, Workers
from expunge.execution.progress import Silent
from expunge.home import Home
from expunge.home.background import Background
from expunge.requests import life
from expunge.service.audits import Policy
from expunge.service.checking import Checking
from expunge.service.inprocess import InProcessQueue
from expunge.service.queue import Queue
from expunge.service.relay import Relay
from expunge.service.settings import Settings
from expunge.service.telemetry import Telemetry
from expunge.service.worker import Worker, WorkerSettings

_TIMING: Final = "Scheduled requests could not take effect; it is tried again every second."
_SYNCING: Final = "The ledger could not be written; it is tried again every second."


def opened(settings: Settings) -> Home:
    """The home of a server or a worker, for a ``with``. Nothing of it trains by itself."""
    return expunge.open(
        settings.home,
        files=settings.files,
        journal=settings.journal,
        executor=Inline(),
        progress=Silent(),
        background=False,
    )


class Engine:
    """Threads beside a server. With a broker, other processes rebuild; without one, these do.

    Args:
        home: Opened without a background of its own.
        settings: Of the server.

    Attributes:
        queue: That wakes workers.
    """

    def __init__(self, home: Home, settings: Settings) -> None:
        url = settings.rabbitmq
        self._home, self._check_s = home, settings.ledger_check_s
        self._checking: Checking | None = None
        self.queue: Queue = queue_of(home, url)
        self._relay = Relay(home.site.database, self.queue)
        self._writing = Background(home.ledger.sync, _SYNCING, every_s=1.0)
        # Not left to the workers: a moment that was promised comes, also where none runs.
        self._timing = Background(self._keep_time, _TIMING, every_s=1.0)
        self._executors = [Workers(1) for _ in range(0 if url else settings.workers)]
        how = worker_settings(settings)
        self._workers = [
            Worker(home.site, executor, self.queue, how) for executor in self._executors
        ]

    def start(self, telemetry: Telemetry) -> None:
        """Begin.

        Args:
            telemetry: Is told what checks of the ledger find.
        """
        if self._check_s:
            self._checking = Checking(self._home.ledger, telemetry, self._check_s)
            self._checking.start()
        self._timing.wake()
        self._writing.wake()
        self._relay.wake()
        for worker in self._workers:
            worker.start()

    def wake(self) -> None:
        """Look now: something was accepted."""
        self._relay.wake()

    def close(self) -> None:
        """End what runs; whoever starts next goes on with it."""
        for worker in self._workers:
            worker.stop()
        self._timing.stop()
        self._timing.join()
        self._relay.close()
        self.queue.close()
        for executor in self._executors:
            executor.close()
        for worker in self._workers:
            worker.join()
        if self._checking:
            self._checking.close()
        self._writing.stop()
        self._writing.join()

    def _keep_time(self) -> None:
        if life.take_effect(self._home.site):
            self._relay.wake()


def worker_settings(settings: Settings) -> WorkerSettings:
    """How workers of a server work."""
    return WorkerSettings(
        lease_s=settings.lease_s,
        beat_s=settings.lease_s / 6,
        policy=Policy(
            requests=settings.gold_standard_requests,
            days=settings.gold_standard_days,
            unseen=settings.gold_standard_unseen,
        ),
    )


def queue_of(home: Home, url: str | None) -> Queue:
    """The queue of a home at a broker, or one in memory where there is none.

    Homes that share a broker have queues of their own: none wakes the workers of another.

    Raises:
        InputError: The broker's library is not installed, or that is no URL of a broker.
    """
    if not url:
        return InProcessQueue()
    try:
        from expunge.service.rabbitmq import QUEUE, RabbitQueue
    except ModuleNotFoundError:
        raise InputError("A broker needs pika: pip install 'expunge[rabbitmq]'.") from None
    return RabbitQueue(url, f"{QUEUE}.{home.ledger.origin.rpartition('/')[2]}")
