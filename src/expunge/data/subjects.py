"""The index of further subjects: rows that are about somebody beside their first subject."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from expunge.data.batch import SUBJECTS
from expunge.data.index import Hashes, Ordinals, build, within
from expunge.data.segments import OTHERS_ENTRY, Segment


def write_subjects(folder: Path, segments: Sequence[Segment]) -> None:
    """Build the index from the files that the segments' writers left, and remove those."""
    files = [folder / segment.file.replace(".arrow", ".others") for segment in segments]
    starts = np.cumsum([0, *(segment.rows for segment in segments)])

    def entries(low: int, high: int) -> Iterator[tuple[Hashes, Ordinals]]:
        for file, start in zip(files, starts.tolist(), strict=False):
            found = np.fromfile(file, OTHERS_ENTRY)
            chosen = found[within(found["hash"], low, high)]
            yield chosen["hash"], chosen["row"].astype(np.int64) + start

    count = sum(file.stat().st_size for file in files) // OTHERS_ENTRY.itemsize
    build(folder, SUBJECTS, entries, count)
    for file in files:
        file.unlink()
