"""Erasing leaves no byte of a row behind, and every other row as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from expunge.data.batch import Batch
from expunge.data.erase import erase
from expunge.data.options import Ingest

MARK = "PLANTED-MARKER"
NUMBER = np.float64(-7.123456789e123)
SMALL = np.float32(-6.54321e-21)


def _planted(make: Any, rows: int = 200) -> Batch:
    table = make.people(rows).to_pydict()
    table["who"] = [[who, f"friend of {i}"] for i, who in enumerate(table["who"])]
    table["big"] = np.linspace(0, 1, rows)
    table["id"][7], table["who"][7], table["note"][7] = (
        MARK + "1",
        [MARK + "2", MARK + "3"],
        MARK + "4",
    )
    table["big"][7], table["pay"][7], table["face"][7] = NUMBER, SMALL, [1.0, NUMBER]
    table["pay"] = np.array(table["pay"], np.float32)
    table["face"] = np.array(table["face"])
    table["label"] = np.array(table["label"])
    return make.one(table, Ingest(id="id", subjects=("who",), values=("label",), text=("note",)))


def _bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_no_byte_of_an_erased_row_is_left(make: Any) -> None:
    batch = _planted(make)
    place = batch.find_id(MARK + "1", make.ring)
    salt = batch.export(np.array([place]))["expunge:salt"][0].as_py()
    commitment = batch.commitments(place, place + 1).tobytes()
    planted = [MARK.encode(), NUMBER.tobytes(), SMALL.tobytes(), salt]
    assert all(one in _bytes(batch.folder) for one in planted)

    erase(batch, np.array([place]))

    assert not any(one in _bytes(batch.folder) for one in planted)
    assert batch.erased(0, batch.rows).sum() == 1
    # Without its salt it tells nothing, and the root that was recorded can still be checked.
    assert batch.commitments(place, place + 1).tobytes() == commitment


def test_every_other_row_stays_as_it_was(make: Any) -> None:
    batch = _planted(make)
    place = batch.find_id(MARK + "1", make.ring)
    others = np.delete(np.arange(batch.rows), place)
    before = batch.export(others)
    commitments = batch.commitments(0, batch.rows)[others].copy()
    keys, tokens = batch.keys(0, batch.rows).copy(), batch.tokens(0, batch.rows).copy()

    erase(batch, np.array([place]))

    fresh = Batch(batch.folder)
    assert fresh.export(others).equals(before)
    np.testing.assert_array_equal(fresh.commitments(0, batch.rows)[others], commitments)
    np.testing.assert_array_equal(fresh.keys(0, batch.rows), keys)
    np.testing.assert_array_equal(fresh.tokens(0, batch.rows), tokens)


def test_erased_rows_are_still_found_and_erasing_again_changes_nothing(make: Any) -> None:
    batch = _planted(make)
    place = batch.find_id(MARK + "1", make.ring)
    erase(batch, np.array([place]))
    after = _bytes(batch.folder)
    erase(batch, np.array([place, place]))
    assert _bytes(batch.folder) == after
    assert batch.find_id(MARK + "1", make.ring) == place
    assert place in batch.find_subject(MARK + "2", make.ring)
    assert place in batch.find_subject(MARK + "3", make.ring)


@given(chosen=st.sets(st.integers(0, 39)))
def test_what_is_erased_is_zeros(make: Any, chosen: set[int]) -> None:
    batch = make.one(make.people(40))
    places = np.array(sorted(chosen), np.int64)
    erase(batch, places)
    assert np.flatnonzero(batch.erased(0, 40)).tolist() == sorted(chosen)
    cells = batch.read(["age", "pay", "town", "face", "label"], 0, 40)
    assert not any(cells[name][places].any() for name in cells)
    texts = batch.read(["id", "who", "note"], 0, 40)
    assert all(set(text) == {"\0"} for name in texts for text in texts[name][places])


def test_readers_see_what_was_erased_under_them(make: Any) -> None:
    batch = make.one(make.people(10))
    view = batch.read(["age"], 0, 10)["age"]
    assert not view.flags.writeable
    erase(Batch(batch.folder), np.arange(10))
    assert not view.any()
