"""One way to open a transaction, over SQLite or PostgreSQL.

On SQLite every writing transaction is ``BEGIN IMMEDIATE``: a transaction that begins by
reading and then writes fails with SQLITE_BUSY_SNAPSHOT at once, whatever the timeout.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from expunge.core.errors import FormatUnsupported, LibraryMissing

METADATA: Final = sa.MetaData()
FORMAT: Final = 3

_PSYCOPG: Final = "postgresql+psycopg"
_CREATING: Final = 0x4558_5055_4E47_4501  # names the lock under which tables are created

_FORMAT_TABLE: Final = sa.Table(
    "format",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("home", sa.String(32), nullable=False),
)

_NEW_FILE: Final = Lock()

_PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=60000",
)


def now() -> str:
    """This moment, UTC, as RFC 3339."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def sqlite_url(path: Path) -> URL:
    """The URL of a SQLite file."""
    return URL.create("sqlite", database=str(path))


class Database:
    """A database with all of Expunge's tables.

    Raises:
        LibraryMissing: It is on PostgreSQL, and psycopg is not installed.
    """

    def __init__(self, url: str | URL) -> None:
        self.url = make_url(url)
        if self.url.drivername == "postgresql":
            self.url = self.url.set(drivername=_PSYCOPG)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            _create_private(self.url)
        self._engine = _engine(self.url)
        if not self.is_sqlite:
            # The dataset's lock relies on it: after waiting, one must read what is there then.
            self._engine = self._engine.execution_options(isolation_level="READ COMMITTED")
        if self.is_sqlite:
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        self._reading = self._engine.execution_options(expunge_reading=True)

    def create(self) -> str:
        """Create the tables that are missing; refuse another format. Returns the home's id."""
        with self.transaction() as transaction:
            if not self.is_sqlite:  # two that create the same table at once fail on PostgreSQL
                transaction.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATING)))
            METADATA.create_all(transaction)
            found = transaction.execute(sa.select(_FORMAT_TABLE)).one_or_none()
            if found is None:
                home = secrets.token_hex(16)
                transaction.execute(_FORMAT_TABLE.insert().values(number=FORMAT, home=home))
                return home
            if found.number != FORMAT:
                raise FormatUnsupported("The database", found.number, FORMAT)
            return str(found.home)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction that may write. Commits at the end, rolls back on any error."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that only reads."""
        with self._reading.begin() as connection:
            yield connection

    def scrub(self) -> None:
        """Leave no page of erased content behind in SQLite's write-ahead log."""
        if self.is_sqlite:
            with self._engine.connect() as connection:
                raw: Any = connection.connection.driver_connection
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _engine(url: URL) -> sa.Engine:
    is_sqlite = url.get_backend_name() == "sqlite"
    try:
        # Parameters are ids and rows' places, and an error's text may end in a log.
        return sa.create_engine(url, pool_pre_ping=not is_sqlite, hide_parameters=True)
    except ImportError as error:
        if url.drivername != _PSYCOPG:
            raise
        raise LibraryMissing("A home on PostgreSQL", "postgres") from error


def _create_private(url: URL) -> None:
    """Create a SQLite file that only we may read; its log and index get its mode from it."""
    if url.database in (None, "", ":memory:"):
        return
    # Closing any descriptor of a file lets go of all locks that this process has on it: only
    # of a new file, and nobody else here connects before that.
    with _NEW_FILE, suppress(FileExistsError):
        os.close(os.open(url.database, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin_sqlite(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("expunge_reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
