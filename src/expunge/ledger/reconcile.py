"""Compare the database's tree with itself and with the published files, entry by entry.

:mod:`expunge.ledger.fsck` sees what everybody sees; this sees what only the log's owner has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from expunge.core.errors import DataCorrupt, KeyInvalid, LedgerError, NoteInvalid
from expunge.core.merkle import Frontier, leaf_hash
from expunge.ledger import files, note, publish, sql, tiles
from expunge.ledger.derive import Problem
from expunge.ledger.files import Published
from expunge.ledger.note import Checkpoint, Verifier
from expunge.ledger.sql import Head
from expunge.storage.database import Database
from expunge.storage.facts import FACTS

_ROWS: Final = 8192
_FACTS: Final = "database: fact"
_HEAD: Final = "database: tree_head"


def reconcile(database: Database, folder: Path) -> list[Problem]:
    """What is wrong with the facts and the tree's head; nothing where all is well.

    Reads every entry, and writes nothing. Nobody may write the ledger meanwhile.

    Args:
        database: Its tree goes on from the published one.
        folder: The log's folder; damage there is :func:`fsck`'s to tell.
    """
    try:
        with database.reading() as transaction:
            head = sql.head(transaction)
            wanted = b"" if head is None else publish.wanted(transaction, head)
    except DataCorrupt as error:
        return [Problem(_HEAD, "frontier", str(error))]
    found = _published(folder)
    problems, frontier, first = list[Problem](), Frontier(), 0
    size, stop = head.size if head else 0, found.checkpoint.size if found else 0
    for rows in _facts(database):
        problems += _check_rows(rows, first, size)
        first = rows[-1].entry + 1
        hashes = [leaf_hash(bytes(row.leaf)) for row in rows]
        if found and frontier.size < stop <= frontier.size + len(rows):
            known = frontier.extend(hashes[: stop - frontier.size]).root
            problems += [] if known == found.checkpoint.root else [_other(stop)]
        frontier = frontier.extend(hashes)
    if stop > size:
        what = f"has {size:,} entries, and {stop:,} are published: open the home to recover it"
        problems.append(Problem(_HEAD, "size", what))
    if head is not None:
        problems += _check_head(head, frontier)
    if found is not None and stop == size and found.data != wanted:
        problems.append(Problem(files.CHECKPOINT, "", "is not what the database has published"))
    if problems and found is not None:
        problems += _differences(database, folder, stop)
    return problems


def _published(folder: Path) -> Published | None:
    with suppress(NoteInvalid):
        return files.published(folder)
    return None


def _facts(database: Database) -> Iterator[list[sa.Row[Any]]]:
    """All facts that have a place in the tree, in order."""
    last = -1
    while True:
        wanted = sa.select(FACTS).where(FACTS.c.entry > last).order_by(FACTS.c.entry).limit(_ROWS)
        with database.reading() as transaction:
            rows = list(transaction.execute(wanted))
        if not rows:
            return
        yield rows
        last = rows[-1].entry


def _check_rows(rows: list[sa.Row[Any]], first: int, size: int) -> Iterator[Problem]:
    """Whether each has the place that it should, and its columns say what its leaf says."""
    for number, row in enumerate(rows, first):
        if row.entry != number:
            yield Problem(_FACTS, f"entry {number:,}", "is missing")
            return
        if number >= size:
            yield Problem(_FACTS, f"entry {number:,}", "is behind the tree's head")
        try:
            said = json.loads(bytes(row.leaf))
            same = (said["kind"], said.get("request")) == (row.kind, row.request)
        except (ValueError, KeyError, TypeError, AttributeError):
            same = False
        if not same:
            what = "has another kind or request than its leaf says"
            yield Problem(_FACTS, f"entry {number:,}", what)


def _check_head(head: Head, frontier: Frontier) -> Iterator[Problem]:
    """Whether the head is of the facts' tree, and signed by the key that it names."""
    if head.frontier != frontier:
        yield Problem(_HEAD, "root", "is not that of the facts")
    try:
        verifier = Verifier.parse(head.log_key)
        signed = note.parse(head.note)
        said = Checkpoint.parse(signed.text)
        is_right = verifier in note.verified(signed, [verifier])
    except (NoteInvalid, KeyInvalid):
        is_right = False
    else:
        is_right &= (said.size, said.root) == (head.size, head.frontier.root)
    if not is_right:
        yield Problem(_HEAD, "note", "is not the signed checkpoint of this head")


def _differences(database: Database, folder: Path, stop: int) -> Iterator[Problem]:
    """Which facts are not what is published."""
    try:
        for number, leaves in enumerate(files.entries(folder, 0, stop, stop)):
            start = number * tiles.WIDTH
            with database.reading() as transaction:
                known = sql.numbered(transaction, start, start + len(leaves))
            for entry, leaf in enumerate(leaves, start):
                if known.get(entry, leaf) != leaf:
                    what = "is not the entry that is published"
                    yield Problem(_FACTS, f"entry {entry:,}", what)
    except LedgerError:
        return  # damaged files are told elsewhere


def _other(size: int) -> Problem:
    what = f"is not of the first {size:,} facts: they were changed, or are two histories"
    return Problem(files.CHECKPOINT, "", what)
