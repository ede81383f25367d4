"""The ledger of a home: what waits goes into the tree, the tree into files, and proofs come out."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from expunge.core.errors import LeaseHeld, LedgerError
from expunge.ledger import files, note, publish, sql
from expunge.ledger import lease as leases
from expunge.ledger.export import export
from expunge.ledger.fsck import Report, fsck
from expunge.ledger.keys import Keys, Which
from expunge.ledger.lease import Clock
from expunge.ledger.note import Checkpoint, Verifier
from expunge.ledger.reading import Reading
from expunge.ledger.reconcile import reconcile
from expunge.ledger.recovery import Recovered
from expunge.ledger.witness import add_checkpoint
from expunge.ledger.writer import PAUSE_S, Writer
from expunge.storage.database import Database


class Ledger(Reading):
    """A home's ledger. Safe to use from several threads, and in several processes."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        origin: str,
        *,
        clock: Clock = leases.shared_clock,
        lease_s: float = 10.0,
    ) -> None:
        """Name a ledger; writes nothing.

        Args:
            database: Holds the facts.
            folder: The home's; the log is in ``ledger/``, its keys are in ``keys/``.
            origin: Name for a log that is not open yet; an open one keeps the name that it has.
            clock: Of the lease that its writers take.
            lease_s: How long others wait for a writer that died on another machine.
        """
        self._writer = Writer(database, folder, origin, clock=clock, lease_s=lease_s)
        super().__init__(database, self._writer.files)

    def sync(self, *, wait: bool = False, timeout_s: float = 60.0) -> int:
        """Take what waits into the tree, and publish it; open the log if it is not.

        Does nothing, cheaply, where nothing waits. Where another process is at it, that one
        does the work.

        Args:
            wait: Return only when all that waited at the call is published, whoever does it.
            timeout_s: How long to wait for another process at most.

        Returns:
            Entries in the published tree.

        Raises:
            LeaseHeld: Another process did not end its turn in time; only with ``wait``.
            LedgerForked: Database and files are two histories.
            KeyInvalid: A key is missing, or another one than the log's.
        """
        until = time.monotonic() + timeout_s
        last = self._last_waiting() if wait else 0
        while self._writer.is_due():
            try:
                with self._writer.turn() as turn:
                    self._writer.catch_up(turn)
                break
            except LeaseHeld:
                if not wait or self._writer.has_published(last):
                    break
                if time.monotonic() >= until:
                    raise
            time.sleep(PAUSE_S)
        found = files.published(self._folder)
        return found.checkpoint.size if found else 0

    def recover(self, *, timeout_s: float = 60.0) -> Recovered:
        """Give a restored database back the entries that are published and it has lost.

        To be called before anything else is done with a home; does nothing where nothing is lost.

        Raises:
            LeaseHeld: Another process did not end its turn in time.
            LedgerForked: Database and files are two histories.
            LedgerError: The files are damaged.
            KeyInvalid: The key that signed them is missing.
        """
        found = files.published(self._folder)
        head = self._writer.head()
        size = head.size if head else 0
        if found is None or found.checkpoint.size <= size:
            return Recovered(size, size)
        with self._writer.turn(time.monotonic() + timeout_s) as turn:
            return self._writer.recover(turn)

    @property
    def origin(self) -> str:
        """Name of the log."""
        return self.keys.origin

    @property
    def vkey(self) -> str:
        """Public key of the log; made where there is none yet."""
        head = self._writer.head()
        return head.log_key if head else self.keys.log().verifier.vkey

    @property
    def keys(self) -> Keys:
        """The home's keys."""
        return self._writer.keys(self._writer.head())

    @property
    def certificate_key(self) -> EllipticCurvePrivateKey:
        """The private key that signs certificates, as the log names it.

        Raises:
            KeyInvalid: It is missing, or another one.
        """
        head = self._writer.head()
        return self.keys.certificate(head.certificate_key if head else None)

    def export(self, folder: Path) -> int:
        """Bring a copy for everybody up to date; see :func:`expunge.ledger.export.export`."""
        return export(self._folder, folder)

    def fsck(self, earlier: bytes | None = None) -> Report:
        """Check files, signatures, tree and facts exhaustively; writers wait meanwhile.

        Args:
            earlier: A checkpoint that the log published before, of your own keeping.

        Raises:
            LedgerError: The log is not open yet.
        """
        with self._writer.still():
            with self._database.reading() as transaction:
                key, witnesses = sql.log_key(transaction), sql.witness_keys(transaction)
            if key is None:
                raise LedgerError("The ledger has no entries yet. Sync it first.")
            report = fsck(self._folder, key, earlier=earlier, witnesses=witnesses)
            further = reconcile(self._database, self._folder)
            return replace(report, problems=(*report.problems, *further))

    def repair(self, *, timeout_s: float = 60.0) -> None:
        """Write all files of the log again, from the database, after they were damaged.

        Raises:
            LeaseHeld: Another process did not end its turn in time.
            DataCorrupt: The database is damaged too.
        """
        with self._writer.turn(time.monotonic() + timeout_s) as turn:
            self._writer.catch_up(turn)
            publish.rewrite(self._database, self._folder, turn.guard)

    def witness(self, url: str, vkey: str, *, timeout_s: float = 10.0) -> bytes:
        """Have a witness cosign the published checkpoint; returns the checkpoint with it.

        The published one carries the cosignature until the next. Proofs under the one that is
        returned can be made at any time.

        Args:
            url: The witness's submission prefix.
            vkey: Its public key.
            timeout_s: For asking it.

        Raises:
            WitnessRefused: It does not answer, or does not cosign.
        """
        verifier, data = Verifier.parse(vkey), self.checkpoint
        size = Checkpoint.parse(note.parse(data).text).size
        with self._database.reading() as transaction:
            old = sql.last_cosigned(transaction, vkey, size)

        def prove(known: int) -> list[bytes]:
            return self.consistency(known, size)

        signature = add_checkpoint(url, data, verifier, prove, old=old, timeout_s=timeout_s)
        with self._database.transaction() as transaction:
            sql.add_cosignature(transaction, size, vkey, signature.line)
        self.sync()
        return note.parse(data).with_signature(signature).to_bytes()

    def rotate(self, which: str, new: str | None = None, *, timeout_s: float = 60.0) -> str:
        """Replace a key; the log says so. The old public key stays in the log.

        Args:
            which: ``log`` or ``certificate``.
            new: The new key, as a path or a PEM; by default it is made. Where the present one
                comes from the environment, set that to the new one afterwards.
            timeout_s: How long to wait for another process at most.

        Returns:
            The public half: a log's as vkey, a certificate's as SHA-256 of its SPKI.

        Raises:
            KeyInvalid: The new key cannot be used, or is the present one.
            LeaseHeld: Another process did not end its turn in time.
        """
        with self._writer.turn(time.monotonic() + timeout_s) as turn:
            self._writer.catch_up(turn)
            return self._writer.rotate(turn, Which(which), new)

    def _last_waiting(self) -> int:
        with self._database.reading() as transaction:
            return sql.last_waiting(transaction)
