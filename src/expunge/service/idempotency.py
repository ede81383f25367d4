"""Idempotency keys: one request, however often its client has to send it.

A row is written before the request is accepted, with the id that the request is going to have.
A server that dies in between leaves the row behind: whoever sends the request again is answered
from the request of that id, if it was accepted, and otherwise takes the row over. Rows hold
keyed hashes of the client's key and body, under a key that is not in the database.

References:
    draft-ietf-httpapi-idempotency-key-header-07, sections 2.2 to 2.7.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from expunge.storage.database import METADATA

ROWS: Final = sa.Table(
    "idempotency",
    METADATA,
    sa.Column("caller", sa.String(16), primary_key=True),
    sa.Column("key", sa.LargeBinary(32), primary_key=True),
    sa.Column("body", sa.LargeBinary(32), nullable=False),
    sa.Column("request", sa.String(36), nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("response", sa.Text),
    # Until when whoever reserved it may be at it. Seconds since 1970, as all times here.
    sa.Column("held_until", sa.Float, nullable=False),
    sa.Column("until", sa.Float, nullable=False, index=True),
)
_NAME: Final = (ROWS.c.caller, ROWS.c.key)
_STANDS: Final = ""
"""In the place of a response that is still to be given."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a client says is one request.

    Attributes:
        caller: Id of the API key: others may use the same words.
        key: Keyed hash of what the client calls it.
        body: Keyed hash of what it asks for.
        request: Id that the request gets, if it is the first.
    """

    caller: str
    key: bytes
    body: bytes
    request: str

    @property
    def name(self) -> tuple[str, bytes]:
        """What the claim is about."""
        return self.caller, self.key


@dataclass(frozen=True, slots=True)
class Mine:
    """Go on. ``request`` may be there already, where a server died: ``again``.

    Attributes:
        stands: Whether it was done, and could not be answered: see :func:`note_stands`.
    """

    request: str
    again: bool = False
    stands: bool = False


@dataclass(frozen=True, slots=True)
class Replay:
    """It was answered before: like this."""

    request: str
    status: int
    response: str


@dataclass(frozen=True, slots=True)
class InFlight:
    """Another one is at it."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reused:
    """The same key stands for another request."""


Held = Mine | Replay | InFlight | Reused


def reserve(
    transaction: sa.Connection, claims: Sequence[Claim], now: float, hold_s: float, keep_s: float
) -> list[Held]:
    """Reserve what is new, and say what the others are; in the order given.

    Two claims of one name among them: the first has it. Costs two statements, and one more for
    each row whose holder died.
    """
    first = {claim.name: claim for claim in reversed(claims)}
    new = _insert(transaction, list(first.values()), now, hold_s, keep_s)
    old = _read(transaction, [claim for claim in claims if claim.name not in new])
    return [
        Mine(claim.request)
        if claim.name in new and first[claim.name] is claim
        else _judge(transaction, claim, old.get(claim.name), now, hold_s)
        for claim in claims
    ]


def settle(transaction: sa.Connection, answers: Iterable[tuple[Claim, int, str]]) -> None:
    """Keep the answers: from now on they are given again."""
    t = ROWS.c
    where = (t.caller == sa.bindparam("caller_"), t.key == sa.bindparam("key_"))
    values = {
        "status": sa.bindparam("status_"),
        "response": sa.bindparam("response_"),
        "held_until": 0.0,
    }
    rows = [
        {"caller_": claim.caller, "key_": claim.key, "status_": status, "response_": response}
        for claim, status, response in answers
    ]
    if rows:
        transaction.execute(ROWS.update().where(*where).values(values), rows)


def let_go(transaction: sa.Connection, claims: Sequence[Claim]) -> None:
    """Leave it to the next who sends it to see what became of the request."""
    if claims:
        names = [claim.name for claim in claims]
        unsettled = ROWS.update().where(sa.tuple_(*_NAME).in_(names), ROWS.c.status.is_(None))
        transaction.execute(unsettled.values(held_until=0.0))


def note_stands(transaction: sa.Connection, claim: Claim) -> None:
    """Have the next who sends it find that it was done, though whoever did it heard of an error."""
    unsettled = ROWS.update().where(sa.tuple_(*_NAME) == claim.name, ROWS.c.status.is_(None))
    transaction.execute(unsettled.values(held_until=0.0, response=_STANDS))


def drop_old(transaction: sa.Connection, now: float) -> int:
    """Forget answers whose time is over. Returns how many."""
    return transaction.execute(ROWS.delete().where(ROWS.c.until < now)).rowcount


def _insert(
    transaction: sa.Connection, claims: Sequence[Claim], now: float, hold_s: float, keep_s: float
) -> set[tuple[str, bytes]]:
    rows = [
        {
            "caller": claim.caller,
            "key": claim.key,
            "body": claim.body,
            "request": claim.request,
            "held_until": now + hold_s,
            "until": now + keep_s,
        }
        for claim in sorted(claims, key=lambda claim: claim.name)  # in one order: no deadlock
    ]
    if not rows:
        return set()
    dialect: Any = postgresql if transaction.dialect.name == "postgresql" else sqlite
    inserted = dialect.insert(ROWS).values(rows).on_conflict_do_nothing().returning(*_NAME)
    return {(row.caller, bytes(row.key)) for row in transaction.execute(inserted)}


def _read(
    transaction: sa.Connection, claims: Sequence[Claim]
) -> dict[tuple[str, bytes], sa.Row[Any]]:
    if not claims:
        return {}
    names = {claim.name for claim in claims}
    found = transaction.execute(sa.select(ROWS).where(sa.tuple_(*_NAME).in_(sorted(names))))
    return {(row.caller, bytes(row.key)): row for row in found}


def _judge(
    transaction: sa.Connection, claim: Claim, row: sa.Row[Any] | None, now: float, hold_s: float
) -> Held:
    if row is None:  # the same name stands twice in one group, or ran out this moment
        return InFlight(hold_s)
    if bytes(row.body) != claim.body:
        return Reused()
    if row.status is not None:
        return Replay(row.request, row.status, row.response)
    if row.held_until > now:
        return InFlight(row.held_until - now)
    return _take_over(transaction, row, now, hold_s)


def _take_over(transaction: sa.Connection, row: sa.Row[Any], now: float, hold_s: float) -> Held:
    t = ROWS.c
    unchanged = (t.caller == row.caller, t.key == row.key, t.held_until == row.held_until)
    taken = ROWS.update().where(*unchanged, t.status.is_(None)).values(held_until=now + hold_s)
    if transaction.execute(taken).rowcount:
        return Mine(row.request, again=True, stands=row.response == _STANDS)
    return InFlight(hold_s)
