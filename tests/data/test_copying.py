"""A copy has the rows that remain, and of the others nothing but a hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.data import spill
from expunge.data.batch import Batch
from expunge.data.copying import copy_without, hashes_of
from expunge.data.erase import erase
from expunge.data.integrity import came_root, changed_rows
from expunge.data.ring import bounds

ROWS = 120


@pytest.fixture(scope="module")
def original(make: Any) -> Batch:
    """A batch of several segments."""
    table = make.people(ROWS)
    for place, name in ((0, "id"), (5, "note")):  # long enough not to be found by chance
        texts = pa.array([f"the {name} of row {i:05d}" for i in range(ROWS)])
        assert table.schema.names[place] == name
        table = table.set_column(place, name, texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spill, "SEGMENT_BYTES", 3000)
        batch = make.one(table)
    assert len(batch.segments) > 2
    return batch


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def copied(batch: Batch, folder: Path, gone: set[int]) -> tuple[Batch, np.ndarray[Any, Any]]:
    ordinals = np.array(sorted(gone), np.int64)
    copy_without(batch, folder, ordinals)
    return Batch(folder), ordinals


@given(gone=st.sets(st.integers(0, ROWS - 1)))
def test_what_remains_is_there_and_nothing_else(
    make: Any, original: Batch, tmp_path_factory: pytest.TempPathFactory, gone: set[int]
) -> None:
    copy, ordinals = copied(original, tmp_path_factory.mktemp("copy"), gone)
    stays = np.delete(np.arange(ROWS), ordinals)
    assert copy.export(stays).equals(original.export(stays))
    assert (copy.leaves(0, ROWS)[stays] == original.leaves(0, ROWS)[stays]).all()
    assert np.flatnonzero(copy.erased(0, ROWS)).tolist() == ordinals.tolist()
    assert changed_rows(copy, ordinals, make.ring) == 0
    assert came_root(copy, hashes_of(copy.folder, ordinals)) == came_root(original, {})
    keys = copy.keys(0, ROWS)
    assert (keys[1:] >= keys[:-1]).all()
    for part in range(7):  # the same rows fall into every range of the ring
        (start, stop), (first, last) = (b.span(*bounds(0, 1, part, 7)) for b in (copy, original))
        inside = np.arange(ROWS)[start:stop]
        assert np.setdiff1d(inside, ordinals).tolist() == [o for o in stays if first <= o < last]


def test_no_byte_of_a_forgotten_row_is_written(original: Batch, tmp_path: Path) -> None:
    copy, ordinals = copied(original, tmp_path / "copy", {0, 1, 17, 18, 60, ROWS - 1})
    rows, found = original.export(ordinals).to_pydict(), everything(copy.folder)
    needles = [text.encode() for name in ("id", "note") for text in rows[name]]
    needles += rows["expunge:salt"] + [np.float32(pay).tobytes() for pay in rows["pay"]]
    for ordinal in ordinals:
        leaf = original.leaves(ordinal, ordinal + 1).tobytes()
        needles += [leaf[16:], leaf[8:16], leaf[8:16][::-1]]
    # Somebody else's rows may have the same key; these people have no other row.
    alone = [o for o in ordinals if (original.keys(0, ROWS) == original.key(o)).sum() == 1]
    needles += [original.key(o).to_bytes(8, order) for o in alone for order in ("big", "little")]
    there = everything(original.folder)
    assert sum(needle in there for needle in needles) > 20
    assert [needle for needle in needles if needle in found] == []


def test_erased_rows_are_copied_as_forgotten_ones(make: Any, tmp_path: Path) -> None:
    batch = make.one(make.people())
    root = came_root(batch, {})
    erase(batch, np.array([5, 6]))
    copy, ordinals = copied(batch, tmp_path / "copy", {5, 6, 7})
    assert came_root(copy, hashes_of(copy.folder, ordinals)) == root
    assert not copy.leaves(5, 8)[:, 8:].any()


def test_copying_again_leaves_out_what_was_forgotten_since(original: Batch, tmp_path: Path) -> None:
    copied(original, tmp_path / "copy", {3})
    copy, _ = copied(original, tmp_path / "copy", {3, 4})
    assert np.flatnonzero(copy.erased(0, ROWS)).tolist() == [3, 4]
