"""What a server says about an accepted request: plain JSON, kept for those who ask again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from expunge.requests import sql as request_sql
from expunge.requests.forget import Change
from expunge.requests.sql import Request
from expunge.requests.states import WAITING, State
from expunge.storage import facts
from expunge.training import sql as training_sql
from expunge.training.site import Site
from expunge.training.sql import Version

ACCEPTED: int = 202


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request for forgetting.

    Attributes:
        body: JSON.
        replayed: Whether it was given before.
    """

    request: str
    body: str
    status: int = ACCEPTED
    replayed: bool = False

    @property
    def location(self) -> str:
        """Where to ask how it goes on."""
        return f"/requests/{self.request}"

    def again(self) -> Answer:
        """The same, given once more."""
        return replace(self, replayed=True)


def render(request: Request, changes: Sequence[Change], *, reveal: bool) -> Answer:
    """The answer.

    Args:
        request: As it was accepted.
        changes: What it did to each model.
        reveal: Whether to tell what was found: without it, the answer is the same whether the
            dataset holds what was named or not.
    """
    state = request.state if reveal else _hidden(request)
    body: dict[str, Any] = {
        "request": request.id,
        "state": state,
        "status_url": f"/requests/{request.id}",
        "accepted": request.accepted,
        "deadline": request.deadline,
        "effective": request.effective if reveal or request.state in WAITING else None,
        "samples": request.samples if reveal else None,
        "models": [_model(change) for change in changes] if reveal else [],
    }
    return Answer(request.id, json.dumps(body))


def numbers(site: Site, transaction: sa.Connection, id_: str) -> dict[int, int]:
    """The versions now, by number, of models by id, that a request may have changed."""
    request = request_sql.find(transaction, id_)
    return {
        model.id: training_sql.current_number(transaction, model.id) or 0
        for model in site.models_of(transaction, request.dataset)
    }


def load(site: Site, transaction: sa.Connection, id_: str, *, reveal: bool) -> Answer:
    """The answer to a request that was accepted before, made anew."""
    request = request_sql.find(transaction, id_)
    names = {m.folder.name: m.name for m in site.models_of(transaction, request.dataset)}
    recorded = facts.read(transaction, id_)
    changed = [one.body for one in recorded if one.kind == "request.forgotten"]
    now_served = _served(site, transaction, request.dataset)
    changes = [
        Change(names[body["model"]], None, now_served.get(body["model"]))
        for body in changed
        if body["model"] in names
    ]
    return render(request, changes, reveal=reveal).again()


def _hidden(request: Request) -> State:
    """Where a request stands as far as its terms say: not whether there was anything to do."""
    return request.state if request.state in WAITING else State.FORGOTTEN


def _model(change: Change) -> Mapping[str, Any]:
    after = change.after
    return {
        "name": change.model,
        "forgotten": True,
        "withdrawn": after is not None and is_withdrawn(after),
        "version": after.digest if after else None,
    }


def is_withdrawn(version: Version) -> bool:
    """Whether no constituent of a version can answer."""
    return all(constituent.frame is None for constituent in version.constituents)


def _served(site: Site, transaction: sa.Connection, dataset: int) -> dict[str, Version | None]:
    return {
        model.folder.name: training_sql.current(transaction, model.id)
        for model in site.models_of(transaction, dataset)
    }
