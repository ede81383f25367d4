"""Before a home serves: the journal and the database tell each other what the other lacks.

A request that only the journal knows was accepted after the backup from which the database was
restored: it is entered again. One that only the database knows was accepted just before a crash,
or without this journal: it is appended. So that opening stays quick, the database remembers up to
where it has read the journal; as that stands in the database, a restored one cannot remember
more than it knows.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from operator import attrgetter
from typing import Final

import sqlalchemy as sa

from expunge.data import sql as data_sql
from expunge.ledger import files
from expunge.ledger import sql as ledger_sql
from expunge.requests import again, decided, holds, orphans, settling, sql, standing
from expunge.requests.again import Entered
from expunge.requests.comparing import Compared, compare, known_of, undecided_of
from expunge.requests.journaled import ENDS, Told, gather
from expunge.requests.kinds import Kind
from expunge.requests.restored import Restored
from expunge.requests.retire import destroy_retired
from expunge.requests.shred import shred_again
from expunge.requests.states import WAITING
from expunge.storage import facts
from expunge.storage.facts import Fact
from expunge.training import serving
from expunge.training.site import Site

_LOG: Final = logging.getLogger(__name__)


def begin(site: Site) -> None:
    """Note where more of the ledger is published than the database knows; it is recovered next.

    So :func:`restore` knows that the database is old, though a crash came in between.
    """
    found = files.published(site.root / "ledger")
    size = found.checkpoint.size if found else 0
    with site.database.reading() as transaction:
        is_older = _size(transaction) < size
    if is_older:
        with site.database.transaction() as transaction:
            sql.lock_restoring(transaction)
            # Looked at again: another process may have made up for all meanwhile.
            if (before := _size(transaction)) < size:
                sql.begin_restoring(transaction, before)


def restore(site: Site) -> Restored | None:
    """Make database and journal know the same, before anything is served.

    May be killed at any line; running it again finishes it. Costs a few milliseconds where
    nothing is missing.

    The ledger is recovered before, and :func:`begin` was called before that.

    Returns:
        What was done; None where the database knew all that the journal and the ledger do.

    Raises:
        HomeMismatch: The journal is another home's.
        DataCorrupt: The journal is damaged; or rows were erased that neither knows of.
    """
    compared = compare(site)
    done = _catch_up(site, compared) if compared.is_older else None
    settling.settle(site, compared)
    return done


def settle(site: Site) -> None:
    """Do what opening does where nothing is missing; for a home that stays open for long.

    Costs a few milliseconds for each thousand requests since the last time.

    Raises:
        JournalUnwritten: The journal could not be written.
    """
    compared = compare(site)
    if not (compared.missing or compared.undecided):
        settling.settle(site, compared)


def _catch_up(site: Site, compared: Compared) -> Restored | None:
    journal, frames = site.journal, compared.frames
    missing = gather(journal, compared.missing, frames)
    undecided = gather(journal, compared.undecided, frames)
    with ExitStack() as stack, site.database.transaction() as transaction:
        sql.lock_restoring(transaction)
        done, numbers = _enter_again(site, transaction, missing, undecided, stack)
        keys = shred_again(transaction)
    if keys:
        site.database.scrub()
    serving.wait(site, numbers)
    destroy_retired(site)
    if done:
        _LOG.warning("%s", done)
    return done


def _enter_again(
    site: Site,
    transaction: sa.Connection,
    missing: Sequence[Told],
    undecided: Sequence[Told],
    stack: ExitStack,
) -> tuple[Restored | None, Mapping[int, int]]:
    datasets = _lock(site, transaction)
    known = known_of(transaction, [one.request for one in missing])
    missing = [one for one in missing if one.request not in known]
    before = sql.restoring(transaction)
    again.tell(transaction, undecided)
    wanted = None if before is not None else {one.request for one in undecided}
    decisions = decided.of_ledger(transaction, wanted)
    # Another process may have been quicker, and has done it.
    if not missing and before is None and not undecided_of(transaction, decisions):
        return None, {}
    models = orphans.retire(site, transaction)
    retired = orphans.retire_again(site, transaction)
    found = _enter_all(site, transaction, datasets, missing)
    strangers = [one for one in missing if one.dataset not in datasets]
    unknown = _note_strangers(site, transaction, strangers)
    done = decided.decide(site, transaction, undecided_of(transaction, decisions), stack)
    rows = [row for one in found for row in one.requests]
    restored = Restored(
        requests=len(rows),
        rows=sum(one.rows for one in found),
        unknown=unknown + sum(one.unknown for one in found),
        corrections=sum(row.kind is Kind.CORRECT for row in rows),
        strangers=len(strangers),
        models=models,
        retired=len(retired),
        lost=sql.unknown_to_all(transaction) if before is not None else 0,
        waiting=sum(row.state in WAITING for row in rows),
        ended=sum(row.state in ENDS.values() for row in rows),
        decisions=done.decisions,
        holds=len(holds.lost(transaction)) if before is not None else 0,
    )
    _record(transaction, restored, before)
    served = [retired, *(one.numbers for one in found), done.numbers]
    return restored, {model: number for numbers in served for model, number in numbers.items()}


def _enter_all(
    site: Site, transaction: sa.Connection, datasets: Mapping[str, int], missing: Sequence[Told]
) -> list[Entered]:
    of_dataset = attrgetter("dataset")
    entered = sorted((one for one in missing if one.dataset in datasets), key=of_dataset)
    return [
        again.enter(site, transaction, site.ground(transaction, datasets[folder]), list(group))
        for folder, group in groupby(entered, key=of_dataset)
    ]


def _lock(site: Site, transaction: sa.Connection) -> dict[str, int]:
    """Lock all datasets; their ids by folder."""
    every = [site.dataset(transaction, name) for name in data_sql.names(transaction)]
    known = {one.folder.name: one.id for one in every}
    for dataset in sorted(known.values()):
        data_sql.lock(transaction, dataset)
    return known


def _note_strangers(site: Site, transaction: sa.Connection, strangers: Sequence[Told]) -> int:
    """Requests about datasets that are not here: at least, nothing of their rows is left."""
    sql.add_strangers(transaction, [one.request for one in strangers])
    again.tell(transaction, strangers)
    of_dataset = attrgetter("dataset")
    for folder, group in groupby(sorted(strangers, key=of_dataset), key=of_dataset):
        named = [row for one in group if one.end is None for row in one.rows]
        standing.erase_strays(site.journal.subkey(folder), site.data / folder, set(), named)
    return len({(one.dataset, row) for one in strangers for row in one.rows})


def _record(transaction: sa.Connection, restored: Restored, before: int | None) -> None:
    after = _size(transaction)
    body = {
        "size_before": after if before is None else before,
        "size_after": after,
        "requests": restored.requests,
        "rows": restored.rows,
        "unknown": restored.unknown,
    }
    facts.record(transaction, Fact("home.restored", body))
    sql.end_restoring(transaction)


def _size(transaction: sa.Connection) -> int:
    """Entries in the ledger's tree, as the database knows it."""
    head = ledger_sql.head(transaction)
    return head.size if head else 0
