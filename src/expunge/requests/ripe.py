"""Which requests wait for nothing more than their destruction. Reads, and changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from expunge.data import barred, stones
from expunge.data.places import EVERYTHING, Place, Places
from expunge.ledger.lease import Clock
from expunge.requests import awaiting, holds, moments, sql
from expunge.requests.finding import spot
from expunge.requests.kinds import Kind
from expunge.requests.sql import Request, State
from expunge.training import sql as training_sql
from expunge.training import versions
from expunge.training.site import Site
from expunge.training.sql import Model


@dataclass(frozen=True, slots=True)
class Ending:
    """A request of which all that it touched is rebuilt, and what is left to do for it.

    Attributes:
        rows: To destroy.
        kept: Not to destroy, because a legal hold keeps them.
        swept: Rows that checkpoints may have seen which are to go.
        lasts: Whether its rows stay forgotten without being destroyed: a restriction.
    """

    request: Request
    rows: tuple[Place, ...]
    kept: tuple[Place, ...]
    swept: tuple[Place, ...]
    lasts: bool

    @property
    def only_waits(self) -> bool:
        """Whether nothing can be done for it but to note that it waits."""
        return bool(self.kept) and not self.rows

    @property
    def is_last(self) -> bool:
        """Whether it is done by this."""
        return not self.kept and not self.lasts


@dataclass(frozen=True, slots=True)
class Ripe:
    """What can be done in a dataset.

    Attributes:
        windowed: Requests that wait from now on for the end of their undo window.
        endings: Those that wait for nothing but what is done now, or for a legal hold.
        lost: Whether checkpoints are to go that saw rows which a restored backup lacks.
    """

    windowed: tuple[Request, ...]
    endings: tuple[Ending, ...]
    lost: bool

    @property
    def is_due(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.windowed or self.endings or self.lost)

    @property
    def ends(self) -> list[Ending]:
        """Those for which something is destroyed now."""
        return [one for one in self.endings if not one.only_waits]

    @property
    def rows(self) -> set[Place]:
        """All that is to be destroyed."""
        return {place for one in self.endings for place in one.rows}


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a dataset that are forgotten and not destroyed.

    Attributes:
        own: Those that a request has tombstones for.
        shared: Those that it names besides.
        gone: Those of the shared ones that are gone, by scope.
        kept: Those that a legal hold keeps.
    """

    own: Mapping[str, Sequence[Place]]
    shared: Mapping[str, Sequence[Place]]
    gone: Mapping[str, set[Place]]
    kept: set[holds.Spot]

    def named(self, request: Request) -> list[Place]:
        """All that a request names, sorted."""
        gone = set[Place]().union(*(self.gone.get(s, ()) for s in {EVERYTHING, *request.scopes}))
        found = {*self.own.get(request.id, ()), *(gone & set(self.shared.get(request.id, ())))}
        return sorted(found, key=spot)


def look(site: Site, transaction: sa.Connection, dataset: int, clock: Clock) -> Ripe:
    """What can be done in a dataset. Costs reading the rows of those requests that are rebuilt."""
    rebuilt = sql.rebuilt(transaction, dataset)
    now = moments.stamp(moments.now_by(transaction, clock))
    windowed = [r for r in rebuilt if _has_window(r, now)]
    rest = [r for r in rebuilt if not _has_window(r, now) and not _lasts(r)]
    barring = barred.is_holding(transaction, dataset)
    lost = barring and _is_whole(site, transaction, dataset)
    endings: list[Ending] = []
    if rest:
        known = rows(transaction, dataset, rest)
        endings = [one for r in rest if (one := _ending(r, known, barring=barring and not lost))]
    fresh = tuple(one for one in windowed if one.state is State.FORGOTTEN)
    return Ripe(fresh, tuple(endings), lost)


def _has_window(request: Request, now: str) -> bool:
    return request.undo_until is not None and request.undo_until > now


def _lasts(request: Request) -> bool:
    """Whether it is a restriction for which all is done until it is lifted."""
    return request.kind is Kind.RESTRICT and request.state is State.HELD


def rows(transaction: sa.Connection, dataset: int, requests: Sequence[Request]) -> Rows:
    """What is forgotten and not destroyed of what these requests name."""
    ids = [request.id for request in requests]
    shared = awaiting.of(transaction, ids)
    own: dict[str, list[Place]] = defaultdict(list)
    for stone in stones.of(transaction, dataset, ids):
        own[stone.request].append(stone.place)
    gone: dict[str, set[Place]] = defaultdict(set)
    others = Places.of(place for places in shared.values() for place in places)
    for stone in stones.at(transaction, dataset, others, held=True):
        gone[stone.scope].add(stone.place)
    return Rows(own, shared, gone, holds.spots(transaction, dataset))


def _ending(request: Request, rows: Rows, *, barring: bool) -> Ending | None:
    """What is left to do for a request; None where nothing is yet."""
    named = rows.named(request)
    if not named and barring:  # its rows are among those that a restored backup lacks
        return None
    if not request.destroys:
        lasts = request.kind is Kind.RESTRICT and bool(named)
        return Ending(request, (), (), tuple(named), lasts)
    kept = {place for place in named if spot(place) in rows.kept}
    free = tuple(place for place in named if place not in kept)
    ending = Ending(request, free, tuple(sorted(kept, key=spot)), free, lasts=False)
    waits_already = ending.only_waits and request.state is State.HELD
    return None if waits_already else ending


def _is_whole(site: Site, transaction: sa.Connection, dataset: int) -> bool:
    models = site.models_of(transaction, dataset)
    return not any(_waits(site, transaction, model) for model in models)


def _waits(site: Site, transaction: sa.Connection, model: Model) -> bool:
    # A model without a version has nothing that a rebuild could keep. Its first training may
    # go on: it finds the rows' commitments gone, or ends before its packs are swept.
    is_served = training_sql.current_number(transaction, model.id) > 0
    return is_served and versions.is_behind(site, transaction, model)
