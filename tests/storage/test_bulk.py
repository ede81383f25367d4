"""Many rows at once are the rows that were given, in their order, on either database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expunge.storage import bulk
from expunge.storage.database import Database, sqlite_url

TABLE = sa.Table(
    "some",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("words", sa.String(40)),
    sa.Column("more", sa.Text, unique=True),
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("flag", sa.Boolean, nullable=False),
    sa.Column("share", sa.Double),
)
NAMES = [column.name for column in TABLE.c if column.name != "id"]
WORDS = st.one_of(
    st.none(),
    st.sampled_from(["", "NULL", "a,b", '"', "\\", "{}", "'; --", "ä€", " "]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "number": st.integers(-(2**63), 2**63 - 1),
            "words": WORDS,
            "more": st.none(),
            "raw": st.binary(max_size=5),
            "flag": st.booleans(),
            "share": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
        }
    ),
    max_size=9,
)
EACH = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An empty table in either."""
    is_sqlite = request.param == "sqlite"
    url = (
        sqlite_url(tmp_path / "x.sqlite") if is_sqlite else request.getfixturevalue("postgres_url")
    )
    made = Database(url)
    with made.transaction() as transaction:
        TABLE.create(transaction)
    yield made
    made.close()


def held(transaction: sa.Connection) -> list[dict[str, Any]]:
    query = sa.select(*(TABLE.c[name] for name in NAMES)).order_by(TABLE.c.id)
    found = [row._asdict() for row in transaction.execute(query)]
    transaction.execute(TABLE.delete())
    return [row | {"raw": bytes(row["raw"])} for row in found]


@EACH
@given(rows=ROWS)
def test_rows_are_inserted_as_they_are_and_in_order(database, rows):
    with database.transaction() as transaction:
        bulk.insert_rows(transaction, TABLE, rows)
        assert held(transaction) == rows


@EACH
@given(numbers=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9), words=WORDS)
def test_columns_are_inserted_as_rows_are(database, numbers, words):
    given_ = {"words": words, "more": None, "raw": b"x", "flag": True, "share": None}
    columns = {name: [value] * len(numbers) for name, value in given_.items()}
    with database.transaction() as transaction:
        bulk.insert(transaction, TABLE, {"number": np.array(numbers, np.int64), **columns})
        assert held(transaction) == [{"number": number, **given_} for number in numbers]


def test_rows_that_are_there_stay_as_they_are(database):
    plain = {"number": 1, "words": None, "raw": b"", "flag": False, "share": 0.5}
    with database.transaction() as transaction:
        bulk.insert_rows(transaction, TABLE, [plain | {"more": "a"}])
        bulk.insert_new(transaction, TABLE, [plain | {"more": m, "number": 2} for m in "aba"])
        assert [(row["more"], row["number"]) for row in held(transaction)] == [("a", 1), ("b", 2)]
