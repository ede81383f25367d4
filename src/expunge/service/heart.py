"""A worker's heart: keeps a claim while its unit is built, and kills what must not go on."""

from __future__ import annotations

import logging
from enum import Enum
from threading import Event, Thread
from time import monotonic
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from expunge.core.errors import ClaimLost
from expunge.execution.local import Executor
from expunge.requests import claims
from expunge.requests.claims import Claim
from expunge.storage.database import Database

_LOG: Final = logging.getLogger(__name__)
_TICK_S: Final = 0.1


class Ended(Enum):
    """Why building was ended from outside."""

    STOPPING = "stopping"  # the worker is to end
    LOST = "claim-lost"  # another may have the unit by now
    LIMIT = "time-limit"  # it took too long


class Heart:
    """Beats in a thread of its own, from entering to leaving.

    Attributes:
        ended: Why the building was killed, if it was.

    Args:
        database: Where the claim is.
        claim: To keep.
        executor: Runs nothing but the building.
        lease_s: For how long each beat keeps the claim.
        beat_s: From beat to beat.
        limit_s: How long building may take.
        stopping: Whether the worker is to end.
        since: When the claim was begun, by the monotonic clock: the lease is not shorter than
            from then on.
    """

    def __init__(  # noqa: PLR0913 - what it keeps, what it kills, and when
        self,
        database: Database,
        claim: Claim,
        executor: Executor,
        *,
        lease_s: float,
        beat_s: float,
        limit_s: float,
        stopping: Event,
        since: float,
    ) -> None:
        self.ended: Ended | None = None
        self._database, self._claim, self._executor = database, claim, executor
        self._lease_s, self._beat_s = lease_s, beat_s
        self._stopping, self._over = stopping, Event()
        self._latest, self._ours_until = since + limit_s, since + lease_s
        self._next = since + beat_s
        self._thread = Thread(target=self._run, name="expunge-heart", daemon=True)

    def __enter__(self) -> Heart:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_TICK_S):
            self.ended = self.ended or self._why_end()
            if self.ended:
                # Again and again: what is to be built may not have begun yet.
                self._executor.kill()

    def _why_end(self) -> Ended | None:
        if self._stopping.is_set():
            return Ended.STOPPING
        if monotonic() >= self._latest:
            return Ended.LIMIT
        if monotonic() >= self._next:
            self._beat()
        return Ended.LOST if monotonic() >= self._ours_until else None

    def _beat(self) -> None:
        begun = monotonic()
        try:
            claims.beat(self._database, self._claim, self._lease_s)
        except ClaimLost:
            self._ours_until = begun
        except SQLAlchemyError as error:
            # No text of the driver's: it may quote a value.
            _LOG.warning("A beat failed, and is tried again: %s", type(error).__name__)
            self._next = begun + min(1.0, self._beat_s)
        else:
            self._ours_until, self._next = begun + self._lease_s, begun + self._beat_s
