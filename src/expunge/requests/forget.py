"""Accept requests: tombstones and clean versions, in one transaction for all of a batch.

When the transaction has committed, every version that is served is without the samples. Then
the requests go into the journal, and when no server process answers from an older version any
more, they are answered. The rebuilding that makes the models whole again comes later and changes
nothing about that.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Final, TypeAlias

import sqlalchemy as sa

from expunge.core.errors import (
    ExpungeError,
    InputError,
    JournalUnwritten,
    NameTaken,
    NothingToForget,
    SamplesUnknown,
    UnknownName,
)
from expunge.data.datasets import Ground
from expunge.data.places import Place, Places
from expunge.requests import finding, moments, sql, terms
from expunge.requests.effect import Change as Change
from expunge.requests.entering import Asked, Entered, enter
from expunge.requests.finding import Found as Found
from expunge.requests.finding import Ledge
from expunge.requests.finding import Wanted as Wanted
from expunge.requests.finding import find as find
from expunge.requests.lost import leaving
from expunge.requests.moments import Moments
from expunge.requests.refuse import fact as refusal
from expunge.requests.sql import Request, State
from expunge.requests.telling import tell
from expunge.requests.terms import Terms
from expunge.storage import facts
from expunge.training.site import Site
from expunge.training.sql import Model

EXACT: Final = ("rebuild",)

Left: TypeAlias = Mapping[str, frozenset[int]]
Ask: TypeAlias = tuple[Wanted, Terms]


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted request.

    Attributes:
        samples: How many rows are forgotten by it, or will be.
        already: How many of the rows that it names were forgotten before.
        seconds: Time to forget: from the call until no response can come from a model that
            saw the samples.
        left: Codes of the declared values that the rows held, by categorical column. Content:
            it is kept in memory alone.
        row: The request, as it was registered.
    """

    request: str
    dataset: str
    samples: int
    already: int
    changes: tuple[Change, ...]
    seconds: float
    row: Request
    left: Left = field(default_factory=dict, repr=False)

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.row.state


def accept(
    site: Site,
    dataset: str,
    wanted: Wanted,
    asked: Terms | None = None,
    possible: Collection[str] = EXACT,
) -> Accepted:
    """Forget what ``wanted`` names; by default from now on, in every model of the dataset.

    Costs one transaction with one fsync, another one of the journal, and for each touched shard
    two binary searches per slice and the reading of one checkpoint; a few milliseconds.

    Args:
        site: What the home stands on.
        dataset: Its name.
        wanted: What is named.
        asked: On what terms.
        possible: Names of the methods that rebuild.

    Raises:
        NothingToForget: It names nothing.
        SamplesUnknown: It names what the dataset never held; nothing is forgotten.
        MethodUnavailable: A model cannot forget by the method that is asked for.
        NameTaken: Another request has the id that was chosen for it.
        UnknownName: There is no such dataset, model or regime.
        JournalUnwritten: It is in effect, and not in the journal yet.
    """
    (answer,) = _accept(site, dataset, [(wanted, asked or Terms())], possible, leaving)
    if isinstance(answer, ExpungeError):
        raise answer
    return answer


def accept_all(
    site: Site,
    dataset: str,
    asked: Sequence[Ask],
    possible: Collection[str] = EXACT,
    coalesce_s: float = 0.0,
) -> list[Accepted | ExpungeError]:
    """Accept many requests at once: one transaction, and one new version of each model.

    One that cannot be accepted is refused alone: its error stands in its place; so does
    JournalUnwritten in the place of one that is accepted, and not in the journal yet. As
    :func:`accept` in all else, but that ``left`` stays empty, and that what is to be rebuilt
    waits ``coalesce_s`` seconds for more requests.

    Raises:
        UnknownName: There is no such dataset.
    """
    return _accept(site, dataset, asked, possible, _nothing, coalesce_s) if asked else []


def _accept(
    site: Site,
    dataset: str,
    asked: Sequence[Ask],
    possible: Collection[str],
    note: Callable[[Ground, Sequence[Place]], Left],
    coalesce_s: float = 0.0,
) -> list[Accepted | ExpungeError]:
    started = time.perf_counter()
    with site.database.transaction() as transaction:
        row = site.dataset(transaction, dataset)
        ground = site.locked_ground(transaction, row.id)
        models = site.models_of(transaction, row.id)
        sorted_out = _sort_out(transaction, ground, models, asked, possible)
        good = [one for one in sorted_out if isinstance(one, Asked)]
        refused = [
            refusal(_unused(one, error), one.kind, error.code)
            for error, (_, one) in zip(sorted_out, asked, strict=True)
            if isinstance(error, ExpungeError)
        ]
        facts.record_all(transaction, refused)
        entered = enter(site, transaction, ground, models, good, coalesce_s)
        left = {one.request: note(ground, one.found.places) for one in good}
    late = _tell(site, entered)
    seconds = time.perf_counter() - started
    return [
        one
        if isinstance(one, ExpungeError)
        else late.get(one.request) or _answer(dataset, one, entered, seconds, left[one.request])
        for one in sorted_out
    ]


