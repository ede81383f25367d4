"""A certificate taken apart: what it holds, read strictly, before anything about it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from expunge.core import jcs
from expunge.core.errors import CertificateInvalid
from expunge.ledger import certificate, dsse, predicate, proof, strict
from expunge.ledger.predicate import Claims
from expunge.ledger.proof import TlogProof

ENTRY_BYTES: Final = 65_535

_LEDGER: Final = "ledger/"
_FIELDS: Final = ({"v", "at", "kind", "body"}, {"v", "at", "kind", "body", "request"})


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the log, as the certificate holds it.

    Attributes:
        leaf: Its bytes.
        proof: The claim that it is in the log; nobody has checked it yet.
    """

    index: int
    leaf: bytes
    proof: TlogProof
    at: str
    kind: str
    request: str | None
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Opened:
    """A certificate whose signature is right for the key that came with it.

    Attributes:
        members: Of the archive, by name.
        payload: The signed statement.
        subjects: As the statement has them.
        entries: In order of index; none before :func:`entries` has read them.
    """

    members: Mapping[str, bytes]
    key: ec.EllipticCurvePublicKey
    payload: bytes
    claims: Claims
    subjects: list[Any]
    entries: tuple[Entry, ...] = ()

    def of_kind(self, kind: str) -> tuple[Entry, ...]:
        """Entries of one kind, in order of index."""
        return tuple(entry for entry in self.entries if entry.kind == kind)

    @property
    def digest(self) -> str:
        """SHA-256 of the signed statement, hexadecimal."""
        return sha256(self.payload).hexdigest()


def read(members: Mapping[str, bytes]) -> Opened:
    """Check the signature, and read what is signed.

    Raises:
        CertificateInvalid: A part is missing or malformed, or the signature is wrong.
    """
    for name in (certificate.STATEMENT, certificate.KEY, certificate.PAGE):
        if name not in members:
            raise CertificateInvalid(f"The archive lacks {name!r}.")
    key = dsse.public_key(members[certificate.KEY])
    payload = dsse.unseal(members[certificate.STATEMENT], key, certificate.STATEMENT)
    claims, subjects = predicate.parse(payload)
    return Opened(members, key, payload, claims, subjects)


def entries(members: Mapping[str, bytes]) -> tuple[Entry, ...]:
    """Read the entries of the log in an archive, in order of index; proves nothing about them.

    Raises:
        CertificateInvalid: One is malformed, or lacks its proof.
        ProofInvalid: A proof is malformed.
    """
    stems = {name.rpartition(".")[0] for name in members if name.startswith(_LEDGER)}
    return tuple(sorted((_entry(members, stem) for stem in stems), key=lambda entry: entry.index))


def _entry(members: Mapping[str, bytes], stem: str) -> Entry:
    index = strict.number(stem.removeprefix(_LEDGER))
    leaf, proven = members.get(f"{stem}.json"), members.get(f"{stem}.tlog-proof")
    if index is None or leaf is None or proven is None:
        raise CertificateInvalid(f"{stem!r} is not an entry of the log with its proof.")
    try:
        found = jcs.loads(leaf, f"Entry {index:,}", ENTRY_BYTES)
    except ValueError as error:
        raise CertificateInvalid(str(error)) from error
    match found:
        case {"v": 1, "at": str(at), "kind": str(kind), "body": dict(body)} if (
            found.keys() in _FIELDS and isinstance(found.get("request", ""), str)
        ):
            return Entry(index, leaf, _proof(proven), at, kind, found.get("request"), body)
    raise CertificateInvalid(f"Entry {index:,} is not an entry of a log of Expunge, version 1.")


def _proof(data: bytes) -> TlogProof:
    found = proof.parse(data)
    if found.extra is not None:  # nobody signs it, so it must not be there
        raise CertificateInvalid("A proof holds bytes that nobody signed.")
    return found
