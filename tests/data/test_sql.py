"""The lock that orders changes, told by the statement: no server needs to be there."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from expunge.data import sql


class Listening:
    """Takes statements in, and finds one row for each."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def execute(self, statement: sa.Executable, values: Any) -> Any:
        compiled = statement.compile(dialect=postgresql.dialect())
        self.heard.append((" ".join(str(compiled).split()), values))
        return self

    def one(self) -> None:
        return None


def test_on_a_server_the_lock_holds_the_row_of_the_dataset() -> None:
    transaction = Listening()
    sql.lock(transaction, 7)  # type: ignore[arg-type]
    ((statement, values),) = transaction.heard
    assert statement.startswith("SELECT dataset.id FROM dataset WHERE dataset.id = ")
    assert statement.endswith(" FOR UPDATE")
    assert values == {"id": 7}
