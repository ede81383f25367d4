"""Turn a source into batches: stream, convert, sort by ring key, commit, index.

Memory is flat: blocks go to sorted runs on disk, and each range of the ring is read back from
all runs to become a segment. Nothing outside the staging folder changes, and on any error the
staging folder is removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from expunge.core.errors import SourceEmpty
from expunge.core.types import Role, Schema
from expunge.data.barred import Barred
from expunge.data.batch import write_meta
from expunge.data.blocks import Blocks, Tokens
from expunge.data.leaves import batch_root
from expunge.data.options import Ingest
from expunge.data.ring import Ring
from expunge.data.segments import Sorting
from expunge.data.sources import Source, open_source
from expunge.data.spill import Spill, Spills
from expunge.data.subjects import write_subjects
from expunge.data.uniqueness import Ids, Known
from expunge.data.worker import Helper, write_ranges
from expunge.storage import disk

_HELP_FROM_ROWS: Final = 200_000
RUNS: Final = "runs"


@dataclass(frozen=True, slots=True)
class StagedBatch:
    """One batch in a staging folder, complete and on the disk.

    Attributes:
        tier: Its code.
        largest_subject: Rows of the subject that has most.
        root: Commits to all rows and to their order (``expunge.data.leaves``).
    """

    folder: Path
    tier: int
    number: int
    rows: int
    largest_subject: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Staged:
    """What an ingest made. The caller moves the folders into place and registers them.

    Attributes:
        schema: As declared, or as proposed.
        batches: By tier.
        rows: Of all batches.
        hidden: For each column that hides rare values, how many.
    """

    schema: Schema
    batches: tuple[StagedBatch, ...]
    rows: int
    hidden: dict[str, int]


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where rows arrive.

    Attributes:
        ring: Of the dataset.
        number: Of the batches that the rows will form.
        known: The dataset's batches so far.
        readmit: Whether ids that were forgotten may come back.
        barred: Those among them whose rows are not known.
    """

    ring: Ring
    number: int = 0
    known: Sequence[Known] = ()
    readmit: bool = False
    barred: Barred = field(default_factory=Barred)


def stage(
    source: Source,
    folder: Path,
    arrival: Arrival,
    options: Ingest | None = None,
    progress: Callable[[int], None] | None = None,
) -> Staged:
    """Stream ``source`` into one batch per tier below the new folder ``folder``.

    Args:
        source: A path (.csv, .csv.gz, .tsv, .parquet, .arrow, .feather), a table of Arrow or
            pandas, a mapping of arrays, a 2-D array (columns x0, x1, …), or an iterable of
            record batches.
        folder: Must not exist; on the same disk as the place where its batches will go.
        arrival: The dataset that they will join.
        options: What the columns are.
        progress: Called with the number of rows read so far.

    Raises:
        InputError: The source cannot be used. Nothing is left behind.
    """
    folder.mkdir(parents=True)
    try:
        with ExitStack() as stack:
            staging = _Staging(folder, arrival, options or Ingest(), stack)
            staged = staging.run(source, progress)
        disk.remove(folder / RUNS)
        disk.sync_folder(folder)
        disk.sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return staged


class _Staging:
    def __init__(self, folder: Path, arrival: Arrival, options: Ingest, stack: ExitStack) -> None:
        self._folder, self._arrival, self._options = folder, arrival, options
        self._stack = stack
        self._helper: Helper | None = None

    def run(self, source: Source, progress: Callable[[int], None] | None) -> Staged:
        runs = self._folder / RUNS
        runs.mkdir()
        spills = Spills(runs, self._stack.enter_context(ThreadPoolExecutor(1)))
        blocks = self._read(source, spills, progress)
        schema, moves, tiers = blocks.finish()
        arrival, id_column = self._arrival, schema.of(Role.ID)[0].name
        ids = Ids(arrival.ring, arrival.known, arrival.readmit, id_column, arrival.barred)
        batches = [
            self._write(
                spill,
                tiers[tier],
                Sorting(self._tier(tiers[tier]), spill.runs(), schema, moves),
                ids,
            )
            for tier, spill in spills.of_tier.items()
        ]
        batches.sort(key=lambda batch: batch.tier)
        rows = sum(batch.rows for batch in batches)
        return Staged(schema, tuple(batches), rows, blocks.hidden())

    def _read(
        self, source: Source, spills: Spills, progress: Callable[[int], None] | None
    ) -> Blocks:
        stream = open_source(source, self._options.csv_types())
        blocks = Blocks(stream.columns, self._options, self._arrival.ring, self._arrival.number)
        for block in stream.blocks:
            spills.add(*blocks.convert(block))
            if progress:
                progress(blocks.rows)
            if blocks.rows >= _HELP_FROM_ROWS and self._helper is None:
                blocks.tokens = self._get_help()
        if not blocks.rows:
            raise SourceEmpty(stream.what)
        return blocks

    def _get_help(self) -> Tokens:
        helper = self._helper = self._stack.enter_context(Helper(self._arrival.ring))
        thread = self._stack.enter_context(ThreadPoolExecutor(1))
        return lambda ids: thread.submit(helper.tokens, ids).result

    def _tier(self, tier: int) -> Path:
        folder = self._folder / f"tier-{tier}"
        folder.mkdir()
        return folder

    def _write(self, spill: Spill, tier: int, sorting: Sorting, ids: Ids) -> StagedBatch:
        written = write_ranges(sorting, spill.ranges(), self._helper)
        ids.index(sorting.folder, written.segments, sorting.runs)
        if list(sorting.folder.glob("*.others")):
            write_subjects(sorting.folder, written.segments)
        place = (tier, self._arrival.number)
        write_meta(sorting.folder, place, self._options.slices, sorting.schema, written.segments)
        disk.sync_folder(sorting.folder)
        root = batch_root(written.roots)
        return StagedBatch(sorting.folder, *place, spill.rows, written.largest, root)
