"""Commitments bind cells, and recorded roots bind commitments: whatever changes is counted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core import merkle
from expunge.data import ingest, leaves, spill
from expunge.data.batch import Batch
from expunge.data.erase import erase
from expunge.data.integrity import came_root, changed_rows, recorded_roots
from expunge.data.layout import COMMITMENT, KEY, SALT, TOKEN
from expunge.data.ring import Ring
from expunge.home import Home
from expunge.storage import facts
from expunge.storage.facts import Fact
from expunge.testing.fakes import people

NONE = np.empty(0, np.int64)


def flip(batch: Batch, column: str, buffer: int, place: int, bits: int) -> None:
    """Change a byte of a column's buffer, in the file."""
    wanted = batch.segment(0).column(column).buffers()[buffer].to_pybytes()
    path = batch.folder / batch.segments[0].file
    content = bytearray(path.read_bytes())
    assert content.count(wanted) == 1
    content[content.index(wanted) + place] ^= bits
    with path.open("r+b") as file:  # in place: it is mapped
        file.write(content)


@pytest.mark.parametrize(
    "column", ["id", "who", "age", "pay", "town", "note", "face", "label", SALT, COMMITMENT, TOKEN]
)
def test_one_bit_of_any_column_is_one_changed_row(make: Any, column: str) -> None:
    batch = make.one(make.people(seed=3))
    assert changed_rows(batch, NONE, make.ring) == 0
    flip(batch, column, -1, 0, 1)
    assert changed_rows(batch, NONE, make.ring) == 1
    assert changed_rows(batch, np.array([0]), make.ring) == 0


def test_rows_that_the_ring_has_elsewhere_are_changed_rows(make: Any) -> None:
    batch = make.one(make.people())
    flip(batch, KEY, -1, 8 * 20, 1)
    found = changed_rows(batch, NONE, make.ring)
    assert 1 <= found <= 2  # the row, and the one before it if it stands in front of that now
    assert changed_rows(batch, NONE, Ring(b"\x08" * 32)) == batch.rows


def test_rows_out_of_order_are_changed_rows_though_each_is_right(make: Any) -> None:
    batch = make.one(make.people())
    for column, width in ((KEY, 8), (TOKEN, 8)):
        stored = batch.segment(0).column(column).buffers()[1].to_pybytes()
        for place in (0, width * (batch.rows - 1)):
            other = width * (batch.rows - 1) - place
            for i in range(width):
                flip_to = stored[place + i] ^ stored[other + i]
                flip(batch, column, 1, place + i, flip_to)
    # The first and the last row have changed places: all between would stand in between.
    assert changed_rows(batch, NONE, make.ring) >= 2


def test_erased_rows_count_only_where_nobody_forgot_them(make: Any) -> None:
    batch = make.one(make.people())
    gone = np.array([3, 40])
    erase(batch, gone)
    assert changed_rows(batch, gone, make.ring) == 0
    assert changed_rows(batch, gone[:1], make.ring) == 1


def test_a_file_that_cannot_be_read_counts_with_all_its_remaining_rows(make: Any) -> None:
    batch = make.one(make.people())
    flip(batch, "note", 1, 4 * 20 + 3, 0x40)  # an offset that points far behind the file
    assert changed_rows(batch, np.array([5]), make.ring) == batch.rows - 1


def test_the_root_of_a_batch_is_over_those_of_its_segments(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "SEGMENT_BYTES", 3000)
    staged = make.staged(make.people(400))
    (one,) = staged.batches
    batch = Batch(one.folder)
    assert len(batch.segments) > 3
    roots = []
    for number in range(len(batch.segments)):
        rows = batch.leaves(*batch.bounds(number))
        roots.append(merkle.root([merkle.leaf_hash(row.tobytes()) for row in rows]))
    assert one.root == leaves.batch_root(roots) == came_root(batch, {})


def test_the_helper_process_tells_the_roots_of_what_it_wrote(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "_HELP_FROM_ROWS", 1)
    monkeypatch.setattr(spill, "SEGMENT_BYTES", 20_000)
    (one,) = make.staged(make.people(3000).to_batches(max_chunksize=500)).batches
    batch = Batch(one.folder)
    assert len(batch.segments) > 10
    assert came_root(batch, {}) == one.root


@given(chosen=st.sets(st.integers(0, 59)))
def test_erasing_rows_leaves_the_root_of_what_came(make: Any, chosen: set[int]) -> None:
    batch = make.one(make.people())
    before = came_root(batch, {})
    erase(batch, np.array(sorted(chosen), np.int64))
    assert came_root(batch, {}) == before


@pytest.mark.parametrize("column", [COMMITMENT, KEY, TOKEN])
def test_one_bit_of_a_leaf_is_another_root(make: Any, column: str) -> None:
    batch = make.one(make.people())
    before = came_root(batch, {})
    flip(batch, column, -1, 8 * 30, 1)
    assert came_root(batch, {}) != before


def test_a_root_can_be_had_with_hashes_of_rows_that_are_not_there(make: Any) -> None:
    batch = make.one(make.people())
    before, known = came_root(batch, {}), leaves.hashes(batch.leaves(7, 9))
    for place in (7, 8):
        flip(batch, COMMITMENT, -1, 32 * place, 1)
    assert came_root(batch, {7: known[0], 8: known[1]}) == before
    assert came_root(batch, {7: known[0]}) != before


def test_of_a_file_that_cannot_be_read_there_is_no_root(make: Any, tmp_path: Path) -> None:
    batch = make.one(make.people())
    copy = tmp_path / "copy"
    shutil.copytree(batch.folder, copy)
    (copy / batch.segments[0].file).write_bytes(b"ARROW1\x00\x00 and nothing else")
    assert came_root(Batch(copy), {}) is None


def recorded(home: Home) -> dict[tuple[int, int], bytes]:
    with home.site.database.reading() as transaction:
        folder = home.site.dataset(transaction, "people").folder.name
        return recorded_roots(transaction, folder)


def test_what_came_is_recorded_before_anything_learns_from_it(home: Home) -> None:
    home.ingest("people", people(30), id="id", subject="who")
    more = {name: column[30:] for name, column in people(40).items()}
    home.ingest("people", more)
    home.ingest("others", people(9), id="id")
    with home.site.database.reading() as transaction:
        dataset = home.site.dataset(transaction, "people")
        ground = home.site.grounds.load(transaction, dataset)
    found = recorded(home)
    assert found == {key: came_root(batch, {}) for key, batch in ground.batches.items()}
    assert list(found) == [(0, 0), (0, 1)]


def test_a_later_fact_does_not_change_what_came(home: Home) -> None:
    home.ingest("people", people(30), id="id", subject="who")
    before, body = recorded(home), dict(home.facts()[-1].body)
    other = Fact("dataset.ingested", body | {"roots": [[0, "00" * 32]]})
    with home.site.database.transaction() as transaction:
        facts.record(transaction, other)
    assert recorded(home) == before
    restored = {"size_before": 1, "size_after": 2, "requests": 0, "rows": 0, "unknown": 0}
    with home.site.database.transaction() as transaction:
        # A backup that did not have the batch: its number comes again.
        facts.record(transaction, Fact("home.restored", restored))
        facts.record(transaction, other)
    assert recorded(home) == {(0, 0): bytes(32)}
