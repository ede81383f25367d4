"""On what terms a request is made: its kind, for which models, when, and until when."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from expunge import learners
from expunge.core.errors import InputError, MethodUnavailable, UnknownName
from expunge.data.sql import EVERYTHING
from expunge.requests.kinds import Kind
from expunge.training.scopes import of_model, of_purpose
from expunge.training.sql import Model

EVERY_MODEL = (EVERYTHING,)
"""Scopes of a request about all models of its dataset."""

DECLARED: Final = "declared"
"""Each model forgets as its owner declared when it was trained; by being rebuilt, where nothing else was."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a request is made.

    Attributes:
        kind: What it asks for.
        models: Names of the models that it is narrowed to; None for all of the dataset.
        purpose: Narrows it to models of that purpose, present and future ones.
        method: How models are to forget: :data:`DECLARED`, or a method's name.
        regime: The law or policy whose deadlines count; see ``deadlines.named``.
        received: When it came in; by default when it is accepted.
        effective: When it takes effect; by default at once.
        undo_s: For so long after it took effect it can be undone. Unit: seconds.
        approval: Whether a second person has to approve it.
        submitter: A name for who sent it that is no personal data, such as an API key's id.
        id: The request's id, a random UUID chosen beforehand; by default it is chosen here.
    """

    kind: Kind = Kind.ERASE
    models: tuple[str, ...] | None = None
    purpose: str | None = None
    method: str = DECLARED
    regime: str | None = None
    received: datetime | None = None
    effective: datetime | None = None
    undo_s: float = 0.0
    approval: bool = False
    submitter: str = ""
    id: str = ""

    def __post_init__(self) -> None:
        if self.models == () or self.purpose == "":
            raise InputError("`models` and `purpose` narrow a request: name some, or leave out.")
        if self.kind is Kind.OBJECT and not self.is_narrowed:
            raise InputError("An objection is against `models` or a `purpose`: say which.")
        if self.kind is Kind.CORRECT and self.is_narrowed:
            raise InputError("A correction is about the rows, so about all models.")
        if not (math.isfinite(self.undo_s) and self.undo_s >= 0):
            raise InputError(f"`undo_s` must be at least 0 seconds, got {self.undo_s}.")
        if self.undo_s and self.kind in (Kind.CORRECT, Kind.RESTRICT):
            raise InputError(f"`undo_s` has no meaning for {self.kind!s}: leave it out.")
        for moment in (self.received, self.effective):
            if moment is not None and moment.utcoffset() is None:
                raise InputError("A moment needs a zone, such as 2026-03-05T10:00:00+01:00.")

    @property
    def is_narrowed(self) -> bool:
        """Whether it is about some models only."""
        return self.models is not None or self.purpose is not None

    @property
    def has_conditions(self) -> bool:
        """Whether anything is to be told about it beside its kind and scope."""
        plain = Terms(self.kind, self.models, self.purpose, submitter=self.submitter, id=self.id)
        return self != plain


def scopes(terms: Terms, models: Sequence[Model]) -> tuple[str, ...]:
    """Scopes of the tombstones of a request, sorted.

    Args:
        terms: Its terms.
        models: Of its dataset.

    Raises:
        UnknownName: It names a model that does not learn from the dataset.
    """
    if not terms.is_narrowed:
        return EVERY_MODEL
    found = {of_model(folder) for folder in folders(terms, models) or ()}
    if terms.purpose is not None:
        found.add(of_purpose(terms.purpose))
    return tuple(sorted(found))


def folders(terms: Terms, models: Sequence[Model]) -> list[str] | None:
    """Folder names of the models that a request names, sorted."""
    if terms.models is None:
        return None
    known = {model.name: model.folder.name for model in models}
    for name in terms.models:
        if name not in known:
            raise UnknownName("model of that dataset", name, known)
    return sorted({known[name] for name in terms.models})


def covers(scopes: Sequence[str], model: Model) -> bool:
    """Whether tombstones in these scopes count for a model."""
    return EVERYTHING in scopes or not set(scopes).isdisjoint(model.scopes)


def check_method(terms: Terms, models: Sequence[Model], exact: Collection[str]) -> None:
    """See that all models that are meant forget that way: none by a weaker one than is asked for.

    Args:
        terms: Of the request.
        models: Of its dataset.
        exact: Names of the methods that rebuild.

    Raises:
        MethodUnavailable: They do not.
        UnknownName: It names a model that does not learn from the dataset.
    """
    if terms.method == DECLARED:
        return
    meant = scopes(terms, models)
    ways = {_way(model) for model in models if covers(meant, model)}
    possible = {*exact, DECLARED} if ways <= {None} else {DECLARED}
    if len(ways) == 1 and None not in ways:
        possible |= {way for way in ways if way}
    if terms.method not in possible:
        raise MethodUnavailable(terms.method, possible)


def _way(model: Model) -> str | None:
    """The method that a model's owner declared; None: it is rebuilt."""
    learner = learners.declared(model.recipe.learner)
    return learner.method if learner else None


def scoped(terms: Terms, models: Sequence[Model]) -> dict[str, Any]:
    """What the ledger says about a narrowed request. A purpose is words of the owner's: hashed."""
    purpose = terms.purpose
    hashed = None if purpose is None else sha256(purpose.encode()).hexdigest()
    return {"models": folders(terms, models), "purpose": hashed}
