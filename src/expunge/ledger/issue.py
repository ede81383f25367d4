"""Make a certificate: from evidence to an archive, in two steps.

The log must know of a certificate before it is handed out, and the certificate must hold the
proof of that. So :func:`prepare` signs, then the caller records the fact ``certificate.issued``
and lets it into the log, and :func:`finish` packs everything with the proofs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec

from expunge.core import jcs, merkle
from expunge.ledger import certificate, dsse, modelsign, page, predicate
from expunge.ledger.predicate import Claims
from expunge.ledger.statement import Entry, Evidence, Model


@dataclass(frozen=True, slots=True)
class Prepared:
    """A signed certificate that the log does not know yet.

    Attributes:
        statement: SHA-256 of the signed statement, hexadecimal: the field ``statement`` of the
            fact ``certificate.issued``.
        key: Id of the key, hexadecimal: the field ``key`` of that fact.
        members: All members of the archive but those under ``ledger/``.
    """

    statement: str
    key: str
    members: Mapping[str, bytes]


def prepare(
    evidence: Evidence,
    key: ec.EllipticCurvePrivateKey,
    render: Callable[[Claims, str], str] = page.render,
) -> Prepared:
    """Sign what ``evidence`` says.

    Args:
        evidence: All of it.
        key: Of the curve P-256.
        render: Makes the page for people, of the claims and of the key's id.
    """
    public = key.public_key()
    members = {certificate.KEY: dsse.pem(public)}
    for model in evidence.models:
        members |= _signed_files(model, key)
    members |= _absences(evidence)
    draft = predicate.claims(evidence, members)
    members[certificate.PAGE] = render(draft, dsse.key_id(public)).encode()
    payload = predicate.payload(predicate.claims(evidence, members))
    members[certificate.STATEMENT] = dsse.seal(payload, key)
    return Prepared(sha256(payload).hexdigest(), dsse.key_id(public), members)


def finish(prepared: Prepared, entries: Iterable[tuple[Entry, bytes]]) -> bytes:
    """Pack the archive.

    Args:
        prepared: The signed certificate.
        entries: All entries of the evidence and its ``certificate.issued``, each with its file
            ``.tlog-proof``; all proofs under one checkpoint.
    """
    members = dict(prepared.members)
    for entry, proof in entries:
        members[f"ledger/{entry.index}.json"] = entry.leaf
        members[f"ledger/{entry.index}.tlog-proof"] = proof
    return certificate.pack(members)


def _signed_files(model: Model, key: ec.EllipticCurvePrivateKey) -> dict[str, bytes]:
    return {
        f"models/{model.id}.files.json": jcs.dumps(dict(model.files)),
        f"models/{model.id}.sig": modelsign.sign(model.files, model.id, key),
    }


def _absences(evidence: Evidence) -> dict[str, bytes]:
    rows = evidence.rows
    read = merkle.in_memory([merkle.leaf_hash(row) for row in rows])
    return {
        f"absence/{absence.model}-{absence.row}.json": jcs.dumps(
            {
                "model": absence.model,
                "row": absence.row,
                "leaf": rows[absence.row].hex(),
                "path": [p.hex() for p in merkle.prove_inclusion(absence.row, len(rows), read)],
                "proof": dict(absence.document),
            }
        )
        for absence in evidence.absences
    }
