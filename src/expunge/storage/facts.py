"""Facts: what happened, recorded in the very transaction in which it happened.

The ledger reads them in the order of their numbers. A fact holds counts, digests and random
ids, never an identity.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from expunge.core.digest import canonical_json
from expunge.storage.database import METADATA, now

_FACTS: Final = sa.Table(
    "fact",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.String(27), nullable=False),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("request", sa.String(36), index=True),
    sa.Column("body", sa.Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened.

    Attributes:
        kind: What, such as ``request.received`` or ``version.published``.
        body: JSON; counts, digests and random ids only.
        request: The request that it belongs to, if any.
    """

    kind: str
    body: Mapping[str, Any]
    request: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A fact with its number and time."""

    number: int
    at: str
    kind: str
    request: str | None
    body: Mapping[str, Any]


def record(transaction: sa.Connection, fact: Fact) -> None:
    """Record ``fact`` if and only if ``transaction`` commits."""
    transaction.execute(
        _FACTS.insert().values(
            at=now(),
            kind=fact.kind,
            request=fact.request,
            body=canonical_json(fact.body).decode(),
        )
    )


def read(transaction: sa.Connection, request: str | None = None) -> list[Recorded]:
    """All facts in order, or those of one request."""
    query = sa.select(_FACTS).order_by(_FACTS.c.number)
    if request is not None:
        query = query.where(_FACTS.c.request == request)
    return [
        Recorded(row.number, row.at, row.kind, row.request, json.loads(row.body))
        for row in transaction.execute(query)
    ]
