"""Publish the tree as static files, always behind the database.

First the database's transaction, then tiles and bundles, then ``checkpoint``: whoever dies in
between leaves files that no signed checkpoint speaks of yet, and the next one writes them
again. A checkpoint is replaced only when all that it speaks of is on the disk.

References:
    c2sp.org/tlog-tiles; notes/service.md section 8 (crash order).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from expunge.core.errors import DataCorrupt, LedgerForked
from expunge.core.merkle import Frontier, leaf_hash
from expunge.ledger import edge, files, note, sql, tiles
from expunge.ledger.edge import Edge
from expunge.ledger.files import Place, Published
from expunge.ledger.note import Signature
from expunge.ledger.sql import Head
from expunge.storage import disk
from expunge.storage.database import Database

_BUNDLES: Final = 32
"""Bundles that are read and written at a time, some megabytes."""

_MANY: Final = 16
_THREADS: Final = 8


def publish(database: Database, folder: Path, guard: Callable[[], None]) -> int:
    """Bring the files in ``folder`` up to the tree's head.

    Does nothing where they are; replays what a crash cut short.

    Args:
        database: Holds the tree's head and its entries.
        folder: The log's folder. Nobody else writes there meanwhile.
        guard: Called now and then, and before the checkpoint is replaced; raises where we may
            not write any more.

    Returns:
        Entries in the published tree; 0 before the log is open.

    Raises:
        LedgerForked: What is published is not how the database's tree began.
        DataCorrupt: The entries in the database do not give the tree's head.
    """
    with database.reading() as transaction:
        head = sql.head(transaction)
        if head is None:
            return 0
        data = wanted(transaction, head)
        handed = sql.handovers(transaction, head.size)
    before = files.published(folder)
    if before is not None and before.data == data:
        return head.size
    size = before.checkpoint.size if before else 0
    grown = _known(database, folder, before, head) if before else Edge()
    is_mended = grown.size < size - size % tiles.WIDTH
    if is_mended or size < head.size:
        _grow(database, folder, grown, head, guard)
    missing = {f"{files.HANDOVERS}/{at}": signed for at, signed in handed.items()}
    _write(folder, {at: signed for at, signed in missing.items() if not (folder / at).exists()})
    guard()
    _write(folder, {files.CHECKPOINT: data})
    if is_mended:
        _remove(folder, lambda place: place.width != place.width_at(head.size))
    _remove_partial(folder, size, head.size)
    return head.size


def wanted(transaction: sa.Connection, head: Head) -> bytes:
    """The checkpoint to publish: the head's note, and the cosignatures that it has got."""
    rows = sql.cosignatures(transaction, head.size)
    if not rows:
        return head.note
    signed = note.parse(head.note)
    for row in rows:
        signed = signed.with_signature(Signature.parse(row.line))
    return signed.to_bytes()


def rewrite(database: Database, folder: Path, guard: Callable[[], None]) -> None:
    """Write all tiles and bundles of the tree again, such as after :func:`fsck` found damage.

    Raises:
        DataCorrupt: The entries in the database do not give the tree's head.
    """
    with database.reading() as transaction:
        head = sql.head(transaction)
    if head is not None:
        _grow(database, folder, Edge(), head, guard)
        _remove(folder, lambda place: place.width != place.width_at(head.size))


def sweep(folder: Path, size: int) -> None:
    """Remove what a crash left behind: files beyond ``size`` entries, and unfinished ones.

    They are looked for only where a writer that died would have begun.
    """
    if _has_leftovers(folder, size):
        _remove(folder, lambda place: place.width > place.width_at(size))


def _known(database: Database, folder: Path, before: Published, head: Head) -> Edge:
    """The edge of the published tree, at its last full bundle; from the beginning where unsure."""
    size, wanted = before.checkpoint.size, before.checkpoint.root
    if size > head.size:
        raise _forked(size)
    start = size - size % tiles.WIDTH
    with database.reading() as transaction:
        lowest = [leaf_hash(leaf) for leaf in sql.leaves(transaction, start, size)]
    rows = edge.above(folder, size)
    if rows is not None and edge.root([lowest, *rows]) == wanted:
        return Edge(start, rows)
    # Files are damaged, or this is another tree: the database knows which.
    if _root(database, size) != wanted:
        raise _forked(size)
    return Edge()


