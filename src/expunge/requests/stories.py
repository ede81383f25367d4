"""What was recorded about a request, and about the models that saw its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import sqlalchemy as sa

from expunge.ledger import statement
from expunge.storage import facts
from expunge.storage.facts import Recorded
from expunge.training.sql import Model, Version

_EARLIER: Final = ("dataset.ingested", "model.created", "model.retired")
_LATER: Final = ("unit.rebuilt", "audit.finished", "model.exported")

Served: TypeAlias = Sequence[tuple[Model, Version]]
"""The models of a dataset that have a version, with it."""


@dataclass(frozen=True, slots=True)
class Story:
    """What was recorded.

    Attributes:
        own: About the request.
        earlier: About datasets and models, when they were made known.
        later: About models, since the request.
        destroyed: Destructions that ended the request.
        restored: Since the request, that the home was restored from a backup.
        versions: Of each model in the certificate, where the served version was published.
        numbers: Number of each version, by its model and digest.
        forgot: That a method made a checkpoint forget: those that are served, and those since
            the request.
        answering: Digests of the versions that had something to answer with, by model.
    """

    own: Sequence[Recorded]
    earlier: Sequence[Recorded]
    later: Sequence[Recorded]
    destroyed: Sequence[Recorded]
    restored: Sequence[Recorded]
    versions: Mapping[str, Recorded]
    numbers: Mapping[tuple[str, str], int]
    forgot: Sequence[Recorded]
    answering: Mapping[str, frozenset[str]]

    def of(self, model: Model, kind: str) -> list[Recorded]:
        """Facts of one kind about one model, in order."""
        known = (*self.earlier, *self.own, *self.later, *self.forgot)
        folder = model.folder.name
        return [f for f in known if f.kind == kind and f.body["model"] == folder]

    def received(self) -> Recorded:
        """When the request came."""
        return next(fact for fact in self.own if fact.kind == "request.received")

    def version(self, model: Model, digest: str | None) -> statement.VersionRef | None:
        """A version that one of the request's facts names."""
        if digest is None:
            return None
        return statement.VersionRef(self.numbers[model.folder.name, digest], digest)


def read(transaction: sa.Connection, request: str, served: Served) -> Story:
    """Read the story of one request, and of the models that are served now."""
    own = facts.read(transaction, request)
    since = next(fact.number for fact in own if fact.kind == "request.received")
    ended = [
        fact
        for fact in facts.read(transaction, kinds=["checkpoint.destroyed"], after=since)
        if request in fact.body["requests"]
    ]
    until = ended[-1].number if ended else since  # later rebuilding is about other requests
    published = facts.read(transaction, kinds=["version.published"])
    return Story(
        own,
        facts.read(transaction, kinds=_EARLIER),
        [
            fact
            for fact in facts.read(transaction, kinds=_LATER, after=since)
            if fact.kind != "unit.rebuilt" or fact.number <= until
        ],
        ended,
        facts.read(transaction, kinds=["home.restored"], after=since),
        {
            model.folder.name: next(
                fact
                for fact in reversed(published)
                if (fact.body["model"], fact.body["digest"]) == (model.folder.name, version.digest)
            )
            for model, version in served
        },
        {(fact.body["model"], fact.body["digest"]): fact.body["number"] for fact in published},
        _forgot(transaction, since, served),
        {model.folder.name: _answering(model, published) for model, _ in served},
    )


def _forgot(transaction: sa.Connection, since: int, served: Served) -> list[Recorded]:
    constituents = [c for _, version in served for c in version.constituents]
    names = {c.frame.name.hex() for c in constituents if c.frame}
    found = facts.read(transaction, kinds=["unit.forgot"])
    return [fact for fact in found if fact.number > since or fact.body["name"] in names]


def _answering(model: Model, published: Sequence[Recorded]) -> frozenset[str]:
    own = [fact.body for fact in published if fact.body["model"] == model.folder.name]
    return frozenset(body["digest"] for body in own if body["samples"])
