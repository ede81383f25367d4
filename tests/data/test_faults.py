"""What cannot be used is refused: where it is, none of its content, nothing left behind."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from expunge.core.errors import (
    CellInvalid,
    ColumnUnknown,
    DuplicateSamples,
    FormatUnsupported,
    InputError,
    SamplesForgotten,
    SchemaMismatch,
    SourceEmpty,
    WorkerFailed,
)
from expunge.data.options import Ingest
from expunge.data.ring import Ring
from expunge.data.uniqueness import Known

SECRET = "SECRET-CONTENT"
ID = Ingest(id="id")


def _csv(folder: Path, text: str | bytes) -> Path:
    path = folder / "rows.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _many(bad: str, at: int, rows: int = 60_000) -> str:
    """A CSV longer than a block of the reader, with one bad cell."""
    lines = [f"r{i},{i}.5,some words to fill a line with" for i in range(rows)]
    lines[at - 1] = f"r{at - 1},{bad},x"
    return "id,x,c\n" + "\n".join(lines) + "\n"


CSVS: dict[str, tuple[str | bytes, int, str]] = {
    "a text among numbers": (_many(SECRET, 50_000), 50_000, "x"),
    "a fraction among integers": ("id,x\n" + "".join(f"{i},{i}\n" for i in range(200_000)) + "z,0.5\n", 200_001, "x"),
    "a missing number": ("id,x\na,1\nb,\n", 2, "x"),
    "a missing id": ("id,x\na,1\n,2\n", 2, "id"),
    "a missing category": ("id,x\na,u\nb,\n", 2, "x"),
    "an infinite number": ("id,x\na,1.5\nb,inf\n", 2, "x"),
    "a short row": (f"id,x,y\na,1,2\nb,{SECRET}\n", 2, "(all)"),
    "a long row": (f"id,x\na,1\nb,2\nc,3,{SECRET}\n", 3, "(all)"),
    "a late short row": (_many("1.5", 1) + f"{SECRET},1\n", 60_001, "(all)"),
    "Latin-1": (b"id,x\na,1\n" + "b\xe9,2\n".encode("latin-1"), 2, "id"),
    "Latin-1 in a category": (b"id,x\na,u\n" + "b,\xe9\n".encode("latin-1"), 2, "x"),
}  # fmt: skip


@pytest.mark.parametrize("what", CSVS)
def test_a_csv_is_refused_by_row_and_column(make: Any, tmp_path: Path, what: str) -> None:
    text, row, column = CSVS[what]
    with pytest.raises(CellInvalid) as caught:
        make.one(_csv(tmp_path, text), ID)
    assert (caught.value.row, caught.value.column) == (row, column)
    assert f"Row {row:,}" in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert not make.folder.exists()


OBJECTS: dict[str, tuple[Any, Ingest, int, str]] = {
    "text among numbers": (pd.DataFrame({"x": [1, 2, SECRET]}), Ingest(), 3, "x"),
    "numbers among text": (pd.DataFrame({"x": [None, SECRET, 2]}), Ingest(nullable=("x",)), 3, "x"),
    "booleans among numbers": ({"x": [1, 2, True]}, Ingest(), 3, "x"),
    "lists among numbers": ({"x": [1, [2]]}, Ingest(), 2, "x"),
    "objects late": ({"x": [1] * 70_000 + [SECRET]}, Ingest(), 70_001, "x"),
    "None": ({"x": [1.5, None]}, Ingest(), 2, "x"),
    "NaN": (np.array([[1.0], [np.nan]]), Ingest(), 2, "x0"),
    "NaN in a tensor": ({"x": np.array([[1.0, 2.0], [1.0, np.nan]])}, Ingest(), 2, "x"),
    "infinity in a tensor": ({"x": np.array([[1.0, 2.0], [1.0, np.inf]])}, Ingest(), 2, "x"),
    "a null in an id": (pa.table({"id": ["a", None]}), ID, 2, "id"),
    "an empty id": (pa.table({"id": ["a", ""]}), ID, 2, "id"),
    "an id of floats": (pa.table({"id": [1.5, 2.5]}), ID, 1, "id"),
    "a missing id of floats": (pd.DataFrame({"id": [1.0, np.nan]}), ID, 2, "id"),
    "no subject": ({"s": ["p", None], "x": [1, 2]}, Ingest(subjects=("s",)), 2, "s"),
    "nullable first subject": ({"s": ["p", None]}, Ingest(subjects=("s",), nullable=("s",)), 2, "s"),
    "an empty list of subjects": (pa.table({"s": [["p"], []]}), Ingest(subjects=("s",)), 2, "s"),
    "a null in a list": (pa.table({"s": [["p"], ["q", None]]}), Ingest(subjects=("s",)), 2, "s"),
    "no tier": (pa.table({"t": ["u", None]}), Ingest(tier="t"), 2, "t"),
    "numbers as text": ({"x": ["a", "b"], "n": [1, 2]}, Ingest(text=("n", "x"), subjects=()), 0, ""),
    "bad UTF-8": (
        pa.table({"x": pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff"]).buffers())}),
        Ingest(),
        2,
        "x",
    ),
}  # fmt: skip
del OBJECTS["numbers as text"]


@pytest.mark.parametrize("what", OBJECTS)
def test_objects_are_refused_by_row_and_column(make: Any, what: str) -> None:
    source, options, row, column = OBJECTS[what]
    with pytest.raises(CellInvalid) as caught:
        make.one(source, options)
    assert (caught.value.row, caught.value.column) == (row, column)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert not make.folder.exists()


def test_ragged_lists_are_no_tensor(make: Any) -> None:
    schema = make.one({"x": np.ones((2, 3))}, None).schema
    with pytest.raises(CellInvalid, match="Row 2, column 'x'") as caught:
        make.one(pa.table({"x": [[1.0] * 3, [1.0] * 2]}), Ingest(schema=schema))
    assert caught.value.row == 2


APPENDS: dict[str, tuple[str, list[Any], int]] = {
    "an unknown class": ("label", ["no", SECRET], 2),
    "numbers for text": ("label", [1, 2], 1),
    "text for numbers": ("pay", [SECRET, SECRET], 1),
    "a fraction for an integer": ("age", [30.0, 30.5], 2),
    "too large for the type": ("pay", [1.0, 1e300], 2),
    "booleans for categories": ("town", [True, False], 1),
    "a missing one": ("age", [30, None], 2),
}


@pytest.mark.parametrize("what", APPENDS)
def test_an_append_must_fit_the_schema(make: Any, what: str) -> None:
    column, cells, row = APPENDS[what]
    first = make.one(make.people(90))
    more = make.people(2).drop_columns([column]).append_column(column, pa.array(cells))
    with pytest.raises(CellInvalid) as caught:
        make.one(more, Ingest(schema=first.schema))
    assert (caught.value.row, caught.value.column) == (row, column)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert not make.folder.exists()


def test_integers_must_fit_their_type(make: Any) -> None:
    schema = make.one({"x": np.array([1, 2], np.uint8)}, None).schema
    with pytest.raises(CellInvalid, match="Row 2"):
        make.one({"x": np.array([1, 256])}, Ingest(schema=schema))


def test_an_undeclared_tier_is_refused(make: Any) -> None:
    options = Ingest(tier="t")
    schema = make.staged({"t": ["u", "v"]}, options).schema
    with pytest.raises(CellInvalid, match="Row 1"):
        make.one({"t": ["w"]}, Ingest(schema=schema))


def test_duplicates_name_the_later_rows(make: Any) -> None:
    table = pa.table({"id": ["a", "b", "a", "c", "b", "a"], "x": [1.0] * 6})
    with pytest.raises(DuplicateSamples) as caught:
        make.one(table, ID)
    assert caught.value.rows == [3, 5, 6]
    assert not caught.value.in_dataset
    assert not make.folder.exists()


def test_duplicates_across_tiers(make: Any) -> None:
    table = pa.table({"id": ["a", "b", "a"], "t": ["u", "u", "v"]})
    with pytest.raises(DuplicateSamples) as caught:
        make.staged(table, Ingest(id="id", tier="t"))
    assert caught.value.rows == [3]


def test_ids_in_the_dataset_and_forgotten_ones(make: Any) -> None:
    first = make.one(make.people(9))
    gone = np.sort(first.find_ids(["s4", "s5"], make.ring))
    options = Ingest(schema=first.schema)
    known = [Known(first, gone)]
    with pytest.raises(DuplicateSamples) as twice:
        make.one(make.people(9).slice(2, 4), options, known=known, number=1)
    assert (twice.value.rows, twice.value.in_dataset) == ([1, 2], True)
    with pytest.raises(SamplesForgotten) as caught:
        make.one(make.people(9).slice(4, 2), options, known=known, number=1)
    assert caught.value.rows == [1, 2]
    assert not make.folder.exists()


def test_an_id_that_is_gone_in_one_batch_and_lives_in_another(make: Any) -> None:
    first, second = make.one(make.people(9)), make.one(make.people(9), number=1)
    known = [Known(first, np.arange(9)), Known(second, np.empty(0, np.int64))]
    for order in (known, known[::-1]):
        with pytest.raises(DuplicateSamples):
            make.one(make.people(1), Ingest(schema=first.schema), known=order, readmit=True)


def test_colliding_hashes_are_named(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ring, "tokens", lambda self, texts: np.zeros(len(texts), np.uint64))
    with pytest.raises(CellInvalid, match="same 64-bit hash") as caught:
        make.one(pa.table({"id": ["a", "b"]}), ID)
    assert caught.value.column == "id"
    first = make.one(pa.table({"id": ["a"]}), ID)
    known = [Known(first, np.empty(0, np.int64))]
    with pytest.raises(CellInvalid, match="same 64-bit hash"):
        make.one(pa.table({"id": ["b"]}), Ingest(schema=first.schema), known=known)


@pytest.mark.parametrize("text", ["", "id,x\n"])
def test_an_empty_csv_is_refused(make: Any, tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceEmpty, match=r"rows\.csv"):
        make.one(_csv(tmp_path, text), ID)
    assert not make.folder.exists()


@pytest.mark.parametrize(
    "source", [iter([]), {}, np.empty((0, 2)), pa.table({"x": pa.array([], pa.int64())})]
)
def test_nothing_is_refused(make: Any, source: Any) -> None:
    with pytest.raises(SourceEmpty):
        make.one(source, None)
    assert not make.folder.exists()


@pytest.mark.parametrize(
    "options",
    [
        Ingest(id="nope"),
        Ingest(subjects=("nope",)),
        Ingest(tier="nope"),
        Ingest(values=("nope",)),
        Ingest(text=("nope",)),
        Ingest(categorical=("nope",)),
        Ingest(nullable=("nope",)),
        Ingest(salts="nope"),
    ],
)
@pytest.mark.parametrize("csv", [False, True])
def test_a_wrong_column_name_is_refused(
    make: Any, tmp_path: Path, options: Ingest, csv: bool
) -> None:
    source: Any = _csv(tmp_path, "x,y\n1,2\n") if csv else {"x": [1], "y": [2]}
    with pytest.raises(ColumnUnknown, match=r"'nope'.*'x', 'y'"):
        make.one(source, options)
    assert not make.folder.exists()


def test_columns_must_be_those_of_the_schema(make: Any) -> None:
    schema = make.one(make.people(30)).schema
    with pytest.raises(ColumnUnknown, match="'age'"):
        make.one(make.people(2).drop_columns(["age"]), Ingest(schema=schema))
    with pytest.raises(SchemaMismatch, match="'more'"):
        make.one(make.people(2).append_column("more", pa.array([1, 2])), Ingest(schema=schema))


SOURCES: dict[str, tuple[Any, Ingest]] = {
    "dates": (pa.table({"x": pa.array([1], pa.date32())}), Ingest()),
    "a column without values": ({"x": [None, None]}, Ingest(nullable=("x",))),
    "a name of ours": ({"expunge:key": [1]}, Ingest()),
    "our id": ({"sample_id": ["a"]}, Ingest()),
    "twice the same name": (pd.DataFrame([[1, 2]], columns=["x", "x"]), Ingest()),
    "different lengths": ({"x": [1], "y": [1, 2]}, Ingest()),
    "too many categories": ({"x": [f"c{i}" for i in range(10_001)]}, Ingest()),
    "two lists": (pa.table({"s": [["p"]], "t": [["q"]]}), Ingest(subjects=("s", "t"))),
    "salts of another size": ({"salt": [b"short"]}, Ingest(salts="salt")),
    "changing columns": ([pa.record_batch({"x": [1]}), pa.record_batch({"y": [1]})], Ingest()),
}


@pytest.mark.parametrize("what", SOURCES)
def test_a_source_that_fits_no_schema(make: Any, what: str) -> None:
    with pytest.raises(SchemaMismatch):
        make.one(*SOURCES[what])
    assert not make.folder.exists()


def test_free_text_says_how_to_declare_it(make: Any) -> None:
    with pytest.raises(SchemaMismatch, match=r"text=\['x'\]"):
        make.one(*SOURCES["too many categories"])


def test_a_repeated_header(make: Any, tmp_path: Path) -> None:
    with pytest.raises(SchemaMismatch, match="twice"):
        make.one(_csv(tmp_path, "id,x,x\na,1,2\n"), ID)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.parquet", b"no"), ("a.arrow", b"no"), ("a.xls", b"no"), ("a.csv.gz", b"no")],
)
def test_damaged_and_unknown_files(make: Any, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"a\."):
        make.one(tmp_path / name, None)
    assert not make.folder.exists()


def test_a_file_that_is_not_there(make: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no file"):
        make.one(tmp_path / "no.csv", None)
    assert not make.folder.exists()


@pytest.mark.parametrize("source", [17, [1, 2], np.zeros(3)])
def test_what_is_no_source(make: Any, source: Any) -> None:
    with pytest.raises(InputError):
        make.one(source, None)


def test_one_role_each() -> None:
    with pytest.raises(SchemaMismatch, match="two roles"):
        Ingest(id="a", subjects=("a",))
    with pytest.raises(ValueError, match="slices"):
        Ingest(slices=0)


def test_an_error_of_the_source_leaves_nothing(make: Any) -> None:
    def broken() -> Any:
        yield make.people(5).to_batches()[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make.one(broken())
    assert not make.folder.exists()


def test_a_helper_that_dies_is_an_error(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from expunge.data import ingest, worker

    monkeypatch.setattr(ingest, "_HELP_FROM_ROWS", 1)

    class Dying(worker.Helper):
        def __init__(self, ring: Ring) -> None:
            super().__init__(ring)
            self._process.kill()

    monkeypatch.setattr(ingest, "Helper", Dying)
    with pytest.raises(WorkerFailed):
        make.one(make.people(100).to_batches(max_chunksize=10))
    assert not make.folder.exists()


def test_a_newer_format_is_refused(make: Any) -> None:
    from expunge.data.batch import META, Batch

    batch = make.one(make.people(5))
    meta = batch.folder / META
    meta.write_text(meta.read_text().replace('"format":1', '"format":2'))
    with pytest.raises(FormatUnsupported, match="format 2"):
        Batch(batch.folder)
