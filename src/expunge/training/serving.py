"""Serve predictions from a version that is kept, under a lease; and wait until others moved on.

A server that asked the database for the current version at every prediction would need none
of this. It keeps the version for as long as a lease lasts instead, and a request is answered
only when every lease on an older version has moved on or run out (:func:`wait`). So:

- a prediction that begins after a request was answered finds no valid lease on an older version;
- where a server has no valid lease, it asks the database, which is always right;
- before a prediction is given out it is looked at once more: one whose lease ended meanwhile,
  because a newer version is there or because the process stood still, is computed anew.

A lease ends for its holder before it ends for those who wait. The holder counts from before it
wrote its row, by its own clocks, and leaves a margin; they read the database's clock. Assumed
is that the clocks run alike to one part in twenty while a lease lasts, and that the
database's is not set forward meanwhile. Two clocks of the holder must both agree: one that goes on
while the machine sleeps, and the time of day, which a machine that was paused and woken gets back.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Collection, Mapping
from threading import Event, Lock, Thread
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

import sqlalchemy as sa

from expunge.data import sql as data_sql
from expunge.data import table
from expunge.ledger.lease import shared_clock
from expunge.storage.database import Database
from expunge.training import leases, sql
from expunge.training.current import Current, Prediction
from expunge.training.ensemble import Ensemble
from expunge.training.leased import CLOCKS, Clock, Lease, Served, awake
from expunge.training.leases import Row
from expunge.training.site import Site

_LOG: Final = logging.getLogger(__name__)
_MARGIN: Final = 0.05
"""Part of a lease that its holder does not use: clocks may differ that much in their rate."""

_NOT_GIVEN_BACK: Final = "Leases could not be given back; requests wait until they run out: %s."
_NOT_RENEWED: Final = "Leases cannot be renewed; predictions ask the database instead: %s."
_ROUNDS: Final = 3
_FORGOTTEN_S: Final = 3600.0
_PAUSES_S: Final = (0.001, 0.02)


def wait(site: Site, numbers: Mapping[int, int]) -> None:
    """Wait until no process serves an older version than these, by number, of models by id.

    To be called after the transaction that published them has committed. Costs one query where
    nobody does. Never gives up before; a holder that was killed, or does not get on, is waited
    for until its lease has run out.
    """
    own, seen, pause = _move_own(site.database, numbers), _Seen(), _PAUSES_S[0]
    while _is_served(site.database, numbers, own, seen):
        time.sleep(pause)
        pause = min(2 * pause, _PAUSES_S[1])


class _Seen:
    """For how long rows have stood unchanged before our eyes."""

    def __init__(self) -> None:
        self._since: dict[Row, float] = {}

    def has_run_out(self, row: Row) -> bool:
        """Whether a lease is over by our own clock: the database's may have been set back."""
        now = awake()
        return now - self._since.setdefault(row, now) > row.seconds * (1 + _MARGIN)


def _is_served(
    database: Database, numbers: Mapping[int, int], own: Collection[str], seen: _Seen
) -> bool:
    with database.reading() as transaction:
        older = [
            row
            for row in leases.read(transaction)
            if row.number < numbers.get(row.model, 0) and row.holder not in own
        ]
        if not older:
            return False
        now = shared_clock(transaction)
    return any(row.until > now and not seen.has_run_out(row) for row in older)


