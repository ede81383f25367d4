"""Destroy the keys of a request's commitments: from then on nobody can open them.

The ledger keeps the commitments for ever; without their keys they are random bytes. Until
then, who asked can be shown their own commitment, and the owner can answer for it (proof of what was
done is owed for two years in California: CCPA regulations, § 7101).

On SQLite nothing of the keys is left in the database's files: it overwrites what is deleted, and
its log is cut. PostgreSQL keeps deleted rows until VACUUM, and its log and backups as long as they are
kept: there, keys are gone when those are. Copies that somebody made while the keys were there are
out of reach everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from expunge.ledger import vault
from expunge.ledger.sql import VAULT
from expunge.requests import sql
from expunge.requests.sql import REQUESTS, State
from expunge.storage import facts
from expunge.storage.facts import FACTS, Fact
from expunge.training.site import Site

RETENTION_DAYS: Final = 730

_HAS_KEYS: Final = sa.exists().where(VAULT.c.request == REQUESTS.c.id)
_KEYED: Final = sa.select(REQUESTS.c.id).where(REQUESTS.c.state == State.DONE, _HAS_KEYS)
_BACK: Final = (
    sa.select(FACTS.c.request)
    .join(VAULT, VAULT.c.request == FACTS.c.request)
    .where(FACTS.c.kind == "salt.destroyed")
    .distinct()
)


def shred(site: Site, request: str) -> int:
    """Destroy the keys of what a request named. Returns how many; doing it again finds none.

    Raises:
        UnknownName: There is no such request.
    """
    with site.database.reading() as transaction:
        sql.find(transaction, request)
    return _shred(site, [request])


def shred_older_than(site: Site, days: float = RETENTION_DAYS) -> int:
    """Destroy the keys of all requests that are done, and were accepted more than ``days`` ago.

    Returns:
        How many requests had keys. Costs one transaction for some hundred of them.
    """
    limit = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="microseconds")
    with site.database.reading() as transaction:
        old = list(transaction.scalars(_KEYED.where(REQUESTS.c.accepted < limit)))
    for chunk in sql.chunks(old):
        _shred(site, chunk)
    return len(old)


def _shred(site: Site, requests: Sequence[str]) -> int:
    with site.database.transaction() as transaction:
        counts = {one: vault.destroy(transaction, one) for one in requests}
        for request, count in counts.items():
            if count:  # else another process was quicker, and has noted it
                facts.record(transaction, Fact("salt.destroyed", {"count": count}, request))
    site.database.scrub()
    return sum(counts.values())


def shred_again(transaction: sa.Connection) -> int:
    """Destroy keys that a backup brought back, where the ledger says that they were destroyed.

    For a database whose facts were recovered since. Returns how many. The caller scrubs the
    database after the commit.
    """
    back = list(transaction.scalars(_BACK))
    return sum(vault.destroy(transaction, request) for request in back)
