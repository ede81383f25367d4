"""What the ledger and the journal say about a request: counts, digests and random ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from expunge.core.names import LEAF_BYTES
from expunge.data import leaves
from expunge.data.datasets import Ground
from expunge.data.places import Place, Places, gather
from expunge.ledger.vault import Sealed
from expunge.requests.journaled import KINDS, RECEIVED
from expunge.storage.facts import FACTS
from expunge.storage.journal import digests
from expunge.storage.records import Packed, Record
from expunge.training.sql import Constituent, Model, Version

NAMES: Final = 100
"""An entry lists the names of at most so many constituents that changed."""


def enter(transaction: sa.Connection, kind: str, request: str, leaf: bytes) -> None:
    """Record a fact of which the entry is made already."""
    transaction.execute(FACTS.insert().values(kind=kind, request=request, leaf=leaf))


def identifiers(sealed: Sealed) -> dict[str, Any]:
    """What an entry says about the identifiers that a request names."""
    return {"count": sealed.count, "root": sealed.root.hex()}


def rows_root(ground: Ground, places: Sequence[Place]) -> str | None:
    """RFC 6962 root over the leaves of rows, sorted as bytes; None of no rows."""
    return rows_roots(ground, [places])[0]


def rows_roots(ground: Ground, groups: Sequence[Sequence[Place]]) -> list[str | None]:
    """The root of each group of rows, which may share some; all are read together."""
    placed = [Places.of(group) for group in groups]
    every = Places.joined(placed)
    found = np.empty((len(every), LEAF_BYTES), np.uint8)
    order = np.lexsort([every.rows["batch"], every.rows["tier"]])  # each batch is read once
    for key, part in every.where(order).groups():
        here = order[part]
        found[here] = gather(ground.batches[key].leaves, every.ordinals[here])
    parts = np.split(found, np.cumsum([len(one) for one in placed]))
    return [_root(part) for part in parts[:-1]]


def _root(rows: NDArray[np.uint8]) -> str | None:
    if len(rows) > 1:
        rows = leaves.ordered(rows)
    return leaves.root(rows).hex() if len(rows) else None


def forgotten(
    model: Model, before: Version | None, after: Version | None, shards: Sequence[int] | None = None
) -> dict[str, Any]:
    """What an entry says about a model that forgets.

    Args:
        model: It.
        before: The version that was served; None before the first training has ended.
        after: The one that is served now.
        shards: Those that the request touched; by default all.
    """
    changed = []
    if before and after:
        of = range(len(before.constituents)) if shards is None else shards
        pairs = ((before.constituents[shard], after.constituents[shard]) for shard in of)
        changed = [[b.shard, _name(b), _name(a)] for b, a in pairs if b.frame != a.frame]
    return {
        "model": model.folder.name,
        "before": before.digest if before else None,
        "version": after.digest if after else None,
        "changed": len(changed),
        "names": changed if len(changed) <= NAMES else None,
    }


def records(
    subkey: bytes, request: str, said: Mapping[str, bytes], places: Sequence[Place]
) -> list[Record]:
    """What the journal says about a request.

    Args:
        subkey: Of the journal, for the request's dataset.
        request: Its id.
        said: Its entries in the ledger, by kind.
        places: All rows that it names.
    """
    named = rows(subkey, Places.of(places))
    ordered = [(kind, said[kind]) for kind in KINDS if kind in said]
    return [Record(request, leaf, named if kind == RECEIVED else ()) for kind, leaf in ordered]


def rows(subkey: bytes, places: Places) -> Packed:
    """Rows as the journal has them."""
    columns = (places.rows["tier"], places.rows["batch"], places.ordinals)
    return Packed.of(*columns, digests(subkey, places.tokens.tolist()))


def _name(constituent: Constituent) -> str | None:
    return constituent.frame.name.hex() if constituent.frame else None