class Serving:
    """Answers from versions that are kept under leases. Make it after a process has forked.

    A thread renews the leases of models that are asked, and lets go of those that are not
    current any more. Close it, so that nobody waits for its leases.

    Args:
        site: What is served.
        seconds: How long a lease lasts; at most so long a request waits for a holder that hangs.
        poll_s: How often to look for newer versions; about so long a request waits for others.
        clocks: The holder's, each in seconds from any beginning.
    """

    def __init__(
        self,
        site: Site,
        seconds: float = 2.0,
        poll_s: float = 0.05,
        clocks: tuple[Clock, ...] = CLOCKS,
    ) -> None:
        self.holder = uuid.uuid4().hex
        self._site, self._seconds, self._poll_s, self._clocks = site, seconds, poll_s, clocks
        self._served: dict[str, Served] = {}
        self._left: set[int] = set()
        self._lock = Lock()
        self._closing = Event()
        self._thread = Thread(target=self._run, name="expunge-serving", daemon=True)
        with site.database.transaction() as transaction:
            leases.clear(transaction, shared_clock(transaction) - _FORGOTTEN_S)
        _register(site.database, self)
        self._thread.start()

    def answer(self, name: str, x: Any) -> Prediction:  # noqa: ANN401 - any table
        """Outputs of a model, with the version that they come from.

        That version was current at some moment after this was called; almost always it still
        is when this returns.

        Raises:
            UnknownName: No such model, or it has no version yet.
            ModelWithdrawn: No clean constituent of it is left.
            ModelRetired: It was taken out of service for good.
        """
        served = self._find(name)
        lease = self._lease(served)
        cells = table.cells(lease.loaded.task.features, x)
        outputs = lease.loaded.predict(cells)
        for _ in range(1, _ROUNDS):
            if lease.is_valid(self._clocks):
                break
            lease = self._lease(served)
            outputs = lease.loaded.predict(cells)
        # After so many rounds it is given out as it is. Its version was current after we were
        # asked, and a stream of requests must not keep a slow prediction from ever ending.
        return Prediction(outputs, lease.loaded.task.classes, lease.loaded.version.digest)

    def moved(self, numbers: Mapping[int, int]) -> None:
        """Serve no older versions than these, by number, of models by id; at once."""
        for served in list(self._served.values()):
            self._move(served, numbers.get(served.current.model.id, 0))

    def close(self) -> None:
        """Serve nothing from leases any more, and give them back."""
        self._closing.set()
        self._thread.join()
        for served in self._served.values():
            served.end()
        try:
            with self._site.database.transaction() as transaction:
                leases.give_back(transaction, self.holder)
        except sa.exc.SQLAlchemyError as error:
            _LOG.error(_NOT_GIVEN_BACK, type(error).__name__)

    def _find(self, name: str) -> Served:
        if (found := self._served.get(name)) is not None:
            return found
        with self._site.database.reading() as transaction:
            model = self._site.model(transaction, name)
            dataset = data_sql.get_dataset(transaction, model.dataset, self._site.data)
        return self._served.setdefault(name, Served(Current(self._site, model, dataset.schema)))

    def _lease(self, served: Served) -> Lease:
        """The lease on a model; where there is none, its version as the database has it now."""
        served.asked = True
        lease = served.lease
        if lease is not None and lease.is_valid(self._clocks):
            return lease
        ends = self._ends()
        return Lease(served.current.newest(), ends)

    def _ends(self) -> tuple[float, ...]:
        """When a lease that is written after now ends, by our own clocks."""
        return tuple(clock() + self._seconds * (1 - _MARGIN) for clock in self._clocks)

    def _run(self) -> None:
        failing = False
        while not self._closing.wait(self._poll_s):
            try:
                self.poll()
                failing = False
            except Exception as error:  # noqa: BLE001 - leases run out, and answers ask the database
                if not failing:
                    _LOG.error(_NOT_RENEWED, type(error).__name__)
                failing = True

    def poll(self) -> None:
        """Move on to what is current, and renew what is asked and about to run out.

        The thread does this again and again. Costs nothing while nothing is asked, one query
        otherwise, and twice per lease's length a transaction and one query more.
        """
        numbers = self._look()
        due = self._due(numbers)
        ends = self._ends()
        if due or self._left:
            self._write(due)
        if due:
            self._look()  # after our rows are there for all to see, and not before
            for served, loaded in due:
                if not served.grant(loaded, ends):
                    self._leave(served)
            if self._left:
                self._write([])

    def _look(self) -> dict[int, int]:
        """Which versions are current; leases on others end."""
        everything = list(self._served.values())
        if not everything:
            return {}
        with self._site.database.reading() as transaction:
            numbers = sql.current_numbers(transaction, [s.current.model.id for s in everything])
        for served in everything:
            self._move(served, numbers.get(served.current.model.id, 0))
        return numbers

    def _move(self, served: Served, number: int) -> None:
        if served.move(number):
            self._leave(served)

    def _leave(self, served: Served) -> None:
        """Remove the row of a model with the next transaction."""
        with self._lock:
            self._left.add(served.current.model.id)

    def _due(self, numbers: Mapping[int, int]) -> list[tuple[Served, Ensemble]]:
        due = []
        for served in list(self._served.values()):
            loaded = served.current.kept(numbers.get(served.current.model.id, 0))
            if loaded is not None and served.asked and self._is_short(served.lease):
                served.asked = False
                due.append((served, loaded))
        return due

    def _is_short(self, lease: Lease | None) -> bool:
        """Whether less than half of a lease is left."""
        if lease is None:
            return True
        left = (end - clock() for clock, end in zip(self._clocks, lease.ends, strict=True))
        return min(left) < self._seconds / 2

    def _write(self, due: Collection[tuple[Served, Ensemble]]) -> None:
        with self._lock:
            left, self._left = self._left, set()
        with self._site.database.transaction() as transaction:
            until = shared_clock(transaction) + self._seconds
            rows = [
                Row(self.holder, s.current.model.id, loaded.version.number, until, self._seconds)
                for s, loaded in due
            ]
            leases.write(transaction, self.holder, rows, left)


_HERE: Final[WeakKeyDictionary[Database, WeakSet[Serving]]] = WeakKeyDictionary()
_HERE_LOCK: Final = Lock()


def _register(database: Database, serving: Serving) -> None:
    with _HERE_LOCK:
        _HERE.setdefault(database, WeakSet()).add(serving)


def _move_own(database: Database, numbers: Mapping[int, int]) -> list[str]:
    """Move on what this process serves itself; nobody has to wait for that. Returns who it was."""
    with _HERE_LOCK:
        here = list(_HERE.get(database, ()))
    for serving in here:
        serving.moved(numbers)
    return [serving.holder for serving in here]
