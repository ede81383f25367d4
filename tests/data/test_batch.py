"""Reading a batch: ranges, lookups, erased rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import ColumnUnknown
from expunge.data import spill
from expunge.data.batch import Batch
from expunge.data.options import Ingest
from expunge.data.ring import Ring, bounds


@pytest.fixture(scope="module")
def batch(make: Any) -> Batch:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spill, "SEGMENT_BYTES", 3000)
        made: Batch = make.one(make.people(400))
    assert len(made.segments) > 5
    return made


@given(low=st.integers(0, 2**64), high=st.integers(0, 2**64))
def test_a_span_holds_exactly_the_keys_of_its_range(batch: Batch, low: int, high: int) -> None:
    low, high = sorted((low, high))
    keys = batch.keys(0, batch.rows).tolist()
    start, stop = batch.span(low, high)
    assert [low <= key < high for key in keys] == [start <= i < stop for i in range(batch.rows)]


@pytest.mark.parametrize(("shards", "parts"), [(1, 1), (3, 4), (20, 5)])
def test_shards_and_parts_divide_the_rows(batch: Batch, shards: int, parts: int) -> None:
    edges = [batch.span(*bounds(s, shards, p, parts)) for s in range(shards) for p in range(parts)]
    assert [start for start, _ in edges] == [0, *(stop for _, stop in edges[:-1])]
    assert edges[-1][1] == batch.rows


def test_a_span_at_keys_that_are_there(batch: Batch) -> None:
    keys = batch.keys(0, batch.rows).tolist()
    for key in set(keys):
        assert batch.span(key, key + 1) == (keys.index(key), keys.index(key) + keys.count(key))


@given(start=st.integers(0, 400), stop=st.integers(0, 400))
def test_parts_of_cells_are_parts_of_the_whole(batch: Batch, start: int, stop: int) -> None:
    start, stop = sorted((start, stop))
    names = ["age", "face", "note", "town"]
    whole, part = batch.read(names, 0, 400), batch.read(names, start, stop)
    for name in names:
        np.testing.assert_array_equal(part[name], whole[name][start:stop])
    commitments = batch.commitments(0, 400)
    np.testing.assert_array_equal(batch.commitments(start, stop), commitments[start:stop])


def test_within_a_segment_cells_are_views_of_the_file(batch: Batch) -> None:
    one, two = (batch.read(["age", "face"], 1, 4) for _ in range(2))
    for name in ("age", "face"):
        assert np.shares_memory(one[name], two[name])
        assert not one[name].flags.writeable


def test_ids_are_found_where_they_are(batch: Batch, make: Any) -> None:
    ids = batch.read(["id"], 0, 400)["id"].tolist()
    assert batch.find_ids(ids, make.ring).tolist() == list(range(400))
    assert batch.find_id("nobody", make.ring) == -1
    assert batch.find_id(ids[0], Ring(b"x" * 32)) == -1


def test_another_id_with_the_same_hash_is_not_that_person(
    batch: Batch, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = batch.tokens(3, 4)
    monkeypatch.setattr(Ring, "tokens", lambda self, texts: token)
    assert batch.find_id("somebody else", make.ring) == -1


def test_another_subject_with_the_same_key_is_not_that_person(
    batch: Batch, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ring, "keys", lambda self, texts: batch.keys(3, 4))
    assert batch.find_subject("somebody else", make.ring).tolist() == []


def test_subjects_are_found_with_all_their_rows(batch: Batch, make: Any) -> None:
    subjects = batch.read(["who"], 0, 400)["who"]
    for subject in ("p0", "p7", "p133"):
        found = batch.find_subject(subject, make.ring)
        assert found.tolist() == np.flatnonzero(subjects == subject).tolist()
    assert batch.find_subject("nobody", make.ring).tolist() == []


def test_without_subjects_nobody_is_found(make: Any) -> None:
    batch = make.one({"x": np.arange(3)}, None)
    assert batch.find_subject("0-1", make.ring).tolist() == []


def test_exports_keep_order_and_values(batch: Batch) -> None:
    chosen = np.array([390, 5, 17])
    table = batch.export(chosen)
    ids = batch.read(["id"], 0, 400)["id"]
    assert table["id"].to_pylist() == ids[np.sort(chosen)].tolist()
    assert all(len(salt) == 16 and any(salt) for salt in table["expunge:salt"].to_pylist())
    assert batch.export(np.zeros(400, bool)).num_rows == 0


def test_salts_are_fresh(make: Any) -> None:
    one, two = (make.one(make.people(50)).export(np.arange(50)) for _ in range(2))
    salts = one["expunge:salt"].to_pylist() + two["expunge:salt"].to_pylist()
    assert len(set(salts)) == 100


def test_unknown_columns_are_named(batch: Batch) -> None:
    with pytest.raises(ColumnUnknown, match="'nope'"):
        batch.read(["nope"], 0, 1)
    with pytest.raises(ColumnUnknown):
        batch.read(["expunge:salt"], 0, 1)


def test_a_batch_opens_again_after_closing(batch: Batch) -> None:
    before = batch.read(["age"], 0, 400)["age"].tolist()
    batch.close()
    assert batch.read(["age"], 0, 400)["age"].tolist() == before
    assert batch.parts == 1
    assert batch.number == 0


def test_declared_parts_are_kept(make: Any) -> None:
    assert make.one({"x": np.arange(3)}, Ingest(slices=4)).parts == 4
