"""Destroy what was forgotten: rows, and checkpoints that saw them. A step of its own.

A request's rows are destroyed when the constituents that it touched are whole again, its undo
window is over, and no legal hold keeps them; whatever else is rebuilt meanwhile. Rows go first: a
builder that still holds an old plan finds their commitments gone and builds nothing. Then the
packs, each behind its lock, and all that audits trained on the dataset. May be killed at any line;
running it again finishes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby, islice, zip_longest
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from expunge.data import appending, barred, stones
from expunge.data import sql as data_sql
from expunge.data.datasets import Ground, are_within
from expunge.data.erase import erase
from expunge.data.places import EVERYTHING, Place, Places, Tombstone
from expunge.ledger.lease import Clock, shared_clock
from expunge.requests import awaiting, ripe, sql
from expunge.requests.kinds import Kind
from expunge.requests.restore import settle
from expunge.requests.ripe import Ending, Ripe
from expunge.requests.sql import Request, State
from expunge.requests.terms import covers
from expunge.storage import facts
from expunge.storage.facts import Fact
from expunge.storage.locks import alone
from expunge.training import versions
from expunge.training.site import Site, forget_audits, forget_leftovers
from expunge.training.sql import Model

_REQUESTS: Final = 1000
_MODELS: Final = 500
"""So many at most stand in one entry of the ledger, which has a limit."""


def destroy(site: Site, dataset: int, clock: Clock = shared_clock) -> bool:
    """Destroy the rows of a dataset that are due, and checkpoints that saw them.

    Moves requests on that are done by that, or that wait from now on for something else than
    their rebuild. Returns whether there were any of the former.
    """
    with site.database.reading() as transaction:
        if not ripe.look(site, transaction, dataset, clock).is_due:
            return False
    with site.database.transaction() as transaction:
        ground = site.locked_ground(transaction, dataset)
        models = site.models_of(transaction, dataset)
        found = ripe.look(site, transaction, dataset, clock)
        _begin(transaction, found)
    if not (found.ends or found.lost):
        return False
    appending.tidy(site.stock)
    forget_leftovers(site)
    _erase_rows(ground, found.rows)
    forget_audits(site, ground.dataset.folder.name)
    frames = {
        model.folder.name: _sweep(site, model, _shards(model, ground, found)) for model in models
    }
    _note(site, ground, found, frames)
    site.database.scrub()
    settle(site)
    return True


def _begin(transaction: sa.Connection, found: Ripe) -> None:
    """Note what waits from now on, and that nobody takes back or holds the rest any more."""
    for request in found.windowed:
        _hold(transaction, request, "undo", request.samples)
    for ending in found.endings:
        request = ending.request
        if ending.only_waits:
            _hold(transaction, request, "hold", len(ending.kept))
        elif request.state is State.HELD and not request.destroying:
            body = {"rows": len(ending.rows)}
            facts.record(transaction, Fact("request.released", body, request.id))
    begun = [one.request.id for one in found.ends if not one.lasts]
    sql.set_destroying(transaction, begun, destroying=True)


def _hold(transaction: sa.Connection, request: Request, reason: str, rows: int) -> None:
    sql.move(transaction, request, State.HELD)
    body = {"reason": reason, "rows": rows}
    facts.record(transaction, Fact("request.held", body, request.id))


def _erase_rows(ground: Ground, places: Collection[Place]) -> None:
    for key, group in groupby(sorted(places), key=lambda place: (place.tier, place.batch)):
        erase(ground.batches[key], np.array([place.ordinal for place in group], np.int64))


def _shards(model: Model, ground: Ground, found: Ripe) -> Sequence[int]:
    """Shards that may have frames which saw the rows; all, where rows are not known."""
    if found.lost:
        return versions.all_shards(model)
    swept = {p for one in found.ends if covers(one.request.scopes, model) for p in one.swept}
    return versions.touched(model, swept, ground)


def _sweep(site: Site, model: Model, shards: Sequence[int]) -> int:
    if not shards:
        return 0
    with alone(model.folder / "build.lock"):
        return sum(versions.sweep(site, model, shard) for shard in shards)


def _note(site: Site, ground: Ground, found: Ripe, frames: Mapping[str, int]) -> None:
    dataset = ground.dataset.id
    with site.database.transaction() as transaction:
        data_sql.lock(transaction, dataset)
        active = {one.id: one for one in sql.rebuilt(transaction, dataset)}
        ends = [one for one in found.ends if one.request.id in active]
        lost = found.lost and barred.is_holding(transaction, dataset)
        if not (ends or lost):  # another process did the same, and has noted it
            return
        if lost:
            barred.release(transaction, dataset)
        now = site.ground(transaction, dataset)
        gone = _release(transaction, now, found, ends)
        _move_on(transaction, dataset, active, ends)
        # Rows of other requests, too: these are told when theirs went.
        counts = dict.fromkeys(sorted(gone), 0) | _counts(ends)
        for body in _entries(counts, frames):
            entry = {"dataset": ground.dataset.folder.name, **body}
            facts.record(transaction, Fact("checkpoint.destroyed", entry))


def _release(
    transaction: sa.Connection, ground: Ground, found: Ripe, ends: Sequence[Ending]
) -> set[str]:
    """Note which tombstones need nothing more. Returns the requests whose they are."""
    dataset = ground.dataset.id
    destroyed, last = found.rows, [one for one in ends if one.is_last]
    over = {one.request.id for one in last}
    heirs = {
        (place, scope): one.request.id
        for one in last
        for place in one.swept
        for scope in one.request.scopes
        if scope != EVERYTHING
    }
    done = [
        stone
        for stone in _stones(transaction, ground, ends, destroyed)
        # Of whichever request: a row that is erased is so for all of them, and what one is done
        # with cannot be taken back by another.
        if stone.place in destroyed or stone.request in over or (stone.place, stone.scope) in heirs
    ]
    passed = {
        stone.number: heir
        for stone in done
        if (heir := heirs.get((stone.place, stone.scope), stone.request)) != stone.request
    }
    awaiting.pass_on(transaction, dataset, passed)
    data_sql.release(transaction, dataset, {stone.number for stone in done})
    return {stone.request for stone in done}


def _stones(
    transaction: sa.Connection, ground: Ground, ends: Sequence[Ending], destroyed: set[Place]
) -> list[Tombstone]:
    """Tombstones of requests that end, and those of others on the same rows; held ones."""
    dataset, rows = ground.dataset.id, Places.of(destroyed)
    own = stones.of(transaction, dataset, {one.request.id for one in ends})
    mine = {(stone.place, stone.scope) for stone in own}
    shared = {
        place
        for one in ends
        for place in one.swept
        for scope in one.request.scopes
        if (place, scope) not in mine
    }
    for gone in ground.scoped.values():
        shared.update(rows.where(are_within(gone, rows)))
    # To look for these takes a while where many rows are held. Most often there are none.
    others = stones.at(transaction, dataset, Places.of(shared), held=True)
    return list({stone.number: stone for stone in (*own, *others)}.values())


def _move_on(
    transaction: sa.Connection,
    dataset: int,
    active: Mapping[str, Request],
    ends: Sequence[Ending],
) -> None:
    over = {one.request.id for one in ends if one.is_last}
    # A restriction ends with the last of its rows, when others had those destroyed.
    rebuilt = {one.request.id for one in ends}
    lasting = [
        request
        for request in active.values()
        if request.kind is Kind.RESTRICT and (request.state is State.HELD or request.id in rebuilt)
    ]
    if lasting:
        rows = ripe.rows(transaction, dataset, lasting)
        over |= {request.id for request in lasting if not rows.named(request)}
    sql.move_all(transaction, [active[one] for one in sorted(over)], State.DONE)
    awaiting.clear(transaction, over)
    stay = [one for one in ends if one.request.id not in over]
    sql.set_destroying(transaction, [one.request.id for one in stay], destroying=False)
    for one in stay:
        request = active[one.request.id]
        if request.state is State.FORGOTTEN:
            reason = "restriction" if one.lasts else "hold"
            _hold(transaction, request, reason, len(one.swept if one.lasts else one.kept))


def _counts(ends: Sequence[Ending]) -> dict[str, int]:
    """How many rows were destroyed for each request; each row counts once."""
    seen: set[Place] = set()
    counts = {}
    for one in ends:
        counts[one.request.id] = len(set(one.rows) - seen)
        seen.update(one.rows)
    return counts


def _entries(rows: Mapping[str, int], frames: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """What was destroyed, in entries that are small enough for the ledger.

    Each request stands in one, with its rows; so does each model, with its frames.
    """
    of_requests = _chunks(sorted(rows), _REQUESTS)
    for requests, models in zip_longest(
        of_requests, _chunks(sorted(frames), _MODELS), fillvalue=()
    ):
        yield {
            "rows": sum(rows[request] for request in requests),
            "frames": {model: frames[model] for model in models},
            "requests": list(requests),
        }


def _chunks(ordered: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    rest = iter(ordered)
    while chunk := tuple(islice(rest, size)):
        yield chunk
