"""What a server's routes call: a home, with work kept off the event loop."""

from __future__ import annotations

import asyncio
import hmac
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from expunge.core.errors import (
    ExpungeError,
    InputError,
    OutcomeUnknown,
    ServerBusy,
    ServerStopping,
    UnknownName,
)
from expunge.home import Home
from expunge.home.home import exact_methods
from expunge.requests import forecast as forecasting
from expunge.requests import units
from expunge.requests.finding import Wanted
from expunge.requests.forecast import Forecast
from expunge.requests.terms import Terms
from expunge.service import catalog, keys
from expunge.service.accepting import Accepting, Ask
from expunge.service.answers import Answer
from expunge.service.callers import Callers
from expunge.service.dispatcher import Dispatcher
from expunge.service.idempotency import Claim
from expunge.service.keys import Key
from expunge.service.once import once
from expunge.service.queue import Queue
from expunge.service.settings import Settings
from expunge.service.telemetry import Telemetry
from expunge.storage import disk
from expunge.training.serving import Serving

T = TypeVar("T")

_IDEMPOTENCY: Final = "service/idempotency"  # no dataset's folder has a slash
_NAMES_S: Final = 1.0
_LOOK_S: Final = 1.0


class Service:
    """A home as a server has it. Made in the process that serves, after it has forked.

    Args:
        home: What is served; whoever opened it closes it.
        settings: How.
        wake: Called when there is something to rebuild; by default the home rebuilds.
        queue: That wakes workers, if this process has one; for the telemetry.

    Attributes:
        callers: Who calls, by token.
        serving: Predictions under leases.
        telemetry: Numbers for Prometheus.
    """

    def __init__(
        self,
        home: Home,
        settings: Settings,
        wake: Callable[[], None] | None = None,
        queue: Queue | None = None,
    ) -> None:
        home.site.database.create()  # also the tables of keys and idempotency
        self.home, self.settings = home, settings
        self._pool = ThreadPoolExecutor(settings.threads, "expunge-read")
        self._running = asyncio.Semaphore(settings.threads * 16)
        self.callers = Callers(self._find_key, settings.key_cache_s)
        self.serving = Serving(home.site, settings.serving_lease_s)
        self._secret = home.site.journal.subkey(_IDEMPOTENCY)
        self.wake = wake or home.wake
        self.telemetry = Telemetry(home.site, queue, lambda: self.waiting)
        accepting = Accepting(home.site, settings, self.wake, self.telemetry)
        self._dispatcher = Dispatcher[Ask, Answer](accepting.serve, settings.batch, settings.queue)
        self._datasets: tuple[float, list[str]] = (0.0, [])
        self._looked: tuple[float, asyncio.Future[None] | None] = (0.0, None)
        self._journal = settings.journal or home.site.root / "journal"
        self._stopping = False

    @property
    def is_stopping(self) -> bool:
        """Whether nothing is begun any more."""
        return self._stopping

    @property
    def waiting(self) -> int:
        """Requests that wait to be accepted."""
        return self._dispatcher.waiting

    @property
    def ledger_files(self) -> Path:
        """Folder of the published ledger."""
        return self.home.site.root / "ledger"

    def stop(self) -> None:
        """Begin nothing more; what was begun goes on."""
        self._stopping = True

    def close(self) -> None:
        """Answer what was begun, and free all threads."""
        self.stop()
        self._dispatcher.close(self.settings.stop_timeout_s)
        self._pool.shutdown(cancel_futures=True)
        self.serving.close()

    async def submit(self, ask: Ask) -> Answer:
        """Have something forgotten. Returns when no response can come from what saw it.

        Raises:
            ExpungeError: It was refused; nothing was changed.
            OutcomeUnknown: It took too long; it may be accepted later.
            JournalUnwritten: It is in effect, and not in the journal yet.
            ServerBusy: Too many wait; it was not begun.
        """
        if self._stopping:
            raise ServerStopping
        future = self._dispatcher.submit(ask)
        try:
            async with asyncio.timeout(self.settings.accept_timeout_s):
                return await future
        except TimeoutError:
            raise OutcomeUnknown from None

    async def offload(self, work: Callable[..., T], *arguments: object) -> T:
        """Run what reads or predicts in a thread.

        Raises:
            TimeoutError: It takes longer than ``read_timeout_s``; it goes on, unheard.
            ServerBusy: Too many wait.
        """
        if self._running.locked():
            raise ServerBusy
        async with self._running, asyncio.timeout(self.settings.read_timeout_s):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, _here(work, *arguments))

    async def change(self, work: Callable[..., T], *arguments: object) -> T:
        """Run what changes something in a thread.

        Raises:
            OutcomeUnknown: It takes too long; it goes on, unheard.
            ServerStopping: It was not begun.
        """
        if self._stopping:
            raise ServerStopping
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.settings.accept_timeout_s):
                return await loop.run_in_executor(self._pool, _here(work, *arguments))
        except TimeoutError:
            raise OutcomeUnknown from None

    async def once(
        self,
        claim: Claim | None,
        work: Callable[[], Mapping[str, Any]],
        status: int = 200,
        show: Callable[[], Mapping[str, Any]] | None = None,
    ) -> Answer:
        """Change something in a thread; once for each idempotency key.

        Raises:
            JournalUnwritten: It is done, and not in the journal yet; who asks again is answered
                by ``show``.
            IdempotencyInFlight: Somebody is at it.
            IdempotencyReused: The key stands for something else.
            OutcomeUnknown: It takes too long; it goes on, unheard.
            ServerStopping: It was not begun.
        """
        site = self.home.site
        return await self.change(once, site, self.settings, claim, work, status, show)

    async def dataset(self, name: str | None) -> str:
        """``name``, or the one dataset that there is; that is looked up once a second.

        Raises:
            InputError: There is none, or there are several.
        """
        if name is not None:
            return name
        loop = asyncio.get_running_loop()
        until, names = self._datasets
        if loop.time() >= until or len(names) != 1:
            names = await self.offload(self.home.datasets)
            self._datasets = (loop.time() + _NAMES_S, names)
        if len(names) != 1:
            raise InputError(f"Say `dataset`: this home has {len(names)} datasets.")
        return names[0]

    def predict(self, model: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Outputs of a model, and the version that they come from.

        Raises:
            UnknownName: No such model, or it has no version yet.
            ModelWithdrawn: No clean constituent of it is left.
            InputError: A row cannot be used.
        """
        try:
            answered = self.serving.answer(model, rows)
        except UnknownName:
            raise
        except ExpungeError as error:
            self.telemetry.predicted(model, len(rows), error.code)
            raise
        self.telemetry.predicted(model, len(rows))
        return catalog.prediction(answered)

    def forecast(self, dataset: str, wanted: Wanted, terms: Terms) -> Forecast:
        """What a request would cost, and when it would be done.

        Raises:
            InputError: It could not be accepted.
        """
        site = self.home.site
        with site.database.reading() as transaction:
            begins = units.begins(transaction, self.settings.coalesce_s)
        ready = forecasting.Server(max(1, self.settings.workers), begins)
        return forecasting.forecast(site, dataset, wanted, terms, ready, exact_methods())

    def claim(self, caller: Key, key: str, path: str, body: bytes) -> Claim:
        """What an idempotency key stands for: keyed hashes, and the id of a request to be."""
        return Claim(
            caller.id,
            self._hash(b"key", key.encode()),
            self._hash(b"body", path.encode() + b"\0" + body),
            str(uuid.uuid4()),
        )

    async def ready(self) -> None:
        """See that requests can be accepted; looks once a second at most.

        Raises:
            ServerStopping: It stops.
            SQLAlchemyError: The database does not answer.
            OSError: The journal cannot be written.
        """
        if self._stopping:
            raise ServerStopping
        clock = asyncio.get_running_loop().time
        until, looking = self._looked
        if looking is None or (looking.done() and clock() >= until):
            looking = asyncio.ensure_future(self.offload(self._check))
            self._looked = (clock() + _LOOK_S, looking)
        await asyncio.shield(looking)

    def _check(self) -> None:
        with self.home.site.database.reading() as transaction:
            transaction.execute(sa.select(1))
        with TemporaryFile(dir=self._journal) as probe:
            probe.write(bytes(4096))
            probe.flush()
            disk.sync(probe.fileno())

    def _hash(self, what: bytes, data: bytes) -> bytes:
        return hmac.digest(self._secret, what + b"\0" + data, "sha256")

    def _find_key(self, token: str) -> Awaitable[Key | None]:
        return self.offload(keys.find, self.home.site, token)


def _here(work: Callable[..., T], *arguments: object) -> Callable[[], T]:
    """For a thread: log lines of the work name the call that it is for."""
    context = copy_context()
    return lambda: context.run(work, *arguments)
