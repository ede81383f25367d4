"""Certify: collect what was recorded about one request, sign it, log that, and pack the proofs.

Nothing is claimed that is not read off the ledger, the database or the served bytes at this
moment. The certificate's own entry is the last one that it holds.

What is signed rests beside the certificates, as a draft, before the ledger names it: whoever
dies, or finds the disk full, after that goes on with the same statement. So the ledger names one
certificate of a request, unless files were lost; then the next one says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from expunge.core.errors import (
    CertificateInvalid,
    CertificateNotReady,
    CertificateRefused,
    InputError,
    LedgerError,
    WitnessRefused,
)
from expunge.ledger import certificate, issue, note, offline, predicate
from expunge.ledger import opened as readings
from expunge.ledger.issue import Prepared
from expunge.ledger.log import Ledger
from expunge.ledger.statement import Entry, Evidence
from expunge.requests import evidence, sql
from expunge.requests.journaled import ENDS
from expunge.requests.kinds import Kind
from expunge.storage import disk, facts
from expunge.storage.facts import FACTS, Fact, Recorded
from expunge.storage.locks import alone
from expunge.training.site import Site

_TURNS: Final = 5
_AT_ONCE: Final = 500  # below every database's limit of parameters
_NOT_NAMED: Final = ("key", "evidence")
"""Checks that fail before the ledger names a certificate, and no others."""


@dataclass(frozen=True, slots=True)
class Witness:
    """Somebody else who cosigns the ledger.

    Attributes:
        url: Where it takes add-checkpoint.
        key: Its public key, as C2SP writes it.
    """

    url: str
    key: str

    @property
    def name(self) -> str:
        """Of its key."""
        return self.key.partition("+")[0]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of unlearning, as one zip file.

    Attributes:
        request: The request's random id.
        data: The file.
    """

    request: str
    data: bytes

    def save(self, path: str | Path) -> Path:
        """Write the file in one step; returns where."""
        to = Path(path)
        disk.write_file(to, self.data)
        return to


def certify(
    site: Site, ledger: Ledger, request: str, witnesses: Sequence[Witness] = ()
) -> Certificate:
    """The certificate of a request that is done; issued once, then the same bytes again.

    Costs reading all served checkpoints, and for some forgotten rows and each model a proof
    of some tens of kilobytes.

    Args:
        site: What the home stands on.
        ledger: The home's.
        request: Its id.
        witnesses: Those that are to cosign the tree that the certificate is proven by.

    Raises:
        UnknownName: There is no such request.
        CertificateInvalid: A restored backup lacks what it would have to show.
        CertificateNotReady: Models or rows still wait, or it does.
        CertificateRefused: It was cancelled, refused or undone.
        InputError: Witnesses are named, and it was issued before.
        WitnessRefused: A witness does not cosign; nothing is issued, ask again.
    """
    with site.database.reading() as transaction:
        row = sql.find(transaction, request)
    _check_state(row)
    place = site.certificates / f"{row.id}.zip"
    with alone(site.certificates / ".lock"):
        if place.exists() and witnesses:
            raise InputError("The certificate was issued already; its log's head stays as it was.")
        if not place.exists():
            disk.write_file(place, _issue(site, ledger, row.id, witnesses))
        disk.remove(_draft(site, row.id))
        return Certificate(request, place.read_bytes())


def _check_state(row: sql.Request) -> None:
    if row.state in ENDS.values():
        raise CertificateRefused(row.id, row.state)
    # A restriction is never done: it lasts, once its models are whole.
    lasts = row.kind is Kind.RESTRICT and row.state is sql.State.HELD
    if row.state is not sql.State.DONE and not lasts:
        raise CertificateNotReady(row.id)


def _issue(site: Site, ledger: Ledger, request: str, witnesses: Sequence[Witness]) -> bytes:
    prepared = _begun(site, request, witnesses)
    if prepared is None:
        prepared = issue.prepare(_collect(site, ledger, request, witnesses), ledger.certificate_key)
        _check(_finish(site, ledger, prepared, ledger.checkpoint), ledger, but=_NOT_NAMED)
        disk.write_file(_draft(site, request), certificate.pack(prepared.members))
        with site.database.transaction() as transaction:
            body = {"statement": prepared.statement, "key": prepared.key}
            facts.record(transaction, Fact(predicate.ISSUED, body, request))
    ledger.sync(wait=True)
    made = _finish(site, ledger, prepared, _cosigned(ledger, witnesses))
    try:
        _check(made, ledger)
    except CertificateInvalid:
        disk.remove(_draft(site, request))  # the next one says that this one was not handed out
        raise
    return made


