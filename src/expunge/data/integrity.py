"""Whether rows are still what they were when they came, and all of them are there.

Names stand on the stored keys, tokens and commitments. :func:`changed_rows` binds those to the
cells: what was changed under its commitment, by a bad disk or by somebody, keeps all names.
:func:`came_root` binds them to what was recorded when the rows came: it finds rows that were put
in, exchanged or taken away since.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from numpy.typing import NDArray

from expunge.core import merkle
from expunge.core.types import Role
from expunge.data import leaves
from expunge.data.batch import Batch
from expunge.data.datasets import Ground, Key
from expunge.data.layout import COMMITMENT
from expunge.data.ring import SIZE, Ring
from expunge.data.rows import bytes_of, commitments
from expunge.storage.facts import FACTS

Roots: TypeAlias = Mapping[Key, bytes]
"""What was recorded of each batch of a dataset when it came."""

# As the ledger has them; what waits for its place there comes last.
_IN_ORDER = (FACTS.c.entry.is_(None), FACTS.c.entry, FACTS.c.number)


def changed_rows(batch: Batch, gone: NDArray[np.int64], ring: Ring) -> int:
    """How many rows do not match their commitments, or stand elsewhere than the ring says.

    A file that is no longer what Arrow wrote counts with all its rows. About 4 µs a row.

    Args:
        batch: Whose rows to read.
        gone: Ordinals of forgotten rows, which may be erased: they do not count.
        ring: Of the dataset.
    """
    stays = np.ones(batch.rows, bool)
    stays[gone] = False
    found = 0
    for number in range(len(batch.segments)):
        start, stop = batch.bounds(number)
        found += int((_differs(batch, number, ring) & stays[start:stop]).sum())
    return found


def changed_roots(
    ground: Ground, roots: Roots, forgotten: Mapping[Key, Mapping[int, bytes]] | None = None
) -> int:
    """How many batches are not those of which ``roots`` were recorded.

    Args:
        ground: Whose rows to read.
        roots: What was recorded.
        forgotten: As in :func:`came_root`, by batch.
    """
    known = forgotten or {}
    return sum(
        came_root(batch, known.get(key, {})) != roots.get(key)
        for key, batch in ground.batches.items()
    )


def came_root(batch: Batch, forgotten: Mapping[int, bytes]) -> bytes | None:
    """The root over a batch as it came; erasing rows does not change it.

    It is the recorded one exactly where keys, tokens and commitments of all rows are those that
    came, in their order. None where a file is no longer what Arrow wrote. About 1.5 µs a row.

    Args:
        batch: Whose rows to read.
        forgotten: Leaf hashes of forgotten rows by ordinal, in a copy that does not have their
            leaves.
    """
    try:
        numbers = range(len(batch.segments))
        return leaves.batch_root(_segment_root(batch, number, forgotten) for number in numbers)
    except pa.ArrowInvalid:
        return None


def recorded_roots(transaction: sa.Connection, folder: str) -> dict[Key, bytes]:
    """The roots that were recorded when the batches of a dataset came, from the facts."""
    query = sa.select(FACTS.c.leaf).where(FACTS.c.kind.in_(("dataset.ingested", "home.restored")))
    found: dict[Key, bytes] = {}
    settled: set[Key] = set()
    for leaf in transaction.scalars(query.order_by(*_IN_ORDER)):
        entry = json.loads(bytes(leaf))
        if entry["kind"] == "home.restored":
            settled.clear()  # batches that a backup did not have are gone; their numbers come again
        elif entry["body"]["dataset"] == folder:
            for tier, root in entry["body"]["roots"]:
                key = (tier, entry["body"]["number"])
                if key not in settled:  # else, a later fact would change the past
                    found[key] = bytes.fromhex(root)
                settled.add(key)
    return found


def _segment_root(batch: Batch, number: int, forgotten: Mapping[int, bytes]) -> bytes:
    start, stop = batch.bounds(number)
    hashes = leaves.hashes(batch.leaves(start, stop))
    for ordinal, known in forgotten.items():
        if start <= ordinal < stop:
            hashes[ordinal - start] = known
    return merkle.root(hashes)


def _differs(batch: Batch, number: int, ring: Ring) -> NDArray[np.bool_]:
    """Which rows of one file do not match."""
    start, stop = batch.bounds(number)
    try:
        rows = batch.segment(number)
        rows.validate(full=True)  # offsets that point elsewhere would be read unchecked
        ids = rows.column(batch.schema.of(Role.ID)[0].name)
        firsts = _firsts(batch, rows, ids)
    except pa.ArrowInvalid:
        return np.ones(stop - start, bool)
    keys = batch.keys(start, stop)
    ahead = batch.segments[number + 1].first if number + 1 < len(batch.segments) else SIZE - 1
    moved = (keys > np.append(keys[1:], np.uint64(ahead))) | (keys != ring.keys(firsts))
    renamed = batch.tokens(start, stop) != ring.tokens(ids)
    stored = bytes_of(rows.column(COMMITMENT))
    changed = (commitments(rows, batch.schema) != stored).any(axis=1)
    return np.asarray(moved | renamed | changed)


def _firsts(batch: Batch, rows: pa.RecordBatch, ids: pa.Array) -> pa.Array:
    """What orders rows on the ring: their first subject, or their id where there is none."""
    subjects = batch.schema.of(Role.SUBJECT)
    if not subjects:
        return ids
    first = rows.column(subjects[0].name)
    return pc.list_element(first, 0) if pa.types.is_list(first.type) else first
