"""Bring requests into effect: tombstones and clean versions, many requests at once.

When the transaction has committed, every version that is served is without the samples.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from expunge.data import ring
from expunge.data import sql as data_sql
from expunge.data.datasets import Ground
from expunge.data.places import EVERYTHING, Place, Places, gather
from expunge.requests import awaiting, entries, units
from expunge.requests.finding import Found
from expunge.requests.terms import EVERY_MODEL, covers
from expunge.storage import facts
from expunge.storage.facts import Fact
from expunge.training import sql as training_sql
from expunge.training import versions
from expunge.training.sql import Model, Version


@dataclass(frozen=True, slots=True)
class Change:
    """What a request did to one model.

    Attributes:
        before: The version that was served, and is not any more.
        after: The one that is; the same where the model had not seen the samples.
    """

    model: str
    before: Version | None
    after: Version | None


@dataclass(frozen=True, slots=True)
class Taking:
    """A request that takes effect.

    Attributes:
        scopes: Of its tombstones.
    """

    request: str
    scopes: tuple[str, ...]
    found: Found


@dataclass(frozen=True, slots=True)
class Effect:
    """What took effect.

    Attributes:
        changes: By request.
        numbers: Of the versions that are served from now on, by model.
    """

    changes: Mapping[str, tuple[Change, ...]]
    numbers: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Points:
    """Where on the ring the rows of requests are.

    Attributes:
        values: All of them: of each request first the rows that it forgets, then those that
            others had forgotten.
        bounds: Of each request: where the ones begin, the others, and where these end.
    """

    values: NDArray[np.uint64]
    bounds: Mapping[str, tuple[int, int, int]]

    def forgotten(self, request: str) -> NDArray[np.uint64]:
        """Of the rows that a request forgets."""
        start, stop, _ = self.bounds[request]
        return self.values[start:stop]

    def shards(self, model: Model) -> dict[str, tuple[set[int], set[int]]]:
        """Shards of a model in which they are; of what a request forgets, and of the others."""
        found = ring.shards_of(self.values, model.recipe.shards).tolist()
        return {
            request: (set(found[start:middle]), set(found[middle:stop]))
            for request, (start, middle, stop) in self.bounds.items()
        }


def take(
    transaction: sa.Connection,
    ground: Ground,
    models: Sequence[Model],
    taken: Sequence[Taking],
    coalesce_s: float = 0.0,
) -> Effect:
    """Insert tombstones, publish each model once without the rows, and want units.

    Args:
        transaction: The dataset is locked in it.
        ground: Of the dataset, loaded after that.
        models: That learn from it.
        taken: Requests, sorted out one after the other.
        coalesce_s: How long their units wait for more requests.
    """
    after = bury(transaction, ground, taken)
    awaiting.add(transaction, {one.request: one.found.shared for one in taken})
    points = keys(ground, taken)
    not_before = units.begins(transaction, coalesce_s)
    changes: dict[str, list[Change]] = {one.request: [] for one in taken}
    numbers: dict[int, int] = {}
    for model in models:
        mine = [one for one in taken if covers(one.scopes, model)]
        change = _publish(transaction, model, (ground, after), mine, points)
        if change is None:
            continue
        if change.after is not None:
            numbers[model.id] = change.after.number
        for one in mine:
            if one.found.buried:
                changes[one.request].append(change)
        _record(transaction, model, change, mine, points)
        want(transaction, model, change.after, mine, points, not_before)
    return Effect({request: tuple(of) for request, of in changes.items()}, numbers)


def bury(transaction: sa.Connection, ground: Ground, taken: Sequence[Taking]) -> Ground:
    """Insert the tombstones of requests. Returns the ground as the transaction leaves it."""
    stones = [
        (places, one.request, scope) for one in taken for scope, places in one.found.buried.items()
    ]
    data_sql.bury(transaction, ground.dataset, stones)
    return without(ground, [one.found for one in taken])


def without(ground: Ground, found: Sequence[Found]) -> Ground:
    """A ground with further tombstones, as the transaction that inserts them leaves it."""
    by_scope: dict[str, list[Places]] = {}
    for one in found:
        for scope, places in one.buried.items():
            by_scope.setdefault(scope, []).append(places)
    for scope, each in sorted(by_scope.items()):
        ground = ground.without(Places.joined(each), scope)
    return ground


def keys(ground: Ground, taken: Sequence[Taking]) -> Points:
    """Where on the ring the rows of requests are."""
    each = [places for one in taken for places in (one.found.places, one.found.shared)]
    ends = [0, *accumulate(len(places) for places in each)]
    bounds = zip(ends[:-1:2], ends[1::2], ends[2::2], strict=True)
    requests = (one.request for one in taken)
    return Points(_points(ground, Places.joined(each)), dict(zip(requests, bounds, strict=True)))


def _points(ground: Ground, places: Places) -> NDArray[np.uint64]:
    found = np.empty(len(places), np.uint64)
    order = np.lexsort([places.rows["batch"], places.rows["tier"]])  # each batch is read once
    for key, part in places.where(order).groups():
        here = order[part]
        found[here] = gather(ground.batches[key].keys, places.ordinals[here])
    return found


def _publish(
    transaction: sa.Connection,
    model: Model,
    grounds: tuple[Ground, Ground],
    taken: Sequence[Taking],
    points: Points,
) -> Change | None:
    """Publish a model without what it may not learn from any more; None: nothing is about it."""
    if not any(one.found.is_open for one in taken):
        return None
    before = training_sql.current(transaction, model.id)
    ground, after = grounds
    if not ground.scoped and all(one.scopes == EVERY_MODEL for one in taken):
        fresh = Places.joined([one.found.places for one in taken])
        stand = np.concatenate([points.forgotten(one.request) for one in taken])
    else:
        counting = (EVERYTHING, *model.scopes)
        all_of = (one.found.buried.get(scope) for one in taken for scope in counting)
        places = Places.joined([buried for buried in all_of if buried is not None])
        fresh = ground.under(model.scopes).remaining(places)
        stand = _points(ground, fresh)
    first = _first(model, fresh, stand)
    # None: its first training is still running, and will publish without them.
    served = versions.withdraw(transaction, model, after, first) if len(first) else before
    return Change(model.name, before, served)


def _first(model: Model, places: Places, points: NDArray[np.uint64]) -> Collection[Place]:
    """The first row of each shard: nothing behind it is served, whatever else is forgotten.

    All of them where it takes a look at the rows to tell which of them a model learnt from.
    """
    if model.recipe.view.filters:
        return places
    order = np.lexsort([points, places.rows["batch"], places.rows["tier"]])
    _, first = np.unique(ring.shards_of(points[order], model.recipe.shards), return_index=True)
    return places.where(order[first])


def _record(
    transaction: sa.Connection,
    model: Model,
    change: Change,
    taken: Sequence[Taking],
    points: Points,
) -> None:
    touched, recorded = points.shards(model), []
    for one in taken:
        if one.found.buried:
            shards = sorted(touched[one.request][0])
            body = entries.forgotten(model, change.before, change.after, shards)
            recorded.append(Fact("request.forgotten", body, one.request))
    facts.record_all(transaction, recorded)


def want(
    transaction: sa.Connection,
    model: Model,
    version: Version | None,
    taken: Sequence[Taking],
    points: Points,
    not_before: float = 0.0,
) -> None:
    """Have those shards rebuilt that are not whole; requests wait for their own."""
    if version is None:
        return
    behind = {c.shard for c in version.constituents if not c.whole}
    touched = points.shards(model)
    shards = {one.request: set[int]().union(*touched[one.request]) & behind for one in taken}
    wanted = {request: sorted(of) for request, of in shards.items() if of}
    if wanted:
        units.want_each(transaction, model, wanted, not_before)