def _draft(site: Site, request: str) -> Path:
    return site.certificates / f"{request}.draft"


def _begun(site: Site, request: str, witnesses: Sequence[Witness]) -> Prepared | None:
    """What was signed, and named by the ledger, before its issuing was cut off."""
    place = _draft(site, request)
    if not place.exists():
        return None
    members = certificate.unpack(place.read_bytes())
    found = readings.read(members)
    names = {witness.name for witness in witnesses}
    with site.database.reading() as transaction:
        own = _own(transaction, request, found.digest)
    if own is None or set(found.claims.log.witnesses) != names:
        return None
    return Prepared(found.digest, own.body["key"], members)


def _finish(site: Site, ledger: Ledger, prepared: Prepared, head: bytes) -> bytes:
    """The archive with all entries that the statement names, and its own, if that is in the log."""
    found = readings.read(prepared.members).claims
    with site.database.reading() as transaction:
        own = _own(transaction, found.request.id, prepared.statement)
        indexes = [entry.index for entry in found.entries]
        leaves = [leaf for chunk in _chunks(indexes) for leaf in _leaves(transaction, chunk)]
    entries = [Entry(index, leaf) for index, leaf in zip(indexes, leaves, strict=True)]
    entries += [evidence.entry(own)] if own else []
    proofs = ledger.proofs([one.index for one in entries], head)
    return issue.finish(prepared, [(e, p.to_bytes()) for e, p in zip(entries, proofs, strict=True)])


def _chunks(indexes: Sequence[int]) -> Iterator[Sequence[int]]:
    return (indexes[start : start + _AT_ONCE] for start in range(0, len(indexes), _AT_ONCE))


def _leaves(transaction: sa.Connection, indexes: Sequence[int]) -> list[bytes]:
    wanted = sa.select(FACTS.c.leaf).where(FACTS.c.entry.in_(indexes)).order_by(FACTS.c.entry)
    return [bytes(leaf) for leaf in transaction.scalars(wanted)]


def _check(made: bytes, ledger: Ledger, but: Collection[str] = ()) -> None:
    """Hand out nothing that a stranger would not accept."""
    failed = offline.verify(made, [ledger.vkey]).failed
    if failed := tuple(check for check in failed if check.name not in but):
        raise CertificateInvalid(
            f"What this home holds does not bear out a certificate of the request: {failed[0].what} "
            f"That happens where a backup was restored that lacks what the ledger speaks of."
        )


def _collect(site: Site, ledger: Ledger, request: str, witnesses: Sequence[Witness]) -> Evidence:
    """Evidence of which every fact has its place in the tree, also while others record more."""
    for _ in range(_TURNS):
        ledger.sync(wait=True)
        _cosigned(ledger, witnesses)  # whoever refuses now would refuse later, with all signed
        with site.database.reading() as transaction:
            names = [witness.name for witness in witnesses]
            found = evidence.collect(site, transaction, ledger, request, names)
        if found is not None:
            return found
    raise LedgerError("Facts are recorded faster than the ledger takes them in. Try again.")


def _cosigned(ledger: Ledger, witnesses: Sequence[Witness]) -> bytes:
    """The published checkpoint, with the cosignatures of all ``witnesses``."""
    for _ in range(_TURNS):
        head = ledger.checkpoint
        for witness in witnesses:
            head = ledger.witness(witness.url, witness.key)
        signed = {signature.name for signature in note.parse(head).signatures}
        if signed >= {witness.name for witness in witnesses}:
            return head
    raise WitnessRefused("The ledger grew faster than its witnesses could cosign. Try again.")


def _own(transaction: sa.Connection, request: str, digest: str) -> Recorded | None:
    issued = facts.read(transaction, request, [predicate.ISSUED])
    return next((fact for fact in issued if fact.body["statement"] == digest), None)