def _tell(site: Site, entered: Entered) -> dict[str, JournalUnwritten]:
    """Have the requests told. Returns what those are to hear that are not in the journal."""
    late: dict[str, JournalUnwritten] = {}
    try:
        tell(site, entered.records, entered.numbers)
    except JournalUnwritten as error:
        for request in error.requests:
            late[request] = JournalUnwritten([request])
            late[request].__cause__ = error.__cause__
    return late


def _unused(asked: Terms, error: ExpungeError) -> str:
    """An id for what was refused: never another request's."""
    return str(uuid.uuid4()) if isinstance(error, NameTaken) or not asked.id else asked.id


@dataclass(frozen=True, slots=True)
class _Fit:
    """A request that can be accepted.

    Attributes:
        places: All that it names.
    """

    wanted: Wanted
    terms: Terms
    places: Places
    scopes: tuple[str, ...]
    moments: Moments

    @property
    def waits(self) -> bool:
        """Whether it is not in effect at once."""
        return self.terms.approval or self.moments.effective is not None

    def asked(self, found: Found) -> Asked:
        """It, with what it is to forget."""
        request = self.terms.id or str(uuid.uuid4())
        named = self.wanted.identifiers
        return Asked(request, self.terms, self.scopes, self.moments, found, named)


def _sort_out(
    transaction: sa.Connection,
    ground: Ground,
    models: Sequence[Model],
    asked: Sequence[Ask],
    possible: Collection[str],
) -> list[Asked | ExpungeError]:
    """Which rows each request is to forget, one after the other; or why it is refused."""
    now = moments.now_by(transaction)
    named = finding.name(ground, [wanted for wanted, _ in asked])
    taken = sql.known(transaction, {one.id for _, one in asked if one.id})
    judged: list[_Fit | ExpungeError] = []
    for (wanted, one), places in zip(asked, named, strict=True):
        try:
            _check_id(one, taken)
            judged.append(_fit(wanted, one, places, models, (now, possible)))
        except (InputError, UnknownName, NameTaken) as error:
            judged.append(error)
    fit = [one for one in judged if isinstance(one, _Fit)]
    found = _find(Ledge(ground, transaction), fit)
    return [one.asked(next(found)) if isinstance(one, _Fit) else one for one in judged]


def _check_id(asked: Terms, taken: set[str]) -> None:
    """See that no request has that id, or had it before in the batch."""
    if asked.id in taken:
        raise NameTaken("request", asked.id, "Ask for that one, or leave the id out.")
    if asked.id:
        taken.add(asked.id)


def _fit(
    wanted: Wanted,
    asked: Terms,
    places: Places | SamplesUnknown,
    models: Sequence[Model],
    given: tuple[datetime, Collection[str]],
) -> _Fit:
    """See that a request can be accepted now, by one of the possible methods."""
    if isinstance(places, SamplesUnknown):
        raise places
    if not (wanted.samples or wanted.subjects):
        raise NothingToForget
    now, possible = given
    scopes = terms.scopes(asked, models)
    terms.check_method(asked, models, possible)
    return _Fit(wanted, asked, places, scopes, moments.of(asked, now))


def _find(ledge: Ledge, fit: Sequence[_Fit]) -> Iterator[Found]:
    """What each is to forget; those that are alike are looked up together."""
    for (waits, scopes), group in groupby(fit, key=lambda one: (one.waits, one.scopes)):
        named = [one.places for one in group]
        yield from ledge.look_each(named, scopes) if waits else ledge.sort_out_each(named, scopes)


def _answer(dataset: str, asked: Asked, entered: Entered, seconds: float, left: Left) -> Accepted:
    changes = entered.changes.get(asked.request, ())
    counts = (len(asked.found.places), asked.found.already)
    row = entered.requests[asked.request]
    return Accepted(asked.request, dataset, *counts, changes, seconds, row, left)


def _nothing(_ground: Ground, _places: Sequence[Place]) -> Left:
    return {}
