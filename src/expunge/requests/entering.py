"""Enter requests: what each names, on what terms, and what the journal is to say about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from expunge.data.datasets import Ground
from expunge.ledger import vault
from expunge.ledger.vault import Sealed
from expunge.requests import awaiting, effect, entries, moments, sql, terms
from expunge.requests.effect import Change, Taking
from expunge.requests.finding import Found
from expunge.requests.moments import Moments
from expunge.requests.sql import Request, State
from expunge.requests.states import WAITING
from expunge.requests.terms import Terms
from expunge.storage import facts
from expunge.storage.facts import Fact
from expunge.storage.records import Record
from expunge.training.site import Site
from expunge.training.sql import Model


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is being accepted.

    Attributes:
        request: Its random id.
        identifiers: All that it names, as pairs of ``sample`` or ``subject`` and the identifier.
        scopes: Of its tombstones.
    """

    request: str
    terms: Terms
    scopes: tuple[str, ...]
    moments: Moments
    found: Found
    identifiers: tuple[tuple[str, str], ...] = field(repr=False)

    @property
    def state(self) -> State:
        """Where it stands once it is accepted."""
        if self.terms.approval:
            return State.SUBMITTED
        if self.moments.effective is not None:
            return State.SCHEDULED
        return State.FORGOTTEN if self.found.is_open else State.DONE


@dataclass(frozen=True, slots=True)
class Entered:
    """What accepting did, and what the journal is to say once the transaction has committed.

    Attributes:
        changes: By request.
        numbers: Of the versions that are served from now on, by model.
        records: For the journal, in one append.
        requests: As they were registered, by id.
    """

    changes: Mapping[str, tuple[Change, ...]]
    numbers: Mapping[int, int]
    records: Sequence[Record]
    requests: Mapping[str, Request]


def enter(
    site: Site,
    transaction: sa.Connection,
    ground: Ground,
    models: Sequence[Model],
    asked: Sequence[Asked],
    coalesce_s: float = 0.0,
) -> Entered:
    """Register requests and bring those into effect that do not wait.

    The caller appends the records to the journal after the transaction has committed.

    Args:
        site: What the home stands on.
        transaction: The dataset is locked in it.
        ground: Of the dataset, loaded after that.
        models: That learn from it.
        asked: The requests, sorted out one after the other.
        coalesce_s: How long what is to be rebuilt waits for more of them.
    """
    said = _tell(transaction, ground, models, asked)
    requests = {one.request: _row(ground, one) for one in asked}
    sql.add(transaction, *requests.values())
    waiting = {one.request: one.found.named for one in asked if one.state in WAITING}
    awaiting.add(transaction, waiting)
    taken = [
        Taking(one.request, one.scopes, one.found) for one in asked if one.state not in WAITING
    ]
    done = effect.take(transaction, ground, models, taken, coalesce_s)
    records = _records(site, ground, asked, said)
    return Entered(done.changes, done.numbers, records, requests)


def _row(ground: Ground, asked: Asked) -> Request:
    told, state = asked.moments, asked.state
    in_effect = state not in WAITING
    effective = told.now if in_effect else told.effective
    undo = asked.terms.undo_s
    return Request(
        id=asked.request,
        dataset=ground.dataset.id,
        kind=asked.terms.kind,
        state=state,
        samples=len(asked.found.places),
        accepted=moments.stamp(told.now),
        done=moments.stamp(told.now) if state is State.DONE else None,
        scopes=asked.scopes,
        method=asked.terms.method,
        regime=asked.terms.regime,
        received=moments.stamp(told.received),
        deadline=moments.stamp(told.deadline) if told.deadline else None,
        confirm_by=moments.stamp(told.confirm_by) if told.confirm_by else None,
        effective=moments.stamp(effective) if effective else None,
        undo_s=undo,
        undo_until=moments.later(told.now, undo) if undo and in_effect else None,
        submitter=asked.terms.submitter,
    )


def _tell(
    transaction: sa.Connection, ground: Ground, models: Sequence[Model], asked: Sequence[Asked]
) -> dict[str, list[bytes]]:
    """Record the requests, with keys to what they name. Returns their entries in the ledger."""
    sealed = vault.add_all(transaction, {one.request: one.identifiers for one in asked})
    roots = entries.rows_roots(ground, [one.found.places for one in asked])
    told: list[tuple[Fact, bytes]] = []
    said: dict[str, list[bytes]] = {}
    for one, root in zip(asked, roots, strict=True):
        # Its conditions come first: whatever is torn off, the request is never without them.
        own = _qualifiers(one, models)
        own.append(Fact("request.received", _received(ground, one, sealed, root), one.request))
        leaves = [facts.leaf(fact, moments.stamp(one.moments.now)) for fact in own]
        told += zip(own, leaves, strict=True)
        said[one.request] = leaves
    facts.enter(transaction, told)
    return said


def _qualifiers(asked: Asked, models: Sequence[Model]) -> list[Fact]:
    found = []
    if asked.terms.is_narrowed:
        found.append(Fact("request.scoped", terms.scoped(asked.terms, models), asked.request))
    if asked.terms.has_conditions:
        found.append(Fact("request.terms", moments.conditions(asked.terms), asked.request))
    return found


def _received(
    ground: Ground, asked: Asked, sealed: Mapping[str, Sealed], root: str | None
) -> dict[str, Any]:
    return {
        "dataset": ground.dataset.folder.name,
        "kind": asked.terms.kind,
        "samples": len(asked.found.places),
        "already": asked.found.already,
        "identifiers": entries.identifiers(sealed[asked.request]),
        "rows": root,
    }


def _records(
    site: Site, ground: Ground, asked: Sequence[Asked], said: Mapping[str, Sequence[bytes]]
) -> list[Record]:
    """What the journal is to say; the last record of a request has its rows."""
    subkey = site.journal.subkey(ground.dataset.folder.name)
    found = []
    for one in asked:
        *conditions, received = said[one.request]
        found += [Record(one.request, entry, ()) for entry in conditions]
        found.append(Record(one.request, received, entries.rows(subkey, one.found.named)))
    return found
