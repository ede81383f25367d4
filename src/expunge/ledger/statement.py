"""What a certificate of unlearning says, as frozen values: the evidence about one request.

Whoever fills it puts in only what was measured or recorded. Everything that is printed, in the
signed statement (``ledger.predicate``) and on the page for people (``ledger.page``), comes from
here; the fields are those of the statement's predicate, in lowerCamelCase. Digests and names are hexadecimal, times UTC in RFC 3339 with ``Z``, durations seconds.
No field may hold the identity of a person or of a sample: only counts, digests and random ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from expunge.ledger.models import (
    Audit,
    Changed,
    Export,
    Forgotten,
    Model,
    Promise,
    Rebuilt,
    Recipe,
    Runtime,
    Served,
    VersionRef,
)

__all__ = [
    "EVENTS",
    "KEEPING",
    "Absence",
    "Audit",
    "Batch",
    "Changed",
    "Dataset",
    "Destroyed",
    "Entry",
    "Event",
    "Evidence",
    "Export",
    "Forgotten",
    "Log",
    "Model",
    "Promise",
    "Rebuilt",
    "Recipe",
    "Request",
    "Runtime",
    "Served",
    "Software",
    "VersionRef",
]


EVENTS: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        "request.approved": None,
        "request.held": "reason",
        "request.released": None,
        "deadline.extended": "until",
    }
)
"""Kinds of entries that say what became of a request on its way, and which field says more."""

KEEPING: Final = frozenset({"object", "restrict"})
"""Kinds of requests that let the rows stay."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was decided about a request, or happened to it, on its way.

    Attributes:
        kind: Of its entry, one of :data:`EVENTS`.
        detail: For what a request waited, or until when its deadline was extended.
    """

    at: str
    kind: str
    detail: str | None = None

    @classmethod
    def of(cls, at: str, kind: str, body: Mapping[str, Any]) -> Event:
        """As an entry tells it."""
        field = EVENTS[kind]
        return cls(at, kind, None if field is None else str(body[field]))


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked.

    Attributes:
        id: Random.
        kind: ``erase``, ``object``, ``restrict``, ``correct`` or ``expire``.
        received: When it was accepted; the time of the entry ``request.received``.
        effective: From when no answer may come from a model that saw the samples.
        samples: How many samples it made the models forget.
        already: How many more it named that had been forgotten before.
        identifiers: How many ids of samples and people it named.
        identifiers_root: RFC 6962 root over the commitments to them, as in the ledger.
        rows_root: RFC 6962 root over the forgotten rows' leaves; None where there is no row.
        events: What was decided and happened since, in order.
        models: Ids of the models that it is narrowed to; None where it is not, or to a purpose.
        purpose: SHA-256 of the purpose that it is narrowed to, hexadecimal.
        regime: The law or policy whose deadlines count, if it was said.
    """

    id: str
    kind: str
    received: str
    effective: str
    samples: int
    already: int
    identifiers: int
    identifiers_root: str
    rows_root: str | None
    events: tuple[Event, ...] = ()
    models: tuple[str, ...] | None = None
    purpose: str | None = None
    regime: str | None = None

    @property
    def is_narrowed(self) -> bool:
        """Whether it is about some models only."""
        return self.models is not None or self.purpose is not None

    @property
    def keeps_rows(self) -> bool:
        """Whether the rows stay: others still learn from them, or are meant to again."""
        return self.kind in KEEPING or self.is_narrowed


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples that came in together, and were committed to before anything learnt from them.

    Attributes:
        number: Of the batch, from 0.
        rows: How many samples came.
        roots: Tier and the RFC 6962 root over the roots of its segments, as in the ledger.
    """

    number: int
    rows: int
    roots: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """What the samples were taken from.

    Attributes:
        name: The owner's word for it.
        id: Random; the ledger's word for it.
        schema: Digest of the declared columns.
        schema_adopted: Whether the schema was proposed from the data and declared by nobody.
    """

    name: str
    id: str
    schema: str
    schema_adopted: bool
    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class Destroyed:
    """Rows overwritten and checkpoints removed, as the ledger has it.

    Attributes:
        at: When the last of it was.
        rows: Of all requests that were finished in the same steps.
        checkpoints: Likewise, beside those that rebuilding had destroyed before.
        requests: How many requests that were.
    """

    at: str
    rows: int
    checkpoints: int
    requests: int


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the ledger that belongs to the story: its index and its bytes."""

    index: int
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Absence:
    """A proof that the served names of a model leave a forgotten row out.

    Attributes:
        model: Its id.
        row: Index of the row's leaf in :attr:`Evidence.rows`.
        document: What ``expunge.ledger.absence.check`` checks.
    """

    model: str
    row: int
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Log:
    """The ledger in which the story stands.

    Attributes:
        origin: Its name.
        key: Verifier key of the signed checkpoints (C2SP vkey).
        witnesses: Names of the witnesses that cosigned the checkpoint when this was written.
    """

    origin: str
    key: str
    witnesses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Software:
    """What made the certificate.

    Attributes:
        expunge: Version of this package.
        code: Digests of source files that shaped the models and are not in any package, by name.
    """

    expunge: str
    code: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a certificate says.

    Attributes:
        issued: When the certificate was made.
        entries: All entries of the request, in order of index, but for ``certificate.issued``;
            with them ``dataset.ingested`` of the dataset, and of each model ``model.created``,
            the ``version.published`` of the served version, ``unit.rebuilt``, ``audit.finished``
            and ``model.exported`` since the request, where there are any.
        destroyed: None where no row had to be destroyed.
        rows: Leaves of the forgotten rows, 48 bytes each (key, token, commitment), sorted; their
            RFC 6962 root is :attr:`Request.rows_root`. Empty where they are not known any more.
        absences: May be fewer than rows times models; the certificate then says so.
        issuer: Who answers for the home, in the owner's words, if it was said.
    """

    request: Request
    dataset: Dataset
    models: tuple[Model, ...]
    entries: tuple[Entry, ...]
    log: Log
    software: Software
    issued: str
    destroyed: Destroyed | None = None
    rows: tuple[bytes, ...] = ()
    absences: tuple[Absence, ...] = ()
    issuer: str | None = None
