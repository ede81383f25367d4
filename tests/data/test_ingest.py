"""Ingest: what comes in is what is read, whatever the source, the order and the sizes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.types import Kind, Role, Schema
from expunge.data import layout, spill
from expunge.data.batch import Batch
from expunge.data.options import Ingest
from expunge.data.uniqueness import Known

IDS = st.text(min_size=1, max_size=8).filter(lambda t: t.isprintable())
ROWS = st.lists(
    st.tuples(IDS, st.sampled_from("pqrst"), st.integers(-5, 5), st.floats(-1e9, 1e9)),
    min_size=1,
    max_size=40,
    unique_by=lambda row: row[0],
)
COLUMNS = ["id", "who", "n", "x", "y"]


def _table(rows: list[tuple[str, str, int, float]]) -> pa.Table:
    columns = list(zip(*rows, strict=True))
    return pa.table(
        {name: list(c) for name, c in zip(["id", "who", "n", "x"], columns, strict=True)}
    )


@given(rows=ROWS, chunk=st.integers(1, 10))
def test_what_comes_in_is_what_is_read_in_ring_order(make: Any, rows: Any, chunk: int) -> None:
    options = Ingest(id="id", subjects=("who",))
    batch = make.one(_table(rows).to_batches(max_chunksize=chunk), options)

    keys = make.ring.keys([row[1] for row in rows]).tolist()
    order = sorted(zip(keys, [row[0].encode() for row in rows], rows, strict=True))
    cells = batch.read(["id", "who", "n", "x"], 0, batch.rows)
    assert list(zip(*(cells[c].tolist() for c in cells), strict=True)) == [o[2] for o in order]
    assert batch.keys(0, batch.rows).tolist() == [o[0] for o in order]
    tokens = batch.tokens(0, batch.rows)
    np.testing.assert_array_equal(tokens, make.ring.tokens(cells["id"]))
    np.testing.assert_array_equal(batch.find(tokens), np.arange(batch.rows))


@given(rows=ROWS, seed=st.integers(0, 9))
def test_arrival_order_leaves_no_trace(make: Any, rows: Any, seed: int) -> None:
    salts = [bytes([i + 1]) * 16 for i in range(len(rows))]
    table = _table(rows).append_column("salt", pa.array(salts))
    shuffled = table.take(np.random.default_rng(seed).permutation(len(rows)))
    options = Ingest(id="id", subjects=("who",), salts="salt")
    one, two = make.one(table, options), make.one(shuffled, options)
    assert one.schema == two.schema
    np.testing.assert_array_equal(one.commitments(0, one.rows), two.commitments(0, two.rows))


@given(rows=st.integers(1, 300), run=st.integers(1, 4000), segment=st.integers(1, 9000))
def test_sizes_of_runs_and_segments_change_nothing(
    make: Any, rows: int, run: int, segment: int
) -> None:
    table = make.people(rows)
    whole = make.one(table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spill, "RUN_BYTES", run)
        patch.setattr(spill, "SEGMENT_BYTES", segment)
        parts = make.one(pa.Table.from_batches(table.to_batches(max_chunksize=17)))
    names = ["id", "who", "age", "pay", "town", "note", "label"]
    for name, cells in whole.read(names, 0, rows).items():
        np.testing.assert_array_equal(parts.read([name], 0, rows)[name], cells)
    np.testing.assert_array_equal(parts.keys(0, rows), whole.keys(0, rows))


def test_a_person_larger_than_a_segment_is_split_by_id(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from expunge.data import segments

    monkeypatch.setattr(spill, "SEGMENT_BYTES", 2000)
    monkeypatch.setattr(segments, "LARGEST_BYTES", 2000)
    table = make.people(200).set_column(1, "who", pa.array(["all"] * 200))
    staged = make.staged(table)
    batch = Batch(staged.batches[0].folder)
    assert staged.batches[0].largest_subject == 200
    assert len(batch.segments) > 5
    ids = batch.read(["id"], 0, 200)["id"].tolist()
    assert ids == sorted(f"s{i}" for i in range(200))
    key = batch.key(150)
    assert batch.span(key, key + 1) == (0, 200)
    assert batch.find_subject("all", make.ring).tolist() == list(range(200))


def test_the_helper_process_writes_the_same(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from expunge.data import ingest

    table = make.people(3000).append_column(
        "salt", pa.array([i.to_bytes(16, "big") for i in range(1, 3001)])
    )
    options = Ingest(id="id", subjects=("who",), values=("label",), text=("note",), salts="salt")
    alone = make.one(table, options)
    monkeypatch.setattr(ingest, "_HELP_FROM_ROWS", 1)
    monkeypatch.setattr(spill, "SEGMENT_BYTES", 20_000)
    blocks = table.to_batches(max_chunksize=500)
    helped = make.one(blocks, options)
    assert len(helped.segments) > 10
    np.testing.assert_array_equal(helped.commitments(0, 3000), alone.commitments(0, 3000))


@pytest.fixture
def sources(make: Any, tmp_path: Path) -> dict[str, Any]:
    table = make.people().drop_columns(["face"])
    table = table.set_column(3, "pay", table["pay"].cast(pa.float64()))
    csv = tmp_path / "rows.csv"
    pcsv.write_csv(table, csv)
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(csv.read_bytes()))
    pcsv.write_csv(table, tmp_path / "rows.tsv", pcsv.WriteOptions(delimiter="\t"))
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=7)
    pyarrow.feather.write_feather(table, tmp_path / "rows.feather")
    with pa.ipc.new_stream(tmp_path / "rows.arrow", table.schema) as writer:
        writer.write_table(table)
    files = {path.name: path for path in tmp_path.iterdir()}
    frame = table.to_pandas()
    return files | {
        "str path": str(csv),
        "table": table,
        "reader": table.to_reader(max_chunksize=7),
        "iterator": iter(table.to_batches(max_chunksize=7)),
        "frame": frame,
        "frame of categories": frame.astype({"town": "category"}),
        "frame of objects": frame.astype({"town": object, "age": object}),
        "mapping": {
            name: table[name].to_numpy(zero_copy_only=False) for name in table.schema.names
        },
        "lists": table.to_pydict(),
    }


def test_every_source_gives_the_same_rows(make: Any, sources: dict[str, Any]) -> None:
    names = ["id", "who", "age", "pay", "town", "note", "label"]
    expected = make.one(sources["table"])
    for what, source in sources.items():
        batch = make.one(source)
        assert batch.schema == expected.schema, what
        assert make.rows(batch, *names) == make.rows(expected, *names), what


def test_a_matrix_has_numbered_columns_and_ids(make: Any) -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    batch = make.one(matrix, None, number=4)
    assert make.rows(batch, "sample_id", "x0", "x1") == [
        ("4-0", 0.0, 1.0),
        ("4-1", 2.0, 3.0),
        ("4-2", 4.0, 5.0),
    ]
    assert batch.find_id("4-1", make.ring) >= 0


def test_arrays_of_images_are_tensors(make: Any) -> None:
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    batch = make.one({"face": images, "id": ["a", "b"]}, Ingest(id="id"))
    assert batch.schema["face"].shape == (3, 4)
    assert (batch.schema["face"].low, batch.schema["face"].high) == (0.0, 255.0)
    place = batch.find_id("b", make.ring)
    np.testing.assert_array_equal(batch.read(["face"], 0, 2)["face"][place], images[1])


def test_an_append_infers_nothing(make: Any) -> None:
    first = make.one(make.people(60))
    more = make.people(5).set_column(0, "id", pa.array([f"t{i}" for i in range(5)]))
    more = more.set_column(4, "town", pa.array(["x", "elsewhere", "y", "x", "x"]))
    batch = make.one(more, Ingest(schema=first.schema), number=1)
    assert batch.schema == first.schema
    assert batch.number == 1
    towns = dict(make.rows(batch, "id", "town"))
    assert (towns["t0"], towns["t1"], towns["t2"]) == (0, -1, 1)


def test_appended_csv_is_read_in_the_declared_types(make: Any, tmp_path: Path) -> None:
    table = pa.table({"id": ["1"] * 1, "zip": ["01234"], "x": [1.5]})
    schema = Schema.from_json(
        {
            "adopted": False,
            "columns": [
                c.to_json()
                for c in make.one(table, Ingest(id="id", values=("zip",))).schema.columns
            ],
        }
    )
    path = tmp_path / "more.csv"
    path.write_text("id,zip,x\n007,01234,3\n")
    batch = make.one(path, Ingest(schema=schema), number=1)
    assert make.rows(batch, "id", "zip", "x") == [("007", 0, 3.0)]


def test_tiers_are_batches_of_their_own(make: Any) -> None:
    table = pa.table({"id": list("abcd"), "t": [2, 1, 2, 5], "x": [1.0, 2.0, 3.0, 4.0]})
    staged = make.staged(table, Ingest(id="id", tier="t"))
    assert staged.schema["t"].categories == (1, 2, 5)
    found = [(b.tier, make.rows(Batch(b.folder), "id")) for b in staged.batches]
    assert found == [(0, [("b",)]), (1, [("a",), ("c",)]), (2, [("d",)])]
    assert {Batch(b.folder).tier for b in staged.batches} == {0, 1, 2}


def test_a_fresh_home_from_exported_rows_has_the_same_commitments(make: Any) -> None:
    staged = make.staged(make.people(60), Ingest(id="id", subjects=("who",), tier="town"))
    batches = [Batch(b.folder) for b in staged.batches]
    exported = pa.concat_tables([b.export(np.arange(b.rows)) for b in batches])
    options = Ingest(schema=staged.schema, salts="expunge:salt", coded=True)
    again = make.staged(exported, options)
    for old, new in zip(batches, (Batch(b.folder) for b in again.batches), strict=True):
        assert (old.tier, old.rows) == (new.tier, new.rows)
        np.testing.assert_array_equal(old.commitments(0, old.rows), new.commitments(0, new.rows))


def test_numbered_ids_survive_an_export(make: Any) -> None:
    batch = make.one(np.eye(3), None)
    options = Ingest(schema=batch.schema, salts="expunge:salt", coded=True)
    again = make.one(batch.export(np.array([True, False, True])), options)
    assert again.rows == 2
    kept = batch.commitments(0, 3)[[0, 2]]
    np.testing.assert_array_equal(again.commitments(0, 2), kept)


def test_a_list_of_subjects_finds_each_of_them(make: Any) -> None:
    table = pa.table(
        {"id": list("abc"), "who": [["p", "q"], ["q"], ["r", "p", "q"]], "x": [1.0, 2.0, 3.0]}
    )
    batch = make.one(table, Ingest(id="id", subjects=("who",)))

    def ids(subject: str) -> set[str]:
        cells = batch.read(["id"], 0, 3)["id"]
        return set(cells[batch.find_subject(subject, make.ring)])

    assert (ids("p"), ids("q"), ids("r"), ids("s")) == ({"a", "c"}, {"a", "b", "c"}, {"c"}, set())
    first = batch.find_id("c", make.ring)
    assert batch.key(first) == int(make.ring.keys(["r"])[0])
    assert batch.read(["who"], first, first + 1)["who"][0] == ("r", "p", "q")


def test_further_subjects_may_be_missing_where_nullable(make: Any) -> None:
    table = pa.table({"id": list("ab"), "who": ["p", "q"], "spouse": ["q", None]})
    batch = make.one(table, Ingest(id="id", subjects=("who", "spouse"), nullable=("spouse",)))
    assert len(batch.find_subject("q", make.ring)) == 2
    assert len(batch.find_subject("p", make.ring)) == 1


def test_a_forgotten_id_comes_back_with_readmit(make: Any) -> None:
    first = make.one(make.people(9))
    gone = np.array([first.find_id("s4", make.ring)])
    again = make.people(9).slice(4, 1)
    options = Ingest(schema=first.schema)
    batch = make.one(again, options, number=1, known=[Known(first, gone)], readmit=True)
    assert make.rows(batch, "id") == [("s4",)]


def test_progress_counts_rows(make: Any) -> None:
    from expunge.data.ingest import Arrival, stage

    seen: list[int] = []
    blocks = make.people(50).to_batches(max_chunksize=20)
    stage(
        blocks,
        make.root / "progress",
        Arrival(make.ring),
        Ingest(id="id", text=("note", "who")),
        seen.append,
    )
    assert seen == [20, 40, 50]


def test_missing_cells_of_nullable_columns(make: Any) -> None:
    table = pa.table(
        {
            "id": list("abc"),
            "n": pa.array([1, None, 3]),
            "x": pa.array([0.5, float("nan"), None], pa.float32()),
            "c": pa.array(["u", None, ""]),
            "t": pa.array(["hi", None, ""]),
        }
    )
    options = Ingest(id="id", nullable=("n", "x", "c", "t"), values=("c",), text=("t",))
    batch = make.one(table, options)
    cells = batch.read(["id", "n", "x", "c", "t"], 0, 3)
    order = np.argsort(cells["id"].astype(str))
    np.testing.assert_array_equal(cells["n"][order], [1.0, np.nan, 3.0])
    np.testing.assert_array_equal(cells["x"][order], np.array([0.5, np.nan, np.nan], np.float32))
    assert cells["c"][order].tolist() == [0, -1, -1]
    assert cells["t"][order].tolist() == ["hi", "", ""]
    assert batch.schema["n"].dtype == "float64"


def test_minus_zero_and_nan_have_one_pattern(make: Any) -> None:
    strange = np.array([0x7FF8000000000123], np.uint64).view(np.float64)[0]
    batch = make.one({"x": np.array([-0.0, strange])}, Ingest(nullable=("x",)))
    patterns = {p.tobytes() for p in batch.read(["x"], 0, 2)["x"]}
    assert patterns == {np.float64(0.0).tobytes(), np.float64(np.nan).tobytes()}


def test_ids_and_categories_of_integers(make: Any) -> None:
    table = pa.table({"id": [7, 8], "label": [3, 1], "x": pa.array([1, 2], pa.int8())})
    batch = make.one(table, Ingest(id="id", values=("label",), categorical=("label",)))
    assert batch.schema["label"].categories == (1, 3)
    assert batch.schema["label"].kind is Kind.CATEGORICAL
    assert batch.schema["x"].dtype == "int8"
    assert batch.schema["x"].role is Role.FEATURE
    assert make.rows(batch, "id", "label", "x") == [("7", 1, 1), ("8", 0, 2)]


def test_a_frame_with_numbered_columns(make: Any) -> None:
    batch = make.one(pd.DataFrame(np.eye(2)), None)
    assert [c.name for c in batch.schema.columns] == ["sample_id", "0", "1"]


def test_blocks_are_small(make: Any) -> None:
    rows = layout.BLOCK_ROWS + 10
    batch = make.one({"x": np.arange(rows)}, None)
    assert sorted(batch.read(["x"], 0, rows)["x"].tolist()) == list(range(rows))
