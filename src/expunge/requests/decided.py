"""Decide again, about requests that a restored database knows, what was decided since its backup."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from expunge.core.errors import UndoRefused
from expunge.requests import awaiting, journaled, sql, undo
from expunge.requests.journaled import APPROVED, DECISIONS, ENDS, EXTENDED, Entry
from expunge.requests.sql import Request, State
from expunge.storage.facts import FACTS
from expunge.training.site import Site

_LOG: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class Decided:
    """What was decided again.

    Attributes:
        decisions: How many.
        numbers: Of the versions that are served from now on, by model.
    """

    decisions: int = 0
    numbers: dict[int, int] = field(default_factory=dict)


def decide(
    site: Site, transaction: sa.Connection, requests: Collection[str], stack: ExitStack
) -> Decided:
    """Decide what the ledger says was decided, in that order; the datasets are locked.

    An approved request is scheduled: where its moment has come, it takes effect before anything
    is served. ``stack`` is left after the transaction has ended.
    """
    done = Decided()
    for request, entries in of_ledger(transaction, requests).items():
        for entry in entries.values():
            row = sql.find(transaction, request)
            if journaled.lacks(row, [entry.kind]):
                done.decisions += _decide(site, transaction, (row, entry), done.numbers, stack)
    return done


def of_ledger(
    transaction: sa.Connection, requests: Collection[str] | None = None
) -> dict[str, dict[str, Entry]]:
    """What was decided about requests, or about all, by request and kind, as the ledger has it."""
    query = sa.select(FACTS.c.request, FACTS.c.leaf).where(FACTS.c.kind.in_(DECISIONS))
    query = query.where(FACTS.c.request.is_not(None)).order_by(FACTS.c.number)
    found: dict[str, dict[str, Entry]] = {}
    for row in transaction.execute(query):
        if requests is None or row.request in requests:
            entry = journaled.read(bytes(row.leaf))
            found.setdefault(row.request, {}).setdefault(entry.kind, entry)
    return found


def _decide(
    site: Site,
    transaction: sa.Connection,
    what: tuple[Request, Entry],
    numbers: dict[int, int],
    stack: ExitStack,
) -> bool:
    """Returns whether it could be."""
    row, entry = what
    if entry.kind == APPROVED:
        sql.move(transaction, row, State.SCHEDULED, {"effective": row.effective or entry.at})
    elif entry.kind == EXTENDED:
        sql.note(transaction, row.id, {"extended": True, "deadline": entry.body["until"]})
    elif ENDS[entry.kind] is State.UNDONE:
        return _undo(site, transaction, row, numbers, stack)
    else:
        sql.move(transaction, row, ENDS[entry.kind], {"error": entry.body.get("reason")})
        awaiting.clear(transaction, [row.id])
    return True


def _undo(
    site: Site,
    transaction: sa.Connection,
    row: Request,
    numbers: dict[int, int],
    stack: ExitStack,
) -> bool:
    try:
        with transaction.begin_nested():
            _, served = undo.revert(site, transaction, row, stack)
    except UndoRefused as error:
        _LOG.warning("A request that was undone cannot be undone again: %s", error)
        return False
    numbers |= served
    return True
