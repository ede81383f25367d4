"""Enter requests again that a restored database does not know: same ids, same effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from expunge.data import barred
from expunge.data.datasets import Ground
from expunge.data.places import Place
from expunge.requests import (
    awaiting,
    effect,
    entries,
    holds,
    moments,
    revived,
    sql,
    standing,
    units,
)
from expunge.requests.effect import Taking
from expunge.requests.finding import Found, Ledge
from expunge.requests.journaled import KINDS, Told
from expunge.requests.sql import Request, State
from expunge.requests.states import WAITING
from expunge.requests.terms import covers
from expunge.storage import facts
from expunge.storage.facts import FACTS, Fact
from expunge.storage.records import Row
from expunge.training import sql as training_sql
from expunge.training import versions
from expunge.training.site import Site
from expunge.training.sql import Model


@dataclass(frozen=True, slots=True)
class Entered:
    """What entering requests again did.

    Attributes:
        requests: As they stand now.
        rows: How many rows are forgotten again.
        unknown: How many rows are named that are nowhere.
        numbers: Of the versions that are served from now on, by model.
    """

    requests: Sequence[Request]
    rows: int
    unknown: int
    numbers: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class _Back:
    """A request that is entered again.

    Attributes:
        row: As it stands now.
        named: Its rows that are here, and which of them it is to forget.
        unknown: Those that are not here.
    """

    told: Told
    row: Request
    named: Sequence[Place]
    found: Found
    unknown: Sequence[Row]

    @property
    def taking(self) -> Taking:
        """How it takes effect."""
        return Taking(self.row.id, self.row.scopes, self.found)

    @property
    def is_in_effect(self) -> bool:
        """Whether its rows are forgotten by it."""
        return self.told.end is None and self.row.state not in WAITING


def enter(site: Site, transaction: sa.Connection, ground: Ground, told: Sequence[Told]) -> Entered:
    """Enter requests of one dataset again. It is locked, and ``ground`` loaded after that.

    Models go back to the longest checkpoints, of all that rest in their packs, that a build
    without the rows would make: where only the database is old, those are whole already.
    """
    models = site.models_of(transaction, ground.dataset.id)
    back = _look(site, transaction, ground, models, told)
    lost = _bar(site, transaction, ground, back)
    back = [_settled(transaction, one) for one in back]
    sql.add(transaction, *(one.row for one in back))
    tell(transaction, told)
    waiting = {one.row.id: one.named for one in back if one.row.state in WAITING}
    shared = {one.row.id: one.found.shared for one in back if one.is_in_effect}
    awaiting.add(transaction, {**waiting, **shared})
    taken = [one for one in back if one.is_in_effect]
    numbers = _take(transaction, ground, models, taken)
    rows = sum(len(one.found.places) for one in taken)
    return Entered([one.row for one in back], rows, lost, numbers)


def _look(
    site: Site,
    transaction: sa.Connection,
    ground: Ground,
    models: Sequence[Model],
    told: Sequence[Told],
) -> list[_Back]:
    """What each request is to forget, one after the other."""
    key = site.journal.subkey(ground.dataset.folder.name)
    named, unknown = standing.find(key, ground, [one for one in told if one.end is None])
    now, ledge = moments.now_by(transaction), Ledge(ground, transaction)
    back = []
    for one in told:
        row = revived.request(one, ground.dataset.id, models, now)
        places, found = named.get(one.request, []), Found()
        if one.end is None:
            sort = ledge.look if row.state in WAITING else ledge.sort_out
            found = sort(places, row.scopes)
            row = replace(row, samples=len(found.places))
        back.append(_Back(one, row, places, found, unknown.get(one.request, [])))
    return back


def _bar(site: Site, transaction: sa.Connection, ground: Ground, back: Sequence[_Back]) -> int:
    """Keep out the ids of rows that are nowhere. Returns how many rows that are."""
    dataset, key = ground.dataset, site.journal.subkey(ground.dataset.folder.name)
    unknown = {row for one in back for row in one.unknown}
    barred.add(transaction, dataset.id, key, {row.digest for row in unknown})
    kept = holds.spots(transaction, dataset.id)
    gone = {
        row
        for one in back
        if one.is_in_effect and one.row.destroys
        for row in one.unknown
        if (row.tier, row.batch, row.ordinal) not in kept
    }
    known = {batch.folder for batch in ground.batches.values()}
    standing.erase_strays(key, dataset.folder, known, list(gone))
    return len(unknown)


def _settled(transaction: sa.Connection, back: _Back) -> _Back:
    """A request that is in effect is done where nothing of its rows is left to do."""
    waits = back.found.is_open
    lost = back.unknown and barred.is_holding(transaction, back.row.dataset)
    if not back.is_in_effect or waits or lost:
        return back
    done = moments.stamp(moments.now_by(transaction))
    return replace(back, row=replace(back.row, state=State.DONE, done=done))


def _take(
    transaction: sa.Connection, ground: Ground, models: Sequence[Model], back: Sequence[_Back]
) -> dict[int, int]:
    """Insert tombstones, publish every model anew, and have rebuilt what is not whole."""
    after = effect.bury(transaction, ground, [one.taking for one in back])
    keys = effect.keys(ground, [one.taking for one in back])
    said = told(transaction, [one.row.id for one in back], "request.forgotten")
    numbers = {}
    for model in models:
        before = training_sql.current(transaction, model.id)
        if before is None:
            continue
        served = versions.publish(transaction, model, after, versions.all_shards(model))
        if served.digest == before.digest:
            # The ledger may have later versions, whose rows were lost with the backup.
            versions.announce(transaction, model, before, served)
        numbers[model.id] = served.number
        mine = [one for one in back if covers(one.row.scopes, model)]
        for one in mine:
            if one.row.id not in said and (one.found.buried or one.told.received.body["samples"]):
                shards = versions.touched(model, one.found.places, ground)
                body = entries.forgotten(model, before, served, shards)
                facts.record(transaction, Fact("request.forgotten", body, one.row.id))
        units.finish_whole(transaction, model, served)
        effect.want(transaction, model, served, [one.taking for one in mine], keys)
        units.ensure(transaction, model, served, after)
    return numbers


def tell(transaction: sa.Connection, again: Sequence[Told]) -> None:
    """Say again what the ledger has lost of what the journal knows: the same bytes."""
    for kind in KINDS:
        about = [one for one in again if kind in one.entries]
        said = told(transaction, [one.request for one in about], kind)
        for one in about:
            if one.request not in said:
                entries.enter(transaction, kind, one.request, one.entries[kind].leaf)


def told(transaction: sa.Connection, requests: Sequence[str], kind: str) -> set[str]:
    """Requests about which the ledger has said that already."""
    of_kind = sa.select(FACTS.c.request).where(FACTS.c.kind == kind)
    return {
        str(one)
        for chunk in sql.chunks(requests)
        for one in transaction.scalars(of_kind.where(FACTS.c.request.in_(chunk)))
    }
