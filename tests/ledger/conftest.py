"""A ledger in a folder of the test's own, over SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from expunge.ledger.log import Ledger
from expunge.storage import facts
from expunge.storage.database import Database, sqlite_url
from expunge.storage.facts import FACTS, Fact

ORIGIN = "expunge/test"


@dataclass
class Desk:
    """A database and a folder, and ways to make something of them."""

    database: Database
    folder: Path

    @property
    def files(self) -> Path:
        return self.folder / "ledger"

    def ledger(self, **options: Any) -> Ledger:
        """Another user of the same ledger: a process of its own, as far as it knows."""
        return Ledger(self.database, self.folder, ORIGIN, **options)

    def record(self, count: int = 1, request: str | None = None) -> None:
        with self.database.transaction() as transaction:
            for number in range(count):
                facts.record(transaction, Fact("salt.destroyed", {"count": number}, request))

    def rows(self) -> list[tuple[int | None, bytes]]:
        """All facts in the order of their numbers, as (entry, leaf)."""
        wanted = sa.select(FACTS.c.entry, FACTS.c.leaf).order_by(FACTS.c.number)
        with self.database.reading() as transaction:
            return [(entry, bytes(leaf)) for entry, leaf in transaction.execute(wanted)]

    def tree(self) -> list[bytes]:
        """The leaves that have a place in the tree, in the order of their places."""
        placed = sorted((entry, leaf) for entry, leaf in self.rows() if entry is not None)
        assert [entry for entry, _ in placed] == list(range(len(placed)))
        return [leaf for _, leaf in placed]


@pytest.fixture(autouse=True)
def _no_keys_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EXPUNGE_LOG_KEY", "EXPUNGE_CERTIFICATE_KEY"):
        monkeypatch.delenv(name, raising=False)


def opened(url: Any, folder: Path) -> Desk:
    database = Database(url)
    database.create()
    return Desk(database, folder)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Over SQLite."""
    made = opened(sqlite_url(tmp_path / "home.sqlite"), tmp_path)
    yield made
    made.database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """Over SQLite, and over PostgreSQL."""
    url: Any = sqlite_url(tmp_path / "home.sqlite")
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    made = opened(url, tmp_path)
    yield made
    made.database.close()
