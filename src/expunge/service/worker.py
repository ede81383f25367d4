"""A worker: claims units and builds them, one at a time, until it is stopped.

The database is the truth. A queue only says when to look; a sweep every few seconds finds the
rest: units whose message was lost, those of a worker that died, models that are not whole
though no request says so. Building runs in a child process, which is killed when the claim is
lost, when it takes too long, and when the worker stops. A worker may be killed at any line;
when its lease has run out, another builds on from what is on the disk, to the same bytes.
"""

from __future__ import annotations

import logging
import os
import secrets
from dataclasses import dataclass, field
from threading import Event, Thread
from time import monotonic
from typing import Final

from expunge.core.errors import ClaimLost, ExpungeError, GateClosed, WorkerFailed
from expunge.execution.local import Executor
from expunge.execution.progress import Progress, Silent
from expunge.methods.exact.rebuild import Rebuild
from expunge.requests import claims, life, units
from expunge.requests.claims import Claim, Retry
from expunge.service import audits
from expunge.service.audits import Policy
from expunge.service.heart import Ended, Heart
from expunge.service.queue import Queue
from expunge.training import sql, versions
from expunge.training.site import Site
from expunge.training.sql import Model

_LOG: Final = logging.getLogger(__name__)
_WAIT_S: Final = 0.5
_AFTER_ERROR_S: Final = 1.0
_TEND_SHARE: Final = 0.1
"""While units wait, the part of the time in which what they freed is destroyed: it costs by the
time, not only by the row."""
_WORKER_LOST: Final = "worker-lost"


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker works.

    Attributes:
        lease_s: How long after its last beat a dead worker's unit waits for another.
        beat_s: From beat to beat; several fit into a lease.
        sweep_s: How often the database is searched without being woken.
        limit_s: How long one rebuild may take; then it is killed, which counts as a failure.
        attempts: After so many a unit is set aside, with its last error.
        backoff_s: Longest wait after the first failure; it doubles with each.
        backoff_max_s: Longest wait of all.
        policy: When models are audited though nobody asks.
    """

    lease_s: float = 30.0
    beat_s: float = 5.0
    sweep_s: float = 5.0
    limit_s: float = 86_400.0
    attempts: int = 8
    backoff_s: float = 1.0
    backoff_max_s: float = 300.0
    policy: Policy = field(default_factory=Policy)

    @property
    def retry(self) -> Retry:
        """What to do with a unit that failed."""
        return Retry(self.attempts, self.backoff_s, self.backoff_max_s)


class Worker:
    """Claims units and builds them. One thread, and one for its heart.

    Args:
        site: Whose units these are.
        executor: Builds, in a process that can be killed; used by nobody else, and closed by
            whoever made it.
        queue: Says when to look; of this worker alone, unless any number may wait at it.
        settings: How it works.
        progress: Shows what is built.
    """

    def __init__(
        self,
        site: Site,
        executor: Executor,
        queue: Queue,
        settings: WorkerSettings | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.holder: Final = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._site, self._executor, self._queue = site, executor, queue
        self._settings = settings or WorkerSettings()
        self._progress = progress or Silent()
        self._stopping = Event()
        self._thread: Thread | None = None
        self._sweep_at = self._tend_at = 0.0

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread = Thread(target=self.run_forever, name="expunge-worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more, and give back what is being built; a signal's handler may call it.

        What was built of it stays: whoever claims it next goes on from there.
        """
        self._stopping.set()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until a started worker has ended. Returns whether it has."""
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def alive(self) -> bool:
        """Whether a started worker runs."""
        return self._thread is not None and self._thread.is_alive()

    def run_forever(self) -> None:
        """Work until :meth:`stop`. Survives whatever a round raises, and says so in the log."""
        while not self._stopping.is_set():
            try:
                self._round()
            except Exception as error:  # noqa: BLE001 - a worker must not end by itself
                _LOG.error("A worker's round failed, and goes on: %s", _told(error))
                self._stopping.wait(_AFTER_ERROR_S)

    def step(self, wanted: tuple[int, ...] = ()) -> bool:
        """Claim one unit, one of ``wanted`` if it can be had, and build it.

        Returns whether there was one.
        """
        since = monotonic()
        claim = self._claim(wanted)
        self._queue.ack(wanted)
        if claim is None:
            return False
        if claim.attempt > self._settings.attempts:
            # Those who had it died with it: the next one would, too.
            claims.fail(self._site.database, claim, _WORKER_LOST, self._settings.retry)
        else:
            self._attempt(claim, since)
        return True

    def _round(self) -> None:
        wanted = self._wait()
        if self._stopping.is_set():
            return
        if built := self.step(tuple(wanted)):
            self._sweep_at = 0.0  # there may be more
        elif monotonic() >= self._sweep_at:
            self._sweep_at = monotonic() + self._settings.sweep_s
            self._want_missing()
        else:
            return
        if not built or monotonic() >= self._tend_at:
            self._tend()

    def _tend(self) -> None:
        begun = monotonic()
        # First: what is destroyed cannot be asked about any more.
        if audits.tend(self._site, self._settings.policy, (self._executor, self._progress)):
            life.tend(self._site)
        self._tend_at = monotonic() + (monotonic() - begun) / _TEND_SHARE

    def _wait(self) -> list[int]:
        """Units that the queue names; nothing when it is time to look for oneself."""
        while (left := self._sweep_at - monotonic()) > 0 and not self._stopping.is_set():
            if wanted := self._queue.wait(min(left, _WAIT_S)):
                return wanted
        return []

    def _claim(self, wanted: tuple[int, ...]) -> Claim | None:
        for unit in (*wanted, None):
            database, lease_s = self._site.database, self._settings.lease_s
            if claim := claims.claim(database, self.holder, lease_s, unit):
                return claim
        return None

    def _attempt(self, claim: Claim, since: float) -> None:
        s = self._settings
        heart = Heart(
            self._site.database,
            claim,
            self._executor,
            lease_s=s.lease_s,
            beat_s=s.beat_s,
            limit_s=s.limit_s,
            stopping=self._stopping,
            since=since,
        )
        try:
            with heart:
                self._build(claim)
        except ClaimLost:
            _LOG.info("A unit was taken by another worker, which goes on with it.")
        except Exception as error:  # noqa: BLE001 - it is kept with the unit
            self._failed(claim, heart.ended, error)

    def _build(self, claim: Claim) -> None:
        model = self._model(claim.model)
        Rebuild().build(self._site, model, claim.shard, self._executor, self._progress, claim)

    def _model(self, id_: int) -> Model:
        with self._site.database.reading() as transaction:
            known = self._site.all_models(transaction)
        found = next((model for model in known if model.id == id_), None)
        if found is None:  # retired since: its units are over
            raise ClaimLost
        return found

    def _failed(self, claim: Claim, ended: Ended | None, error: Exception) -> None:
        if ended is Ended.LOST:
            return
        if ended is Ended.STOPPING:
            claims.release(self._site.database, claim)
            return
        code = ended.value if ended else _code(error)
        # What a gate refused would be refused again: it waits for a person.
        policy = Retry(attempts=1) if isinstance(error, GateClosed) else self._settings.retry
        state = claims.fail(self._site.database, claim, code, policy)
        _LOG.warning(
            "Rebuilding shard %d of model %d failed (attempt %d; now %s): %s",
            claim.shard,
            claim.model,
            claim.attempt,
            state or "another worker's",
            _told(error),
        )

    def _want_missing(self) -> None:
        """Open units for what is not whole though no request says so."""
        with self._site.database.reading() as transaction:
            behind = [
                model
                for model in self._site.all_models(transaction)
                if sql.current_number(transaction, model.id)
                and versions.is_behind(self._site, transaction, model)
            ]
        for model in behind:
            with self._site.database.transaction() as transaction:
                ground = self._site.locked_ground_of(transaction, model)
                version = sql.current(transaction, model.id)
                if units.ensure(transaction, model, version, ground):
                    self._sweep_at = 0.0


def _code(error: Exception) -> str:
    """What is kept of an error: no text of others, which may quote a cell or an id."""
    if isinstance(error, WorkerFailed) and error.kind:
        return error.kind
    return error.code if isinstance(error, ExpungeError) else type(error).__name__


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, ExpungeError) else type(error).__name__
