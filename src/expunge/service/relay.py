"""Moves units from the outbox to the queue, in a thread of its own."""

from __future__ import annotations

import logging
from typing import Final

from expunge.core.errors import BrokerUnreachable
from expunge.home.background import Background
from expunge.ledger.lease import Clock, shared_clock
from expunge.requests import outbox
from expunge.service.queue import Queue
from expunge.storage.database import Database

_LOG: Final = logging.getLogger(__name__)


class Relay:
    """Tells the queue of each unit that the outbox holds, then forgets its row.

    Any number of processes may have one: two that meet tell the queue twice, and the second
    worker finds nothing to claim.

    Args:
        every_s: How often it looks, where nobody wakes it.
        batch: Most units that are published together.
    """

    def __init__(
        self,
        database: Database,
        queue: Queue,
        *,
        every_s: float = 1.0,
        batch: int = 500,
        clock: Clock = shared_clock,
    ) -> None:
        self._database, self._queue, self._batch, self._clock = database, queue, batch, clock
        self._broken = False
        self._background = Background(self._tend, "Units were not handed to the queue.", every_s)

    def wake(self) -> None:
        """Begin at once: rows were written. The first call starts the thread."""
        self._background.wake()

    def close(self) -> None:
        """Begin nothing more, and wait for what goes on."""
        self._background.stop()
        self._background.join()

    def sweep(self) -> int:
        """Move all that is due; returns how many units that were.

        Raises:
            BrokerUnreachable: The rows of what was not confirmed stay.
        """
        moved = 0
        while units := self._pending():
            self._queue.publish(units)
            # Only now: a crash in between repeats the message, never loses it.
            with self._database.transaction() as transaction:
                outbox.sent(transaction, units)
            moved += len(units)
        return moved

    def _pending(self) -> list[int]:
        with self._database.reading() as transaction:
            return outbox.pending(transaction, self._batch, self._clock(transaction))

    def _tend(self) -> None:
        try:
            self.sweep()
        except BrokerUnreachable as error:
            if not self._broken:
                _LOG.warning("%s", error)
            self._broken = True
        else:
            if self._broken:
                _LOG.info("The broker is back, and was told of all units that waited.")
            self._broken = False
