"""The vault: keys of commitments to identifiers, in the one place where they can be destroyed.

Each identifier that a request names gets a random key of its own. Beside it the commitment is
kept, which proofs about the others need; identifiers themselves are not here. Destroying a
request's keys leaves its commitments in the ledger as random bytes that nobody can open.

Both are kept in blocks, many to a row of the database: a request may name a hundred thousand.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from expunge.core import commitment, merkle
from expunge.core.commitment import KEY_BYTES, Opening, commit, commit_all
from expunge.core.errors import UnknownName
from expunge.ledger.sql import VAULT
from expunge.storage import bulk

_BLOCK: Final = 4096
_EACH: Final = KEY_BYTES + commitment.SIZE

_OF: Final = (
    sa.select(VAULT.c.block)
    .where(VAULT.c.request == sa.bindparam("request"))
    .order_by(VAULT.c.position)
)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What the ledger says about the identifiers of a request.

    Attributes:
        root: RFC 6962 root over their commitments, sorted.
    """

    count: int
    root: bytes


def add(
    transaction: sa.Connection, request: str, identifiers: Collection[tuple[str, str]]
) -> Sealed:
    """Commit to what a request names; as :func:`add_all`."""
    return add_all(transaction, {request: identifiers})[request]


def add_all(
    transaction: sa.Connection, named: Mapping[str, Collection[tuple[str, str]]]
) -> dict[str, Sealed]:
    """Commit to what requests name, each time under a fresh key that is stored here.

    Costs one statement, and about 3 µs for each identifier.

    Args:
        transaction: The one in which the requests are accepted.
        named: By request, pairs of ``sample`` or ``subject``, and the identifier; each once.
    """
    blocks: list[dict[str, Any]] = []
    sealed = {}
    for request, identifiers in named.items():
        pairs = _seal(identifiers)
        stored = [one[commitment.SIZE :] + one[: commitment.SIZE] for one in pairs]
        blocks += [
            {"request": request, "position": at, "block": b"".join(stored[at : at + _BLOCK])}
            for at in range(0, len(stored), _BLOCK)
        ]
        root = commitment.root([one[: commitment.SIZE] for one in pairs])
        sealed[request] = Sealed(len(pairs), root)
    bulk.insert_rows(transaction, VAULT, blocks)
    return sealed


def _seal(identifiers: Collection[tuple[str, str]]) -> list[bytes]:
    """Commitments, sorted, each with its key behind it; no tuples, which Python would count."""
    chance = os.urandom(KEY_BYTES * len(identifiers))
    committed = commit_all(chance, identifiers)
    return sorted(
        one + chance[at : at + KEY_BYTES]
        for at, one in zip(range(0, len(chance), KEY_BYTES), committed, strict=True)
    )


def opening(transaction: sa.Connection, request: str, kind: str, identifier: str) -> Opening:
    """What opens the commitment to one identifier, for the person's own receipt.

    Costs about 4 µs for each identifier of the request.

    Raises:
        UnknownName: The request did not name it, or its keys were destroyed.
    """
    stored = _stored(transaction, request)
    for position, (key, committed) in enumerate(stored):
        if commit(key, kind, identifier) == committed:
            leaves = [merkle.leaf_hash(other) for _, other in stored]
            path = merkle.prove_inclusion(position, len(leaves), merkle.in_memory(leaves))
            return Opening(key, position, tuple(path), merkle.root(leaves))
    raise UnknownName("key in the vault for that identifier and request", request, [])


def destroy(transaction: sa.Connection, request: str) -> int:
    """Destroy the keys of a request. Returns how many there were; doing it again finds none."""
    count = len(_stored(transaction, request))
    transaction.execute(VAULT.delete().where(VAULT.c.request == request))
    return count


def _stored(transaction: sa.Connection, request: str) -> Sequence[tuple[bytes, bytes]]:
    """Keys and commitments of a request, in the order of the commitments."""
    whole = b"".join(map(bytes, transaction.scalars(_OF, {"request": request})))
    return [
        (whole[i : i + KEY_BYTES], whole[i + KEY_BYTES : i + _EACH])
        for i in range(0, len(whole), _EACH)
    ]
