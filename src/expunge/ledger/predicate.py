"""The signed statement of a certificate: in-toto Statement v1 with our predicate.

:class:`Claims` is the predicate, field by field. Making and checking share it, so that nothing
is signed that no one reads.

References:
    in-toto attestation framework, spec/v1/statement.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from expunge.core import jcs
from expunge.core.errors import CertificateInvalid
from expunge.core.types import Guarantee
from expunge.ledger import codec, ladder, limits
from expunge.ledger.ladder import Known, Level
from expunge.ledger.statement import (
    Dataset,
    Destroyed,
    Evidence,
    Log,
    Model,
    Request,
    Software,
)

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://expunge.dev/unlearning/v1"
ISSUED: Final = "certificate.issued"
RESTORED: Final = "home.restored"


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of the ledger that the certificate holds.

    Attributes:
        sha256: Of the entry's bytes.
    """

    index: int
    kind: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Shown:
    """How many proofs of absence the certificate holds, ``of`` how many: rows times models."""

    shown: int
    of: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the evidence stood when the certificate was issued.

    Attributes:
        level: The highest that holds.
    """

    level: int
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """Something that the certificate does not say; see ``ledger.limits``."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Claims:
    """The predicate.

    Attributes:
        members: SHA-256 of every member of the archive that does not prove itself, by name.
    """

    request: Request
    dataset: Dataset
    models: tuple[Model, ...]
    destroyed: Destroyed | None
    log: Log
    entries: tuple[Listed, ...]
    absence: Shown
    evidence: Standing
    limitations: tuple[Limit, ...]
    members: Mapping[str, str]
    software: Software
    issued: str
    issuer: str | None

    @property
    def concerned(self) -> tuple[Model, ...]:
        """The models that the request is about."""
        return concerned(self.models)

    @property
    def limits_required(self) -> tuple[str, ...]:
        """Ids of the limits that must be stated, given everything else."""
        words = {model.promise.guarantee for model in self.models}
        kinds = {entry.kind for entry in self.entries}
        keeps, destroyed = self.request.keeps_rows, self.destroyed.rows if self.destroyed else 0
        return limits.required(
            {
                "relative": not words.isdisjoint({Guarantee.EXACT, Guarantee.REBUILT}),
                "schema-adopted": self.dataset.schema_adopted,
                "absence-partly": 0 < self.absence.shown < self.absence.of,
                "absence-none": 0 == self.absence.shown < self.absence.of,
                "rows-stay": keeps,
                "until-lifted": self.request.kind == "restrict",
                "purpose": self.request.purpose is not None,
                "destroyed-apart": not keeps and destroyed < self.request.samples,
                "restored": RESTORED in kinds,
                "reissued": ISSUED in kinds,
                "audits": any(model.audits for model in self.models),
                "not-whole": not all(model.served.whole for model in self.models),
                "measured-only": not words.isdisjoint({Guarantee.EMPIRICAL, Guarantee.ATTESTED}),
            }
        )


def claims(evidence: Evidence, members: Mapping[str, bytes]) -> Claims:
    """What a certificate with ``members`` claims about ``evidence``."""
    about = concerned(evidence.models)
    absence = Shown(len(evidence.absences), evidence.request.samples * len(about))
    levels = ladder.judge(
        Known(
            signed=True,
            logged=True,  # the archive is completed only once its last entry is in the log
            witnesses=len(evidence.log.witnesses),
            rows=absence.of,
            shown=absence.shown,
            models=len(about),
            audits=audited(about),
        )
    )
    draft = Claims(
        request=evidence.request,
        dataset=evidence.dataset,
        models=evidence.models,
        destroyed=evidence.destroyed,
        log=evidence.log,
        entries=tuple(listed(entry.index, entry.leaf) for entry in evidence.entries),
        absence=absence,
        evidence=Standing(ladder.height(levels), levels),
        limitations=(),
        members={name: sha256(content).hexdigest() for name, content in members.items()},
        software=evidence.software,
        issued=evidence.issued,
        issuer=evidence.issuer,
    )
    stated = tuple(Limit(name, limits.sentence(name)) for name in draft.limits_required)
    return replace(draft, limitations=stated)


def concerned(models: Iterable[Model]) -> tuple[Model, ...]:
    """Those that the request is about."""
    return tuple(model for model in models if model.concerned)


def audited(models: Iterable[Model]) -> dict[int, int]:
    """For each level that audits show, of how many models the served version passed."""
    passed = [
        {
            ladder.AUDITS.get(audit.method)
            for audit in model.audits
            if audit.verdict == ladder.PASSED and audit.version == model.served.digest
        }
        for model in models
    ]
    return {level: sum(level in one for one in passed) for level in ladder.AUDITS.values()}


def listed(index: int, leaf: bytes) -> Listed:
    """How the statement names an entry."""
    kind = jcs.loads(leaf, f"Entry {index}")["kind"]
    return Listed(index, kind, sha256(leaf).hexdigest())


def subjects(claims: Claims) -> list[dict[str, Any]]:
    """What the statement is about: each served version, and each of its files.

    Where no model learns from the dataset, the entry that received the request.
    """
    digests = [
        pair
        for model in claims.models
        for pair in (
            (model.id, model.served.digest),
            *((f"{model.id}/{name}", digest) for name, digest in sorted(model.files.items())),
        )
    ]
    received = [(f"ledger/{entry.index}", entry.sha256) for entry in claims.entries[:1]]
    return [{"name": name, "digest": {"sha256": value}} for name, value in digests or received]


def payload(claims: Claims) -> bytes:
    """The statement as it is signed: canonical JSON."""
    return jcs.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": subjects(claims),
            "predicateType": PREDICATE_TYPE,
            "predicate": codec.encode(claims),
        }
    )


def parse(data: bytes) -> tuple[Claims, list[Any]]:
    """Claims and subjects of a statement that :func:`payload` wrote.

    Raises:
        CertificateInvalid: It is another kind of statement, or not in the one form.
    """
    try:
        found = jcs.loads(data, "The signed statement")
    except ValueError as error:
        raise CertificateInvalid(str(error)) from error
    match found:
        case {
            "_type": str(kind),
            "subject": list(subject),
            "predicateType": str(predicate),
            "predicate": dict(body),
            **rest,
        } if not rest and (kind, predicate) == (STATEMENT_TYPE, PREDICATE_TYPE):
            return codec.decode(Claims, body, "The statement"), subject
    raise CertificateInvalid(
        f"The signed statement is not an in-toto Statement v1 of type {PREDICATE_TYPE!r}."
    )
