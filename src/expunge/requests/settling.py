"""Append to the journal what only the database knows, and remember up to where all is known."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

import sqlalchemy as sa

from expunge.data import sql as data_sql
from expunge.requests import awaiting, comparing, entries, journaled, sql
from expunge.requests.comparing import Compared
from expunge.requests.journaled import DECISIONS, KINDS, RECEIVED
from expunge.storage.facts import FACTS
from expunge.storage.records import Position, Record
from expunge.training.site import Site

_LOG: Final = logging.getLogger(__name__)


def settle(site: Site, compared: Compared) -> None:
    """Append what the journal does not know, and move the mark where it is far behind.

    Raises:
        JournalUnwritten: The journal could not be written.
    """
    end, told = compared.end, {one: set(kinds) for one, kinds in compared.frames.items()}
    absent = set(compared.absent)
    standing = {one: told[one] for one in compared.here if one not in absent}
    pending = [list(_records(site, chunk)) for chunk in sql.chunks(absent)]
    pending += [_decisions(site, {o: standing[o] for o in c}) for c in sql.chunks(standing)]
    for records in filter(None, pending):
        end = site.journal.append(*records)
        for record in records:
            told.setdefault(record.request, set()).add(journaled.read(record.entry).kind)
    _remember(site, compared, end, told)


def _remember(
    site: Site, compared: Compared, end: Position | None, told: Mapping[str, Collection[str]]
) -> None:
    is_far = len(told) >= comparing.FRAMES
    if not compared.is_other and not is_far:
        return
    with site.database.transaction() as transaction:
        if compared.is_other:
            _LOG.warning("The journal is another one than before; all requests stand in it now.")
            sql.drop_mark(transaction)
        if end is not None and is_far:
            sql.set_mark(transaction, end, told.keys() - _late(transaction, told))


def _late(transaction: sa.Connection, told: Mapping[str, Collection[str]]) -> set[str]:
    """Requests about which something was decided since we looked."""
    chunks = (_leaves(transaction, chunk, DECISIONS) for chunk in sql.chunks(told))
    return {one for leaves in chunks for one in leaves if not leaves[one].keys() <= set(told[one])}


def _records(site: Site, requests: Sequence[str]) -> Iterator[Record]:
    """All that the journal is to say about requests that the database knows."""
    with site.database.reading() as transaction:
        leaves = _leaves(transaction, requests, KINDS)
        of_dataset = attrgetter("dataset")
        known = [row for row in sql.some(transaction, requests) if RECEIVED in leaves[row.id]]
        named = defaultdict(set, {k: {*v} for k, v in awaiting.of(transaction, requests).items()})
        for dataset, group in groupby(sorted(known, key=of_dataset), key=of_dataset):
            folder = site.ground(transaction, dataset).dataset.folder.name
            for stone in data_sql.tombstones_in(transaction, dataset, requests):
                named[stone.request].add(stone.place)
            for row in group:
                yield from entries.records(
                    site.journal.subkey(folder), row.id, leaves[row.id], sorted(named[row.id])
                )


def _decisions(site: Site, standing: Mapping[str, Collection[str]]) -> list[Record]:
    """Decisions about requests of which the journal knows only these kinds of entries."""
    with site.database.reading() as transaction:
        leaves = _leaves(transaction, list(standing), DECISIONS)
    return [
        Record(request, leaf, ())
        for request, said in leaves.items()
        for kind, leaf in said.items()
        if kind not in standing[request]
    ]


def _leaves(
    transaction: sa.Connection, requests: Collection[str], kinds: Collection[str]
) -> dict[str, dict[str, bytes]]:
    """Entries about requests, by request and kind; the first of each kind."""
    query = sa.select(FACTS.c.request, FACTS.c.kind, FACTS.c.leaf).where(
        FACTS.c.request.in_(requests), FACTS.c.kind.in_(kinds)
    )
    found: dict[str, dict[str, bytes]] = defaultdict(dict)
    for row in transaction.execute(query.order_by(FACTS.c.number)):
        found[row.request].setdefault(row.kind, bytes(row.leaf))
    return found
