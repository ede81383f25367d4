"""Take back what a request did: a mistake within its undo window, or a restriction.

The rows count again, and the models are rebuilt with them: to the names and bytes that they had.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import TypeAlias

import numpy as np
import sqlalchemy as sa

from expunge.core.errors import RequestMoveRefused, UndoRefused
from expunge.data import sql as data_sql
from expunge.data.datasets import Ground, Grounds
from expunge.data.places import EVERYTHING, Place, Tombstone
from expunge.ledger.lease import Clock, shared_clock
from expunge.requests import awaiting, effect, moments, sql, units
from expunge.requests.decide import decision
from expunge.requests.effect import Taking
from expunge.requests.finding import Ledge
from expunge.requests.kinds import Kind
from expunge.requests.sql import Request, State
from expunge.requests.states import IN_EFFECT
from expunge.requests.telling import tell
from expunge.requests.terms import covers
from expunge.storage.facts import Fact
from expunge.storage.locks import alone_if_free
from expunge.training import sql as training_sql
from expunge.training import versions
from expunge.training.site import Site
from expunge.training.sql import Model

_Check: TypeAlias = Callable[[Request, str], None]


def undo(site: Site, request: str, clock: Clock = shared_clock) -> Request:
    """Take back a request within its undo window.

    Raises:
        UndoRefused: It has no undo window, or that is over; or ids came in again meanwhile.
        RequestMoveRefused: It is not in effect, or done.
        UnknownName: There is no such request.
    """
    return _take_back(site, request, _check_undo, clock)


def lift(site: Site, request: str) -> Request:
    """Lift a restriction.

    Raises:
        UndoRefused: It is no restriction; or ids came in again meanwhile.
        RequestMoveRefused: It is not in effect, or was lifted.
        UnknownName: There is no such request.
    """
    return _take_back(site, request, _check_lift, shared_clock)


def _check_undo(request: Request, now: str) -> None:
    if request.kind is Kind.CORRECT:
        raise UndoRefused(request.id, "it was a correction. Correct the rows once more.")
    if request.undo_until is None:
        raise UndoRefused(request.id, "it was made without an undo window.")
    if request.undo_until <= now or request.destroying:
        raise UndoRefused(request.id, "its undo window is over.")


def _check_lift(request: Request, _now: str) -> None:
    if request.kind is not Kind.RESTRICT:
        raise UndoRefused(request.id, f"its kind is {request.kind}; only a restriction is lifted.")


def _take_back(site: Site, request: str, check: _Check, clock: Clock) -> Request:
    with ExitStack() as stack, site.database.transaction() as transaction:
        data_sql.lock(transaction, sql.find(transaction, request).dataset)
        row = sql.find(transaction, request)
        if row.state not in IN_EFFECT:
            raise RequestMoveRefused(row.id, row.state, State.UNDONE)
        check(row, moments.stamp(moments.now_by(transaction, clock)))
        rows, numbers = revert(site, transaction, row, stack)
        record = decision(transaction, Fact("request.undone", {"rows": rows}, row.id))
        after = sql.find(transaction, row.id)
    tell(site, [record], numbers)
    return after


def revert(
    site: Site, transaction: sa.Connection, row: Request, stack: ExitStack
) -> tuple[int, dict[int, int]]:
    """Take back a request that is in effect; its dataset is locked.

    Args:
        site: What the home stands on.
        transaction: In which it is taken back.
        row: The request.
        stack: To be left after the transaction has ended: until then nobody begins to build.

    Returns:
        How many rows count again, and numbers of the versions that are served, by model.

    Raises:
        UndoRefused: Ids came in again meanwhile.
    """
    before = site.ground(transaction, row.dataset)
    lifted = _lift(transaction, before, row)
    sql.move(transaction, row, State.UNDONE)
    awaiting.clear(transaction, [row.id])
    places = {stone.place for stone in lifted}
    return len(places), _publish(site, transaction, row, (before, places), stack)


def _lift(transaction: sa.Connection, ground: Ground, row: Request) -> list[Tombstone]:
    lifted = data_sql.lift(transaction, ground.dataset, row.id)
    back = [stone.place for stone in lifted if stone.scope == EVERYTHING]
    tokens = np.array([place.token for place in back], np.uint64)
    for key, batch in ground.batches.items() if back else ():
        ordinals = batch.find(tokens)
        ordinals = ordinals[ordinals >= 0]
        if not ground.is_gone(key, ordinals).all():
            raise UndoRefused(row.id, "ids that it named came in again, and stand in other rows.")
    return lifted


def _publish(
    site: Site,
    transaction: sa.Connection,
    row: Request,
    back: tuple[Ground, Collection[Place]],
    stack: ExitStack,
) -> dict[int, int]:
    """Serve what the rows' return leaves of the models; returns the numbers of versions."""
    before, places = back
    dataset = data_sql.get_dataset(transaction, row.dataset, site.data)
    # Loaded apart: the transaction may still be rolled back, and nobody else may see this.
    ground = Grounds(site.data).load(transaction, dataset)
    heirs = _heirs(transaction, ground, places)
    after = effect.bury(transaction, ground, heirs)
    numbers = {}
    for model in site.models_of(transaction, row.dataset):
        shards = versions.touched(model, places, after) if covers(row.scopes, model) else []
        if shards and training_sql.current_number(transaction, model.id):
            quiet = _quiet(transaction, model, shards, stack)
            version = versions.put_back(transaction, model, (before, after), shards, quiet)
            assert version is not None
            units.finish_whole(transaction, model, version)
            effect.want(transaction, model, version, heirs, effect.keys(after, heirs))
            behind = {c.shard for c in version.constituents if not c.whole}
            units.want(transaction, model, sorted(behind & set(shards)), ())
            numbers[model.id] = version.number
    return numbers


def _quiet(
    transaction: sa.Connection, model: Model, shards: Collection[int], stack: ExitStack
) -> set[int]:
    """Shards that nobody builds or sweeps: what is claimed later is planned with the rows."""
    if not stack.enter_context(alone_if_free(model.folder / "build.lock")):
        return set()
    return set(shards) - units.running(transaction, model)


def _heirs(transaction: sa.Connection, ground: Ground, places: Collection[Place]) -> list[Taking]:
    """Requests that name some of these rows as well: for them, they stay forgotten."""
    others = sql.unfinished(transaction, ground.dataset.id, IN_EFFECT)
    named = awaiting.of(transaction, [other.id for other in others])
    ledge = Ledge(ground, transaction)
    mine = {one.id: [p for p in named.get(one.id, ()) if p in places] for one in others}
    return [
        Taking(one.id, one.scopes, ledge.sort_out(mine[one.id], one.scopes))
        for one in others
        if mine[one.id]
    ]
