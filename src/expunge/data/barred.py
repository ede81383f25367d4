"""Ids that stay forgotten though nobody knows their rows any more.

A database that was restored from a backup lacks the batches since then. Of their rows that were
forgotten, the journal still has keyed hashes; these are kept here, and ingest refuses their ids as
it refuses those of forgotten rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from expunge.data.tables import BARRED
from expunge.storage.journal import digests


@dataclass(frozen=True, slots=True)
class Barred:
    """Ids of one dataset that may not come back unasked.

    Attributes:
        digests: Keyed hashes of the ids' tokens, by key; a journal that was lost and begun
            anew has another key.
    """

    digests: Mapping[bytes, frozenset[bytes]] = field(default_factory=dict, repr=False)

    def holds(self, tokens: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of these tokens are barred. About 1 µs each, and nothing where none is."""
        found = np.zeros(len(tokens), np.bool_)
        for key, held in self.digests.items():
            found |= np.array([one in held for one in digests(key, tokens.tolist())], np.bool_)
        return found


def load(transaction: sa.Connection, dataset: int) -> Barred:
    """The barred ids of a dataset."""
    held: dict[bytes, set[bytes]] = {}
    for row in transaction.execute(sa.select(BARRED).where(BARRED.c.dataset == dataset)):
        held.setdefault(bytes(row.key), set()).add(bytes(row.digest))
    return Barred({key: frozenset(of_key) for key, of_key in held.items()})


def add(transaction: sa.Connection, dataset: int, key: bytes, added: Iterable[bytes]) -> None:
    """Bar further ids of a dataset, which is locked. They hold it until :func:`release`."""
    known = load(transaction, dataset).digests.get(key, frozenset())
    if fresh := sorted(set(added) - known):
        rows = [{"dataset": dataset, "key": key, "digest": digest} for digest in fresh]
        transaction.execute(BARRED.insert(), [row | {"held": True} for row in rows])


def is_holding(transaction: sa.Connection, dataset: int) -> bool:
    """Whether checkpoints that saw rows of barred ids may still rest in packs."""
    held = sa.select(BARRED.c.dataset).where(BARRED.c.dataset == dataset, BARRED.c.held)
    return transaction.execute(held.limit(1)).first() is not None


def release(transaction: sa.Connection, dataset: int) -> None:
    """Note that no such checkpoint rests any more."""
    mine = BARRED.c.dataset == dataset
    transaction.execute(BARRED.update().where(mine, BARRED.c.held).values(held=False))
