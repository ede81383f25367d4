from __future__ import annotations

import json
import os
import sys

import pytest
import sqlalchemy as sa

from expunge.core.errors import EntryTooLarge, FormatUnsupported, LibraryMissing
from expunge.storage import facts
from expunge.storage.database import FORMAT, METADATA, Database, now, sqlite_url
from expunge.storage.facts import Fact

FACT = Fact("salt.destroyed", {"count": 3}, "request-1")


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
    assert kinds(database) == ["salt.destroyed"]


@pytest.mark.parametrize(("step", "advice"), [(1, "Upgrade"), (-1, "make it again")])
def test_another_format_is_refused(database, step, advice):
    with database.transaction() as transaction:
        transaction.execute(sa.update(METADATA.tables["format"]).values(number=FORMAT + step))
    with pytest.raises(FormatUnsupported, match=f"has format {FORMAT + step}; .* {advice}"):
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
            for _ in range(2):
                transaction.execute(rows.values(number=1, kind="ada@example.org", leaf=b"ada@"))

    with pytest.raises(sa.exc.IntegrityError) as caught:
        fail()
    assert "ada@" not in str(caught.value)


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
    assert kinds(database) == ["salt.destroyed"]


def test_facts_are_read_in_order_and_by_request(database):
    with database.transaction() as transaction:
        for number in range(5):
            refused = {"kind": "forget", "reason": str(number)}
            facts.record(transaction, Fact("request.refused", refused, f"request-{number % 2}"))
        facts.record(transaction, FACT)
    assert kinds(database) == [*["request.refused"] * 5, "salt.destroyed"]
    with database.reading() as transaction:
        found = facts.read(transaction, "request-1")
        assert facts.read(transaction, kinds=["salt.destroyed"]) == [found[-1]]
        assert facts.read(transaction, after=found[-1].number) == []
    assert [fact.body.get("reason") for fact in found] == ["1", "3", None]
    assert found[-1].body == FACT.body
    assert found[-1].at <= now()
    assert json.loads(found[-1].leaf)["body"] == FACT.body
    assert found[-1].entry is None


@pytest.mark.parametrize(
    "fact", [Fact("salt.destroyed", {}), Fact("salt.destroyed", {"count": 1, "who": "Ada"})]
)
def test_a_fact_has_the_fields_of_its_kind_and_no_others(database, fact):
    with database.transaction() as transaction, pytest.raises(ValueError, match="cannot hold"):
        facts.record(transaction, fact)
    assert kinds(database) == []


def test_a_kind_that_is_not_declared_cannot_be_recorded(database):
    with database.transaction() as transaction, pytest.raises(ValueError, match="cannot hold"):
        facts.record(transaction, Fact("person.named", {"name": "Ada"}))


def test_a_fact_fits_into_an_entry_or_is_refused(database):
    reason = "x" * facts.ENTRY_BYTES
    with database.transaction() as transaction, pytest.raises(EntryTooLarge):
        facts.record(transaction, Fact("request.refused", {"kind": "forget", "reason": reason}))


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
        transaction.execute(METADATA.tables["fact"].insert().values(kind="", leaf=b"ZEBRA-7731"))
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


def test_postgresql_without_its_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LibraryMissing, match=r"pip install 'expunge\[postgres\]'") as caught:
        Database("postgresql://nobody@127.0.0.1:1/x")
    assert isinstance(caught.value, ImportError)
