"""API keys: who may ask for what. Only hashes of secrets are kept.

A token is ``exp_<id>_<secret>``: the id names the row, the secret is 32 random bytes. Being
random, it needs no slow hash: SHA-256 of it is as hard to turn back as the secret is to guess.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final

import sqlalchemy as sa

from expunge.core.errors import InputError, UnknownName
from expunge.storage.database import METADATA, now
from expunge.training.site import Site

KEYS: Final = sa.Table(
    "api_key",
    METADATA,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("scopes", sa.String(200), nullable=False),
    sa.Column("created", sa.String(27), nullable=False),
    sa.Column("expires", sa.String(27)),
    sa.Column("revoked", sa.String(27)),
)

_TOKEN: Final = re.compile(r"exp_([0-9a-f]{16})_([0-9a-f]{64})", re.ASCII)
_NOBODY: Final = bytes(32)
_LONGEST_NAME: Final = 200


class Scope(StrEnum):
    """What a key may be for. ``admin`` is all of them."""

    SUBMIT = "unlearn:submit"
    APPROVE = "unlearn:approve"
    READ = "read"
    AUDIT = "audit"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, without its secret.

    Attributes:
        name: What its owner calls it.
        expires: From when on it does not work; None: never.
        revoked: When it was revoked.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    created: str
    expires: str | None
    revoked: str | None
    digest: bytes = field(repr=False)

    def works_at(self, moment: str) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or moment < self.expires)

    def may(self, scope: Scope) -> bool:
        """Whether it reaches that far."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def create(
    site: Site, name: str, scopes: Iterable[str], expires: datetime | None = None
) -> tuple[str, str]:
    """Make a key. Returns its id and its token, which nobody can show again.

    Raises:
        InputError: The name is empty or too long, no scope is given, or the time has no zone.
        UnknownName: There is no such scope.
    """
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise InputError(f"A key's name has 1 to {_LONGEST_NAME} printable characters.")
    granted = _scopes(scopes)
    id_, secret = secrets.token_hex(8), secrets.token_hex(32)
    row = {
        "id": id_,
        "name": name,
        "digest": _digest(secret),
        "scopes": " ".join(sorted(granted)),
        "created": now(),
        "expires": _moment(expires),
    }
    site.database.create()  # a home that no server has opened lacks this table
    with site.database.transaction() as transaction:
        transaction.execute(KEYS.insert().values(row))
    return id_, f"exp_{id_}_{secret}"


def revoke(site: Site, id: str) -> None:  # noqa: A002 - its name
    """Let a key work no more; servers notice within their ``key_cache_s``, at most 2 s.

    Raises:
        UnknownName: There is no such key.
    """
    site.database.create()
    with site.database.transaction() as transaction:
        if transaction.scalar(sa.select(KEYS.c.id).where(KEYS.c.id == id)) is None:
            raise UnknownName("key", id, [])
        still = KEYS.update().where(KEYS.c.id == id, KEYS.c.revoked.is_(None))
        transaction.execute(still.values(revoked=now()))


def all_of(site: Site) -> list[Key]:
    """All keys, the oldest first; those that do not work any more, too."""
    site.database.create()
    with site.database.reading() as transaction:
        rows = transaction.execute(sa.select(KEYS).order_by(KEYS.c.created, KEYS.c.id))
        return [_key(row) for row in rows]


def find(site: Site, token: str) -> Key | None:
    """The key of a token, if it has one that works. Takes as long for an id that nobody has."""
    matched = _TOKEN.fullmatch(token)
    id_, secret = matched.groups() if matched else ("", "")
    with site.database.reading() as transaction:
        row = transaction.execute(sa.select(KEYS).where(KEYS.c.id == id_)).one_or_none()
    known = _key(row) if row else None
    is_right = hmac.compare_digest(_digest(secret), known.digest if known else _NOBODY)
    return known if known and is_right and known.works_at(now()) else None


def _scopes(given: Iterable[str]) -> Collection[Scope]:
    names = [given] if isinstance(given, str) else list(given)
    known = [scope.value for scope in Scope]
    for name in names:
        if name not in known:
            raise UnknownName("scope", name, known)
    if not names:
        raise InputError(f"A key needs a scope: {', '.join(known)}.")
    return {Scope(name) for name in names}


def _moment(expires: datetime | None) -> str | None:
    if expires is None:
        return None
    if expires.tzinfo is None:
        raise InputError("When a key expires needs a time zone.")
    return expires.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


def _key(row: sa.Row[tuple[object, ...]]) -> Key:
    scopes = frozenset(map(Scope, row.scopes.split()))
    digest = bytes(row.digest)
    return Key(row.id, row.name, scopes, row.created, row.expires, row.revoked, digest)
