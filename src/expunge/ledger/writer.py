"""The one writer of a ledger: takes its turn, brings tree and files up to date, changes keys.

A turn is held by a lease in the database, for writers on several machines, and by a lock on a
file, which the system lets go of at once where a writer on this machine dies.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from expunge.core.errors import KeyInvalid, LeaseHeld
from expunge.ledger import files, publish, recovery, sequencer, sql
from expunge.ledger import lease as leases
from expunge.ledger.keys import Keys, Which, fingerprint
from expunge.ledger.lease import Clock, Lease
from expunge.ledger.note import Signer
from expunge.ledger.recovery import Recovered
from expunge.ledger.sql import Head
from expunge.storage import locks
from expunge.storage.database import Database

PAUSE_S: Final = 0.02
"""Between two tries to take a turn."""

_NAME: Final = "ledger"


class Turn:
    """A time in which nobody else writes the ledger."""

    def __init__(self, database: Database, lease: Lease, seconds: float, clock: Clock) -> None:
        self._database, self._seconds, self._clock = database, seconds, clock
        self._renewed = time.monotonic()
        self.lease = lease

    def guard(self) -> None:
        """See that it is still our turn, and make it last; for long work, now and then.

        Raises:
            LeaseHeld: It took too long, and another process has the turn.
        """
        if time.monotonic() - self._renewed > self._seconds / 3:
            self.lease = leases.renew(self._database, self.lease, self._seconds, clock=self._clock)
            self._renewed = time.monotonic()
            return
        with self._database.reading() as transaction:
            leases.check(transaction, self.lease)


class Writer:
    """Writes one ledger. Safe to use from several threads, and in several processes."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        origin: str,
        *,
        clock: Clock = leases.shared_clock,
        lease_s: float = 10.0,
    ) -> None:
        """Write nothing yet.

        Args:
            database: Holds facts and tree.
            folder: The home's; the log is in ``ledger/``, its keys are in ``keys/``.
            origin: Name for a log that is not open yet.
            clock: Of the lease.
            lease_s: How long the others wait for a writer that died on another machine.
        """
        self.database, self.files = database, folder / "ledger"
        self._folder, self._origin = folder, origin
        self._clock, self._lease_s = clock, lease_s
        self._holder = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._lock = folder / "ledger.lock"
        self._has_swept = False

    def head(self) -> Head | None:
        """The tree's head; None before the log is open."""
        with self.database.reading() as transaction:
            return sql.head(transaction)

    def keys(self, head: Head | None = None) -> Keys:
        """The home's keys, named for the log."""
        return Keys(self._folder / "keys", head.origin if head else self._origin)

    @contextmanager
    def turn(self, until: float = 0.0) -> Iterator[Turn]:
        """Take a turn at writing.

        Args:
            until: Wait for it up to this moment of ``time.monotonic``; by default not at all.

        Raises:
            LeaseHeld: Somebody else has the turn.
        """
        with ExitStack() as stack:
            yield self._enter(stack, until)

    def _enter(self, stack: ExitStack, until: float) -> Turn:
        while True:
            try:
                return stack.enter_context(self._turn())
            except LeaseHeld:
                if time.monotonic() >= until:
                    raise
            time.sleep(PAUSE_S)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Keep all writers on this machine waiting, such as while everything is checked."""
        with locks.alone(self._lock):
            yield

    @contextmanager
    def _turn(self) -> Iterator[Turn]:
        with locks.alone_if_free(self._lock) as is_free:
            if not is_free:
                raise LeaseHeld(
                    "Another process on this machine writes the ledger at the moment. What waits "
                    "for its place in the tree will be there soon."
                )
            seconds, clock = self._lease_s, self._clock
            lease = leases.take(self.database, _NAME, self._holder, seconds, clock=clock)
            turn = Turn(self.database, lease, seconds, clock)
            try:
                yield turn
            finally:
                leases.release(self.database, turn.lease)

    def is_due(self) -> bool:
        """Whether there is anything to write. Reads, and takes no turn."""
        published = files.published(self.files)
        with self.database.reading() as transaction:
            head = sql.head(transaction)
            if head is None or published is None or sql.has_waiting(transaction):
                return True
            if published.data != publish.wanted(transaction, head):
                return True
        return not self.keys(head).is_settled(head.log_key, head.certificate_key)

    def has_published(self, number: int) -> bool:
        """Whether all facts with numbers up to ``number`` are in the published tree."""
        published = files.published(self.files)
        with self.database.reading() as transaction:
            head = sql.head(transaction)
            is_waiting = sql.has_waiting(transaction, number)
        is_behind = head is None or published is None or published.checkpoint.size < head.size
        return not is_behind and not is_waiting

    def catch_up(self, turn: Turn) -> None:
        """Bring tree and files up to date: take back what was lost, sequence, publish.

        Raises:
            LeaseHeld: It took too long, and another process has the turn.
            LedgerForked: Database and files are two histories.
            KeyInvalid: A key is missing, or another one than the log's.
        """
        self.recover(turn)
        head = self.head()
        if head is None:
            head = self._open(turn)
        signer = self.keys(head).log(head.log_key)
        while True:
            with self.database.transaction() as transaction:
                taken = sequencer.sequence(transaction, turn.lease, signer)
            if taken < sequencer.BATCH:
                break
            turn.guard()
        self._publish(turn)

    def recover(self, turn: Turn) -> Recovered:
        """Clear what a crash left behind; take back what a restored database has lost."""
        published, head = files.published(self.files), self.head()
        stop, size = published.checkpoint.size if published else 0, head.size if head else 0
        if not self._has_swept:
            publish.sweep(self.files, stop)
            self._has_swept = True
        if stop <= size:
            return Recovered(size, size)
        return recovery.recover(self.database, self.files, turn.lease, self.keys())

    def rotate(self, turn: Turn, which: Which, supplied: str | None) -> str:
        """Replace a key; returns the public half of the new one.

        Raises:
            KeyInvalid: The new key cannot be used, or is the present one.
        """
        head = self.head()
        assert head is not None  # its caller has caught up
        keys = self.keys(head)
        signer, private = keys.log(head.log_key), keys.prepare(which, supplied)
        public = keys.public(private)
        if public in (head.log_key, head.certificate_key):
            raise KeyInvalid(f"The new {which} key is in force already. Make another one.")
        with self.database.transaction() as transaction:
            if isinstance(private, Ed25519PrivateKey):
                new = Signer(keys.origin, private)
                sequencer.hand_over(transaction, turn.lease, signer, new)
            else:
                sequencer.replace_certificate_key(transaction, turn.lease, signer, public)
        self._publish(turn)
        return public

    def _open(self, turn: Turn) -> Head:
        keys = self.keys()
        signer, certificate = keys.log(), fingerprint(keys.certificate())
        with self.database.transaction() as transaction:
            sequencer.open_log(transaction, turn.lease, signer, certificate)
            return sequencer.required(transaction)

    def _publish(self, turn: Turn) -> None:
        publish.publish(self.database, self.files, turn.guard)
        head = self.head()
        assert head is not None  # published just now
        # A key's file is moved when the entry about it is where a restored database finds it.
        self.keys(head).settle(Which.LOG, head.log_key)
        self.keys(head).settle(Which.CERTIFICATE, head.certificate_key)