def _root(database: Database, size: int) -> bytes:
    """Root of the first ``size`` entries in the database."""
    frontier = Frontier()
    for start in range(0, size, _BUNDLES * tiles.WIDTH):
        with database.reading() as transaction:
            leaves = sql.leaves(transaction, start, min(size, start + _BUNDLES * tiles.WIDTH))
        frontier = frontier.extend([leaf_hash(leaf) for leaf in leaves])
    return frontier.root


def _grow(
    database: Database, folder: Path, grown: Edge, head: Head, guard: Callable[[], None]
) -> None:
    """Write all tiles and bundles from ``grown`` to ``head``."""
    while grown.size < head.size:
        stop = min(head.size, grown.size + _BUNDLES * tiles.WIDTH)
        with database.reading() as transaction:
            leaves = sql.leaves(transaction, grown.size, stop)
        if len(leaves) != stop - grown.size:
            raise DataCorrupt("The number of the ledger's entries")
        fresh = _append(grown, leaves)
        if stop == head.size:
            if grown.root() != head.frontier.root:
                raise DataCorrupt("An entry of the ledger")
            fresh |= grown.partial()
        guard()
        _write(folder, fresh)


def _append(grown: Edge, leaves: list[bytes]) -> dict[str, bytes]:
    """Append entries, the last bundle perhaps partial; the files that this gives."""
    fresh = {}
    for start in range(0, len(leaves), tiles.WIDTH):
        bundle = leaves[start : start + tiles.WIDTH]
        path = tiles.bundle_path(grown.size // tiles.WIDTH, len(bundle))
        fresh[path] = tiles.encode_bundle(bundle)
        fresh |= grown.append([leaf_hash(leaf) for leaf in bundle])
    return fresh


def _write(folder: Path, fresh: Mapping[str, bytes]) -> None:
    """Write whole files, and the folders that they are in; all are on the disk at the end."""
    for parent in sorted({(folder / path).parent for path in fresh}):
        _make(parent)
    jobs = [(folder / path, data) for path, data in fresh.items()]
    if len(jobs) < _MANY:
        for path, data in jobs:
            disk.write_file(path, data)
        return
    # Waiting for the disk is most of the work, and a disk serves many who wait at once.
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(lambda job: disk.write_file(*job), jobs))


def _make(folder: Path) -> None:
    """Make a folder and those above it, to outlast a crash."""
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        disk.sync_folder(folder.parent)


def _remove_partial(folder: Path, before: int, after: int) -> None:
    """Remove the partial tiles and bundles whose full ones came with this checkpoint."""
    for level in files.levels(after):
        first, last = (n >> tiles.HEIGHT * ((level or 0) + 1) for n in (before, after))
        for index in range(first, last):
            full = folder / Place(level, index).path
            disk.remove(full.with_name(f"{full.name}.p"))


def _remove(folder: Path, is_unwanted: Callable[[Place], bool]) -> None:
    """Remove unfinished files, and the tiles and bundles that are unwanted."""
    for path in sorted(folder.rglob("*")):
        place = files.place(path.relative_to(folder).as_posix())
        unwanted = place is not None and is_unwanted(place)
        if path.is_file() and (unwanted or path.suffix == ".part"):
            disk.remove(path)


def _has_leftovers(folder: Path, size: int) -> bool:
    parents = {folder, folder / files.HANDOVERS}
    for level in {None, 0, *files.levels(size)}:
        index = size >> tiles.HEIGHT * ((level or 0) + 1)
        here = folder / Place(level, index).path
        parents |= {here.parent, here.with_name(f"{here.name}.p")}
    found = (path for parent in parents if parent.is_dir() for path in parent.iterdir())
    return any(_is_leftover(folder, path, size) for path in found)


def _is_leftover(folder: Path, path: Path, size: int) -> bool:
    place = files.place(path.relative_to(folder).as_posix())
    return path.suffix == ".part" or (place is not None and place.width > place.width_at(size))


def _forked(size: int) -> LedgerForked:
    return LedgerForked(
        f"The published checkpoint of {size:,} entries is not of the tree in the database: they "
        f"are two histories. Nothing was written. Open the home with the database and the folder "
        f"that belong together; if neither is a mistake, keep both, and tell those who rely on "
        f"the log."
    )
