"""Search a home's files for what was forgotten: bytes of rows, and of checkpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from expunge.core.types import Kind, Role
from expunge.data.layout import SALT
from expunge.data.ring import Ring
from expunge.storage import packs
from expunge.training import versions

if TYPE_CHECKING:
    from expunge.data.batch import Batch
    from expunge.home import Home

_PIECE: Final = 64
_SMALLEST: Final = 8  # shorter cells stand in files by chance


@dataclass(frozen=True, slots=True)
class Search:
    """What was looked for, and found.

    Attributes:
        needles: How many byte strings were looked for.
        found: Those of them that stand somewhere.
    """

    needles: int
    found: Set[bytes]
    files: int
    bytes: int


def search(folder: Path, needles: Collection[bytes]) -> Search:
    """Look for ``needles`` in every file below ``folder``, database and its log included."""
    contents = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    found = {needle for needle in needles if any(needle in content for content in contents)}
    return Search(len(needles), found, len(contents), sum(map(len, contents)))


def of_rows(home: Home, dataset: str, ids: Iterable[str]) -> set[bytes]:
    """Bytes that only these rows have: ids, salts, and cells nobody else has."""
    with home.site.database.reading() as transaction:
        ground = home.site.ground(transaction, home.site.dataset(transaction, dataset).id)
    wanted, ring = list(ids), Ring(ground.dataset.secret)
    needles: set[bytes] = {one.encode() for one in wanted}
    for batch in ground.batches.values():
        ordinals = [o for o in batch.find_ids(wanted, ring).tolist() if o >= 0]
        salts = batch.export(np.array(ordinals, np.int64)).column(SALT).to_pylist()
        needles |= {bytes(salt) for salt in salts}
        needles |= _cells(batch, ordinals)
    return needles


def of_checkpoints(home: Home, model: str) -> dict[bytes, bytes]:
    """By name, a piece of each checkpoint's bytes."""
    pieces = {}
    with home.site.database.reading() as transaction:
        row = home.site.model(transaction, model)
    for shard in versions.all_shards(row):
        for path in versions.pack_paths(row, shard):
            with packs.reading(path) as pack:
                for frame in pack.frames() if pack else ():
                    payload = pack.read(frame) if pack else b""
                    pieces[frame.name] = payload[-_PIECE:]
    return pieces


def _cells(batch: Batch, ordinals: Collection[int]) -> set[bytes]:
    columns = [
        c.name for c in batch.schema.of(Role.FEATURE) if c.kind in (Kind.NUMERIC, Kind.TENSOR)
    ]
    seen: Counter[bytes] = Counter()
    theirs: set[bytes] = set()
    for values in batch.read(columns, 0, batch.rows).values():
        cells = [values[i].tobytes() for i in range(batch.rows)]
        seen.update(cells)
        theirs |= {cells[ordinal] for ordinal in ordinals}
    return {cell for cell in theirs if seen[cell] == 1 and len(cell) >= _SMALLEST}
