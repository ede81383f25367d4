"""Whoever inserts tombstones or publishes locks the dataset before it reads what it acts on.

Told by the statements of each transaction, so that SQLite, which locks all anyway, tells too.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from expunge.data import sql as data_sql
from expunge.home import Home
from expunge.testing.fakes import Tiny, people
from expunge.training.recipe import Sharded

CHANGES = ("INSERT INTO tombstone", "INSERT INTO version", "UPDATE tombstone", "UPDATE version")
GROUND = ("FROM tombstone", "FROM batch", "FROM version")


class Statements:
    """Notes transactions that changed something, and those that read before they locked."""

    def __init__(self, home: Home) -> None:
        engine = home.site.database._engine
        self._lock = self._plain(str(data_sql._LOCK.compile(engine)))
        self._heard: dict[int, list[str]] = {}
        self.changed: Counter[str] = Counter()
        self.early: list[str] = []
        sa.event.listen(engine, "before_cursor_execute", self._hear)
        sa.event.listen(engine, "commit", self._end)
        sa.event.listen(engine, "rollback", lambda at: self._heard.pop(id(at), None))

    def _hear(self, at: sa.Connection, _cursor: object, statement: str, *_: Any) -> None:
        self._heard.setdefault(id(at), []).append(self._plain(statement))

    def _end(self, at: sa.Connection) -> None:
        heard = self._heard.pop(id(at), [])
        changes = {c for one in heard for c in CHANGES if one.startswith(c)}
        self.changed.update(changes)
        if changes:
            before = heard[: heard.index(self._lock)] if self._lock in heard else heard
            self.early += [one for one in before if any(part in one for part in GROUND)]

    @staticmethod
    def _plain(statement: str) -> str:
        return " ".join(statement.replace('"', "").split())


@pytest.fixture
def statements(home: Home) -> Statements:
    home.ingest("people", people(60), id="id", subject="who")
    return Statements(home)


def test_the_lock_comes_before_what_is_read(home: Home, statements: Statements) -> None:
    home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), shards=2, slices=2))
    assert statements.changed["INSERT INTO version"] == 1
    home.forget(["s1"]).wait()
    home.correct({name: cells[40:41] for name, cells in people(60).items()}).wait()
    home.ingest("people", people(20, first=60))
    home.forget(subjects=["p16"]).wait()
    assert statements.changed["INSERT INTO tombstone"] == 3
    assert statements.changed["UPDATE tombstone"] == 3
    assert statements.changed["INSERT INTO version"] >= 6
    assert statements.early == []
