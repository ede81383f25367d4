"""Is the certificate's story in the log? Checks of proofs, checkpoint, witnesses and key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from expunge.core import merkle
from expunge.core.errors import CertificateInvalid, ProofInvalid
from expunge.ledger import dsse, proof
from expunge.ledger.note import Checkpoint, Verifier
from expunge.ledger.opened import Entry, Opened
from expunge.ledger.predicate import ISSUED, RESTORED
from expunge.ledger.proof import Checked

_OF_A_MODEL = frozenset(
    {
        "model.created",
        "version.published",
        "unit.rebuilt",
        "unit.forgot",
        "audit.finished",
        "model.exported",
    }
)
_OF_THE_LOG = frozenset({"ledger.opened", "key.rotated", RESTORED})


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom the verifier trusts. Keys come from elsewhere, never from the certificate.

    Attributes:
        logs: Keys of logs; one of them must have signed.
        witnesses: Keys of witnesses whose cosignatures count.
        needed: How many of them must have cosigned.
    """

    logs: Sequence[Verifier]
    witnesses: Sequence[Verifier] = ()
    needed: int = 0


def included(opened: Opened, trust: Trust) -> Checked:
    """Check that all entries are in one tree, the head of which a trusted log signed.

    Raises:
        CertificateInvalid: No key was given, or the proofs are under several heads.
        ProofInvalid: The head is not signed by a trusted log, or an entry is not in its tree.
    """
    if not trust.logs:
        raise CertificateInvalid(
            "Not verified against a log: no key of a log was given. Get it from the owner of the "
            "log by a way of your own, not with the certificate, and pass it as `--log-key`."
        )
    if not opened.entries:
        raise CertificateInvalid("The archive holds no entry of a log.")
    # Two heads could be heads of two histories; nothing here would show that they are one.
    if len({entry.proof.checkpoint for entry in opened.entries}) > 1:
        raise CertificateInvalid("The proofs are under several heads of the log, not under one.")
    checked = _head(opened.entries[0], trust)
    if checked.checkpoint.origin != opened.claims.log.origin:
        raise CertificateInvalid("The statement names another log than the one that it is in.")
    for entry in opened.entries:
        _included(entry, checked.checkpoint)
    return checked


def _head(entry: Entry, trust: Trust) -> Checked:
    """The head over an entry's proof, signed by the first trusted log under whose key it is."""
    problems = []
    for log in trust.logs:
        try:
            return proof.check(entry.proof, entry.leaf, log, trust.witnesses)
        except ProofInvalid as error:
            problems.append(error)
    raise problems[0]


def _included(entry: Entry, head: Checkpoint) -> None:
    # The name of the file is nobody's word; the index in the proof is what is proved.
    if entry.proof.index != entry.index:
        raise CertificateInvalid(f"The proof of entry {entry.index:,} is one of another entry.")
    hashed, path = merkle.leaf_hash(entry.leaf), entry.proof.path
    if not merkle.check_inclusion(hashed, entry.index, head.size, path, head.root):
        raise ProofInvalid(f"Entry {entry.index:,} is not in the log of {head.size:,} entries.")


def belonging(opened: Opened) -> str:
    """Check that the entries are those that the statement lists, and belong to its request."""
    listed = {entry.index: entry for entry in opened.claims.entries}
    if [entry.index for entry in opened.claims.entries] != sorted(listed):
        raise CertificateInvalid("The statement lists entries out of order, or twice.")
    for entry in opened.entries:
        if entry.kind == ISSUED and entry.index not in listed:
            continue  # its own, which cannot stand in what it names
        signed = listed.pop(entry.index, None)
        if signed is None or signed.sha256 != sha256(entry.leaf).hexdigest():
            raise CertificateInvalid(f"Entry {entry.index:,} is not one that the statement lists.")
        if not _belongs(entry, opened) or signed.kind != entry.kind:
            raise CertificateInvalid(
                f"Entry {entry.index:,} ({entry.kind}) is about something else than this request."
            )
    if listed:
        raise CertificateInvalid(f"Entry {min(listed):,} is listed, and missing from the archive.")
    return f"All {len(opened.entries):,} entries are those that were signed for, and belong here."


def _belongs(entry: Entry, opened: Opened) -> bool:
    claims = opened.claims
    if entry.kind in _OF_THE_LOG:
        return entry.request is None
    if entry.kind in _OF_A_MODEL:
        return entry.body.get("model") in {model.id for model in claims.models}
    if entry.kind == "model.retired":
        forgot = opened.of_kind("request.forgotten")
        return entry.body.get("model") in {one.body.get("model") for one in forgot}
    if entry.kind == "dataset.ingested":
        return bool(entry.body.get("dataset") == claims.dataset.id)
    if entry.kind == "checkpoint.destroyed":
        return claims.request.id in entry.body.get("requests", ())
    return entry.request == claims.request.id


def vouched(opened: Opened) -> str:
    """Check that the log knows of this very certificate and of the key that signed it."""
    earlier = {entry.index for entry in opened.claims.entries}
    found = [entry for entry in opened.of_kind(ISSUED) if entry.index not in earlier]
    if len(found) != 1:
        raise CertificateInvalid(
            f"Expected one entry that says that this certificate was issued, found {len(found)}."
        )
    entry, key = found[0], dsse.key_id(opened.key)
    if entry.request != opened.claims.request.id:
        raise CertificateInvalid(f"Entry {entry.index:,} issues a certificate of another request.")
    if entry.body != {"statement": opened.digest, "key": key}:
        raise CertificateInvalid(
            f"Entry {entry.index:,} issues another certificate than this one, or by another key."
        )
    if entry.index <= max(earlier, default=-1):
        raise CertificateInvalid("The log has the certificate before what it certifies.")
    return f"Entry {entry.index:,} of the log names this certificate and its key ({key[:16]}…)."


def cosigned(checked: Checked, trust: Trust) -> str:
    """Check that enough witnesses cosigned the log's head."""
    names = [witness.name for witness in checked.witnesses]
    if len(names) < trust.needed:
        raise CertificateInvalid(
            f"{len(names)} of the witnesses whose keys were given signed the head of the log; "
            f"expected at least {trust.needed}."
        )
    return f"{len(names)} witnesses signed the head of the log: {', '.join(names) or 'none'}."
