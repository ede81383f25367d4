"""Small sources, and ingests into folders of their own."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from expunge.data.batch import Batch
from expunge.data.ingest import Arrival, Staged, stage
from expunge.data.options import Ingest
from expunge.data.ring import Ring

OPTIONS = Ingest(id="id", subjects=("who",), values=("label",), text=("note",))


@dataclass
class Making:
    """Ingests; each into a new folder."""

    root: Path

    def __post_init__(self) -> None:
        self._numbers = count()
        self.ring = Ring(b"\x07" * 32)
        self.folder = self.root

    def people(self, rows: int = 60, seed: int = 0) -> pa.Table:
        """A table with a column of each kind; one subject per three rows."""
        rng = np.random.default_rng(seed)
        return pa.table(
            {
                "id": [f"s{i}" for i in range(rows)],
                "who": [f"p{i // 3}" for i in range(rows)],
                "age": pa.array(rng.integers(17, 91, rows), pa.int64()),
                "pay": rng.normal(size=rows).astype(np.float32),
                "town": rng.choice(["x", "y"], rows),
                "note": [f"note {i}" for i in range(rows)],
                "face": pa.FixedSizeListArray.from_arrays(pa.array(rng.normal(size=2 * rows)), 2),
                "label": rng.choice(["no", "yes"], rows),
            }
        )

    def staged(self, source: Any, options: Ingest | None = OPTIONS, **arrival: Any) -> Staged:
        """An ingest. Its folder is in ``folder``, after an error too."""
        self.folder = self.root / str(next(self._numbers))
        return stage(source, self.folder, Arrival(self.ring, **arrival), options)

    def one(self, source: Any, options: Ingest | None = OPTIONS, **arrival: Any) -> Batch:
        """The one batch of an ingest."""
        staged = self.staged(source, options, **arrival)
        assert len(staged.batches) == 1
        return Batch(staged.batches[0].folder)

    def rows(self, batch: Batch, *columns: str) -> list[tuple[Any, ...]]:
        """All rows as tuples, sorted."""
        cells = batch.read(list(columns), 0, batch.rows)
        return sorted(zip(*(cells[c].tolist() for c in columns), strict=True))


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Making:
    return Making(tmp_path_factory.mktemp("ingests"))
