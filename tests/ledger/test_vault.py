from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.commitment import commit, root
from expunge.core.errors import UnknownName
from expunge.ledger import vault
from expunge.ledger.sql import VAULT
from expunge.storage.database import Database, sqlite_url

REQUEST, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
ADA, BOB, ROW = ("subject", "ada@example.org"), ("subject", "bob"), ("sample", "bob")

identifiers = st.tuples(
    st.sampled_from(["sample", "subject"]), st.text(st.characters(exclude_categories=["Cs"]))
)


@pytest.fixture
def database(tmp_path) -> Iterator[Database]:
    made = Database(sqlite_url(tmp_path / "base.sqlite"))
    made.create()
    yield made
    made.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either(request, tmp_path) -> Iterator[Database]:
    is_sqlite = request.param == "sqlite"
    url = (
        sqlite_url(tmp_path / "v.sqlite") if is_sqlite else request.getfixturevalue("postgres_url")
    )
    made = Database(url)
    made.create()
    yield made
    made.close()


def said(sealed):
    return {"count": sealed.count, "root": sealed.root.hex()}


@given(st.lists(identifiers, min_size=1, max_size=20, unique=True))
def test_everything_that_a_request_names_can_be_opened(tmp_path_factory, named):
    database = Database(sqlite_url(tmp_path_factory.mktemp("vault") / "base.sqlite"))
    database.create()
    with database.transaction() as transaction:
        sealed = vault.add(transaction, REQUEST, named)
        openings = [vault.opening(transaction, REQUEST, *one) for one in named]
    assert sealed.count == len(named)
    assert sorted(opening.position for opening in openings) == list(range(len(named)))
    for one, opening in zip(named, openings, strict=True):
        assert opening.root == sealed.root
        assert opening.check(*one, said(sealed))
    database.close()


def test_the_root_is_over_sorted_commitments(either):
    with either.transaction() as transaction:
        sealed = vault.add(transaction, REQUEST, [ADA, BOB, ROW])
        keys = [vault.opening(transaction, REQUEST, *one).key for one in (ADA, BOB, ROW)]
    commitments = [commit(k, *one) for k, one in zip(keys, (ADA, BOB, ROW), strict=True)]
    assert sealed.root == root(sorted(commitments))
    assert len(set(keys)) == 3


def test_what_a_request_did_not_name_is_not_there(database):
    with database.transaction() as transaction:
        vault.add(transaction, REQUEST, [ADA])
        vault.add(transaction, OTHER, [BOB])
        for request, one in ((REQUEST, BOB), (OTHER, ADA), (OTHER, ROW)):
            with pytest.raises(UnknownName) as caught:
                vault.opening(transaction, request, *one)
            assert one[1] not in str(caught.value)


def test_destroying_leaves_those_of_others(either):
    with either.transaction() as transaction:
        vault.add(transaction, REQUEST, [ADA, BOB])
        kept = vault.add(transaction, OTHER, [ADA])
        assert vault.destroy(transaction, REQUEST) == 2
        assert vault.destroy(transaction, REQUEST) == 0
        with pytest.raises(UnknownName):
            vault.opening(transaction, REQUEST, *ADA)
        assert vault.opening(transaction, OTHER, *ADA).check(*ADA, said(kept))


def test_keys_come_from_the_operating_system_and_are_fresh_each_time(database, monkeypatch):
    drawn = []

    def draw(count):
        drawn.append(count)
        return real(count)

    real = os.urandom
    monkeypatch.setattr(os, "urandom", draw)
    with database.transaction() as transaction:
        roots = [vault.add(transaction, one, [ADA, BOB]).root for one in (REQUEST, OTHER)]
    assert drawn == [64, 64]
    assert roots[0] != roots[1]


def test_a_hundred_thousand_identifiers_are_a_few_rows(either):
    named = [("sample", f"s{number}") for number in range(100_000)]
    with either.transaction() as transaction:
        sealed = vault.add(transaction, REQUEST, named)
        assert transaction.scalar(sa.select(sa.func.count()).select_from(VAULT)) == 25
        opening = vault.opening(transaction, REQUEST, "sample", "s99999")
        assert opening.check("sample", "s99999", said(sealed))
        assert vault.destroy(transaction, REQUEST) == 100_000


@pytest.mark.parametrize("count", [2, 5000])
def test_nothing_of_a_key_is_left_in_the_files(database, tmp_path, count):
    named = [("subject", f"p{number}") for number in range(count)]
    with database.transaction() as transaction:
        vault.add(transaction, REQUEST, named)
        vault.add(transaction, OTHER, [BOB])
        keys = [vault.opening(transaction, REQUEST, *one).key for one in named[:: count // 2]]
    assert any(key in whole(tmp_path) for key in keys)
    with database.transaction() as transaction:
        vault.destroy(transaction, REQUEST)
    database.scrub()
    assert not any(key in whole(tmp_path) for key in keys)


def whole(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
