from __future__ import annotations

import os

import pytest
import sqlalchemy as sa

from expunge.core.errors import FormatUnsupported
from expunge.storage import facts
from expunge.storage.database import METADATA, Database, now, sqlite_url
from expunge.storage.facts import Fact

FACT = Fact("test.happened", {"count": 3, "names": ["00ff"]}, "request-1")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request, tmp_path):
    url = sqlite_url(tmp_path / "base")
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    made = Database(url)
    made.create()
    yield made
    made.close()


def kinds(database):
    with database.reading() as transaction:
        return [fact.kind for fact in facts.read(transaction)]


def test_creating_again_changes_nothing(database):
    with database.transaction() as transaction:
        facts.record(transaction, FACT)
    database.create()
    assert kinds(database) == ["test.happened"]


def test_a_newer_format_is_refused(database):
    with database.transaction() as transaction:
        transaction.execute(sa.update(METADATA.tables["format"]).values(number=2))
    with pytest.raises(FormatUnsupported, match="has format 2; this version reads 1"):
        database.create()


def test_an_error_rolls_back(database):
    def half():
        with database.transaction() as transaction:
            facts.record(transaction, FACT)
            raise OSError("disk full")

    with pytest.raises(OSError, match="full"):
        half()
    assert kinds(database) == []


def test_an_error_does_not_show_what_was_written(database):
    def fail():
        with database.transaction() as transaction:
            rows = METADATA.tables["fact"].insert()
            transaction.execute(rows.values(number=1, at="", kind="", body="ada@example.org"))
            transaction.execute(rows.values(number=1, at="", kind="", body="ada@example.org"))

    with pytest.raises(sa.exc.IntegrityError) as caught:
        fail()
    assert "ada@example.org" not in str(caught.value)


def test_a_sqlite_file_is_ours_alone(tmp_path):
    before = os.umask(0o022)
    try:
        database = Database(sqlite_url(tmp_path / "base"))
        database.create()
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("base", "base-wal", "base-shm"), 0o600)
    database.close()


def test_a_file_that_is_there_keeps_its_locks(tmp_path, monkeypatch):
    first = Database(sqlite_url(tmp_path / "base"))
    first.create()
    closed = []
    with monkeypatch.context() as patch:  # closing a descriptor lets go of SQLite's locks
        patch.setattr(os, "close", closed.append)
        second = Database(sqlite_url(tmp_path / "base"))
    assert closed == []
    second.create()
    second.close()
    first.close()


def test_a_reader_does_not_see_what_is_not_committed(database):
    with database.transaction() as transaction:
        facts.record(transaction, FACT)
        assert kinds(database) == []
    assert kinds(database) == ["test.happened"]


def test_facts_are_read_in_order_and_by_request(database):
    with database.transaction() as transaction:
        for number in range(5):
            facts.record(transaction, Fact(f"kind.{number}", {}, f"request-{number % 2}"))
        facts.record(transaction, FACT)
    assert kinds(database) == [*(f"kind.{n}" for n in range(5)), "test.happened"]
    with database.reading() as transaction:
        found = facts.read(transaction, "request-1")
    assert [fact.kind for fact in found] == ["kind.1", "kind.3", "test.happened"]
    assert found[-1].body == FACT.body
    assert found[-1].at <= now()


def test_sqlite_is_set_to_erase_and_to_sync(tmp_path):
    database = Database(sqlite_url(tmp_path / "base"))
    database.create()
    with database.reading() as transaction:
        asked = ("journal_mode", "synchronous", "secure_delete", "foreign_keys")
        found = [transaction.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked]
    assert found == ["wal", 2, 1, 1]
    database.close()


def test_scrubbing_leaves_no_erased_content(tmp_path):
    database = Database(sqlite_url(tmp_path / "base"))
    database.create()
    with database.transaction() as transaction:
        facts.record(transaction, Fact("test.secret", {"note": "ZEBRA-7731"}))
    with database.transaction() as transaction:
        transaction.execute(sa.delete(METADATA.tables["fact"]))

    def held():
        return [path for path in tmp_path.iterdir() if b"ZEBRA-7731" in path.read_bytes()]

    assert held() != []
    database.scrub()
    assert held() == []
    assert (tmp_path / "base-wal").stat().st_size == 0
    database.close()


def test_moments_are_utc_and_sort_as_text():
    first, second = now(), now()
    assert first <= second
    assert first.endswith("Z")
    assert len(first) == 27
