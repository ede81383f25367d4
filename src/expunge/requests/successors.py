"""Rows that succeed others: what a correction makes of a row is meant wherever the row was.

Who objected to a row, or restricted it for some models, is not learnt by those when the row is
corrected; who waits for a moment is forgotten then; and what a legal hold keeps, it keeps in both
forms. So a successor gets the scoped tombstones of the row before it under the same requests, and
a lifted restriction brings it back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import sqlalchemy as sa

from expunge.data import sql as data_sql
from expunge.data import stones as tombstones
from expunge.data.appending import Staging
from expunge.data.batch import Batch
from expunge.data.datasets import Ground, are_within
from expunge.data.places import EVERYTHING, Place, Places, Tombstone
from expunge.requests import awaiting, holds, sql
from expunge.requests.finding import spot
from expunge.requests.holds import Spot
from expunge.requests.kinds import Kind
from expunge.requests.states import IN_EFFECT
from expunge.training.site import Site


def rows_of(staged: Staging) -> Places:
    """Where staged rows will stand. To be called before they are registered."""
    parts = []
    for one in staged.staged.batches:
        tokens = Batch(one.folder).tokens(0, one.rows).copy()  # the folder is moved next
        parts.append(Places.at((one.tier, one.number), np.arange(one.rows), tokens))
    return Places.joined(parts)


def follow(transaction: sa.Connection, ground: Ground, old: Places, new: Places) -> Ground:
    """Let rows be meant by all that their predecessors, with the same ids, are meant by.

    Costs reading all tombstones of the dataset in the database where one of the rows is gone
    for some models, else two short queries.

    Args:
        transaction: The dataset is locked in it.
        ground: Of the dataset, loaded after that, without the new rows.
        old: Rows that are forgotten by the same transaction, or were before.
        new: Those that succeed them.

    Returns:
        The ground as it is then.
    """
    by_token = {place.token: place for place in new}
    heirs = {spot(place): by_token[place.token] for place in old if place.token in by_token}
    if not heirs:
        return ground
    dataset = ground.dataset.id
    awaiting.follow(transaction, dataset, heirs)
    holds.follow(transaction, dataset, heirs)
    if not any(are_within(gone, old).any() for gone in ground.scoped.values()):
        return ground
    return _bury(transaction, ground, heirs, tombstones.at(transaction, dataset, old))


def readmit(site: Site, transaction: sa.Connection, staged: Staging) -> None:
    """Let readmitted rows succeed those with the same ids that corrections alone forgot.

    So are rows given again that a correction had brought and that were lost with a backup. Of an
    id that was erased besides, a readmitted row is a new one. Comes before they are registered;
    locks the dataset. Costs as :func:`follow`, and a look for each row into all batches.
    """
    if staged.ground is None:
        return
    ground = site.locked_ground(transaction, staged.ground.dataset.id)
    new = rows_of(staged)
    found = []
    for key, batch in ground.batches.items():
        ordinals = batch.find(new.tokens)
        there = ordinals >= 0
        found.append(Places.at(key, ordinals[there], new.tokens[there]))
    old = Places.joined(found)
    old = old.where(are_within(ground.gone, old))
    if len(old):
        stones = tombstones.at(transaction, ground.dataset.id, old)
        corrected = _corrected(transaction, [one for one in stones if one.scope == EVERYTHING])
        follow(transaction, ground, Places.of(one for one in old if one.token in corrected), new)


def _corrected(transaction: sa.Connection, stones: Iterable[Tombstone]) -> set[int]:
    """Tokens of ids of which corrections alone forgot rows."""
    by_request: dict[str, set[int]] = defaultdict(set)
    for stone in stones:
        by_request[stone.request].add(stone.place.token)
    tokens: dict[bool, set[int]] = {True: set(), False: set()}
    for chunk in sql.chunks(by_request):
        for request in sql.some(transaction, chunk):
            tokens[request.kind is Kind.CORRECT] |= by_request[request.id]
    return tokens[True] - tokens[False]


def _bury(
    transaction: sa.Connection,
    ground: Ground,
    heirs: Mapping[Spot, Place],
    stones: Iterable[Tombstone],
) -> Ground:
    named: dict[tuple[str, str], set[Place]] = defaultdict(set)
    for stone in stones:
        if stone.scope != EVERYTHING and (heir := heirs.get(spot(stone.place))):
            named[stone.request, stone.scope].add(heir)
    active = _active(transaction, {request for request, _ in named})
    # First those of requests that are done, which never wait for these rows again.
    ordered = sorted(named, key=lambda one: (one[0] in active, one))
    buried = [(Places.of(sorted(named[one])), *one) for one in ordered]
    last = data_sql.bury(transaction, ground.dataset, buried)
    first = ground.dataset.tombstones + 1
    done = sum(len(places) for places, request, _ in buried if request not in active)
    data_sql.release(transaction, ground.dataset.id, range(first, first + done))
    for places, _, scope in buried:
        ground = ground.without(places, scope)
    return replace(ground, dataset=replace(ground.dataset, tombstones=last), memo={})


def _active(transaction: sa.Connection, requests: set[str]) -> set[str]:
    return {
        row.id
        for chunk in sql.chunks(requests)
        for row in sql.some(transaction, chunk)
        if row.state in IN_EFFECT
    }
