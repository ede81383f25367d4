"""The commands, one after the other, as people call them."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from expunge.cli import serving
from expunge.home import Home

from .conftest import BAYES, TRAIN, people, write  # noqa: TID252 - tests are no package


def test_the_main_job(trained, answer, call):
    status = answer("status")
    assert [d["rows"] for d in status["datasets"]] == [240]
    assert [m["whole"] for m in status["models"]] == [True]
    assert status["next"] == "expunge verify income"

    done = answer("forget", "--subject", "p-017")
    assert (done["samples"], done["already"], done["state"]) == (3, 0, "done")
    assert done["recovery"]["rows"] == 3
    assert done["recovery"]["frames"] >= 1
    assert done["models"][0]["before"] != done["models"][0]["after"]

    found = answer("verify", "income")
    assert found["exact"]
    assert found["verdict"] == "exact"
    assert answer("status")["datasets"][0]["forgotten"] == 3


def test_what_waits_is_shown_and_finished(trained, answer, call):
    done = answer("forget", "r-0003", "--no-wait")
    assert (done["state"], "recovery" in done) == ("forgotten", False)

    status = answer("status")
    assert status["next"] == "expunge recover"
    assert status["models"][0]["unfinished"] == 1
    assert [r["samples"] for r in status["open_requests"]] == [1]
    shown = call("status").stdout
    assert "1 shard to build" in shown
    assert "open" in shown

    assert answer("verify", "income", code=1)["verdict"] == "not-whole"
    assert "not yet" in call("verify", "income").stdout
    assert answer("recover")["rows"] == 1
    assert "nothing is left" in call("recover").stdout
    assert answer("verify", "income")["exact"]
    assert "yes: byte for byte" in call("verify", "income").stdout


def test_forgetting_again_does_nothing(trained, answer, call):
    answer("forget", "r-0003")
    assert answer("forget", "r-0003")["already"] == 1
    assert "1 row was forgotten before" in call("forget", "r-0003").stdout


@pytest.mark.parametrize("ending", ["txt", "csv", "tsv", "csv.gz"])
def test_ids_come_from_files(trained, answer, ending):
    lines = ["r-0001", "r-0002", ""]
    options = []
    if ending != "txt":
        mark = "\t" if ending == "tsv" else ","
        lines = [f"n{mark}id", f"1{mark}r-0001", f"2{mark}r-0002"]
        options = ["--column", "id"]
    text = "\r\n".join(lines)
    path = trained / f"ids.{ending}"
    path.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    assert answer("forget", "--file", path.name, *options)["samples"] == 2


def test_ids_stream_in(trained, answer):
    given = "".join(f"r-{i:04d}\n" for i in range(7))
    done = answer("forget", "--file", "-", "--every", "3", given=given)
    assert (done["samples"], len(done["requests"])) == (7, 3)
    done = answer("forget", "--subject-file", "-", given="p-020\np-021\n")
    assert (done["samples"], len(done["requests"])) == (6, 1)


def test_everything_can_be_forgotten(trained, answer, call):
    rows = "".join(f"{row[0]}\n" for row in people()[1:])
    done = answer("forget", "--file", "-", given=rows)
    assert done["samples"] == 240
    assert done["models"][0]["withdrawn"]
    assert call("predict", "income", "people.csv").exit_code == 3
    assert answer("predict", "income", "people.csv", code=3)["error"]["code"] == "model-withdrawn"
    assert answer("status")["models"][0]["withdrawn"]
    assert "withdrawn" in call("status").stdout


def test_the_last_of_a_class_is_told(folder, answer, call):
    table = people(60)
    for row in table[1:]:
        row[5] = "low"
    table[1][5] = "high"
    write(folder / "people.csv", table)
    answer("ingest", "people", "people.csv", "--id", "row", "--value", "income")
    answer(*TRAIN)
    done = call("forget", "r-0000")
    assert done.exit_code == 0, done.output
    assert "1 declared value of column 'income' lost the last row" in done.stdout


def test_predictions_are_printed_collected_or_written(trained, answer, call):
    rows = write(trained / "new.csv", people(9))
    printed = list(csv.DictReader(call("predict", "income", rows.name).stdout.splitlines()))
    assert [row["row"] for row in printed] == [f"r-{i:04d}" for i in range(9)]
    assert {row["prediction"] for row in printed} <= {"high", "low"}

    found = answer("predict", "income", rows.name, "--proba")
    assert set(found["predictions"]) == {"row", "high", "low"}
    pairs = zip(found["predictions"]["high"], found["predictions"]["low"], strict=True)
    assert all(a + b == pytest.approx(1) for a, b in pairs)
    assert len(found["versions"]) == 1

    for name in ("out.csv", "out.parquet"):
        assert answer("predict", "income", rows.name, "--out", name)["out"] == name
    assert list(csv.DictReader(Path("out.csv").read_text().splitlines())) == printed
    assert pq.read_table("out.parquet").to_pylist() == printed
    assert not list(trained.glob(".*.part"))
    assert "9 rows predicted" in call("predict", "income", rows.name, "--out", "out.csv").stdout


def test_a_row_that_cannot_be_predicted_leaves_no_file(trained, call):
    table = people(9)
    table[5][2] = ""
    write(trained / "new.csv", table)
    done = call("predict", "income", "new.csv", "--out", "out.csv")
    assert done.exit_code == 2
    assert "Row 5, column 'age'" in done.stderr
    assert not list(trained.glob("*out.csv*"))


def test_regression_and_filters(trained, answer, call):
    answer(
        *("train", "hours", "--target", "hours", "--learner", "sklearn.linear_model.Ridge"),
        *("--set", "alpha=0.5", "--feature", "age", "--where", "age >= 30", "--shards", "2"),
        *("--slices", "2", "--purpose", "planning"),
    )
    found = answer("predict", "hours", "people.csv")["predictions"]["hours"]
    assert all(isinstance(one, float) for one in found)
    assert answer("predict", "hours", "people.csv", "--proba", code=2)["error"]["exit"] == 2


def test_rows_are_corrected(trained, answer, call):
    table = people()
    table[4][2] = "77"
    write(trained / "fix.csv", [table[0], table[4]])
    done = answer("correct", "fix.csv")
    assert (done["samples"], done["state"]) == (1, "done")
    assert answer("status")["datasets"][0]["rows"] == 240
    assert answer("verify", "income")["exact"]
    assert "Corrected 1 sample" in call("correct", "fix.csv", "--no-wait").stdout


def test_appended_rows_are_trained_when_asked(trained, answer):
    table = people(300)
    write(trained / "more.csv", [table[0], *table[241:]])
    assert answer("ingest", "people", "more.csv", "--slices", "2")["rows"] == 300
    assert answer("status")["models"][0]["unfinished"] == 4
    assert answer(*TRAIN)["samples"] == 300


def test_a_forgotten_id_comes_back_only_when_readmitted(trained, answer):
    answer("forget", "r-0000")
    table = people()
    write(trained / "back.csv", table[:2])
    told = answer("ingest", "people", "back.csv", code=2)["error"]
    assert told["code"] == "samples-forgotten"
    assert "--readmit" in told["message"]
    assert answer("ingest", "people", "back.csv", "--readmit")["rows"] == 240


def test_a_schema_is_taken_from_where_it_was_shown(trained, answer, monkeypatch):
    shown = answer("status")["datasets"][0]
    (trained / "schema.json").write_text(json.dumps(shown))
    again = answer("ingest", "again", "people.csv", "--schema", "schema.json")
    assert again["schema"]["columns"] == shown["schema"]["columns"]
    (trained / "schema.json").write_text("[]")
    assert answer("ingest", "other", "people.csv", "--schema", "schema.json", code=2)


def test_an_empty_home_says_what_comes_first(folder, answer, call):
    write(folder / "empty.csv", people(0))
    assert answer("ingest", "people", "empty.csv", code=2)["error"]["code"] == "source-empty"
    assert answer("status")["next"].startswith("expunge ingest")
    write(folder / "people.csv", people())
    shown = call("ingest", "people", "people.csv", "--id", "row").stdout
    assert "people holds 240 rows" in shown
    assert answer("status")["next"].startswith("expunge train")


def test_several_datasets_need_a_name(trained, answer):
    answer("ingest", "others", "people.csv", "--id", "row")
    told = answer("forget", "r-0000", code=2)["error"]["message"]
    assert told == "Say --dataset: this home has 2 datasets: 'others', 'people'."
    assert answer("forget", "r-0000", "--dataset", "people")["samples"] == 1


ERRORS = {
    "no such home": (["status", "--home", "nowhere"], 2, "There is no home at 'nowhere'"),
    "no such file": (["ingest", "x", "nowhere.csv"], 2, "There is no file"),
    "no such model": (["verify", "nothing"], 2, "No model 'nothing'"),
    "no such dataset": (["forget", "a", "--dataset", "z"], 2, "No dataset 'z'"),
    "nothing named": (["forget"], 2, "Name at least one"),
    "unknown ids": (["forget", "r-0001", "me@x.org"], 2, "number 2 of those given"),
    "unknown subjects": (["forget", "--subject", "me@x.org"], 2, "1 subjects are not in"),
    "no column": (["forget", "--file", "people.csv"], 2, "Say --column"),
    "wrong column": (["forget", "--file", "people.csv", "--column", "z"], 2, "No column 'z'"),
    "another recipe": ([*TRAIN, "--seed", "9"], 2, "There is a model 'income' already"),
    "no learner": (["train", "x", "--target", "age", "--learner", "magic"], 2, "No learner"),
    "no estimator": (["train", "x", "--target", "age", "--learner", "sklearn"], 2, "import path"),
    "no module": (["train", "x", "--target", "age", "--learner", "a.B"], 2, "no module 'a'"),
    "no class": (["train", "x", "--target", "age", "--learner", "sklearn.B"], 2, "no class 'B'"),
    "no setting": ([*TRAIN, "--set", "z=1"], 2, "has no setting 'z'"),
    "no pair": ([*TRAIN, "--set", "z"], 2, "is no key=value"),
    "no condition": ([*TRAIN, "--where", "age"], 2, "is no condition"),
    "no ending": (["predict", "income", "people.csv", "--out", "x.doc"], 2, "another ending"),
    "duplicates": (["ingest", "people", "people.csv"], 2, "use `expunge correct`"),
    "no option": (["status", "--bogus"], 2, "No such option"),
    "no target": (["train", "x", "--learner", "xgboost"], 2, "Missing option"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_message_and_a_code(trained, call, case):
    arguments, code, words = ERRORS[case]
    plain = call(*arguments)
    assert plain.exit_code == code
    assert words in " ".join(plain.stderr.split())
    assert plain.stdout == ""
    assert "Traceback" not in plain.stderr
    assert "me@x.org" not in plain.stderr

    told = call(*arguments, "--json")
    assert told.exit_code == code
    assert words in json.loads(told.stdout)["error"]["message"]


def test_a_fault_is_named_without_its_text(trained, call, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("could not read 'Jane Doe'")

    monkeypatch.setattr(Home, "recover", fail)
    done = call("recover")
    assert done.exit_code == 4
    assert "RuntimeError at" in done.stderr
    assert "Jane" not in done.output
    monkeypatch.setenv("EXPUNGE_TRACEBACK", "1")
    assert isinstance(call("recover").exception, RuntimeError)


def test_a_file_that_may_not_be_read_is_bad_input(trained, call, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "people.csv")

    monkeypatch.setattr(Home, "ingest", refuse)
    done = call("ingest", "x", "people.csv")
    assert (done.exit_code, done.stderr.strip()) == (2, "error  Permission denied 'people.csv'.")


@pytest.mark.parametrize(
    ("method", "arguments", "kept"),
    [
        ("train", TRAIN, "Finished checkpoints are kept"),
        ("recover", ["recover"], "Go on with `expunge recover`"),
        ("recover", ["forget", "r-0000"], "No served model has seen"),
        ("ingest", ["ingest", "x", "people.csv"], "The dataset is as it was"),
        ("verify", ["verify", "income"], "Nothing was changed"),
        ("requests", ["status"], "Run the same command again"),
    ],
)
def test_interrupting_says_what_is_kept(trained, call, monkeypatch, method, arguments, kept):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Home, method, stop)
    done = call(*arguments)
    assert done.exit_code == 130
    assert kept in done.stderr
    told = call(*arguments, "--json")
    assert json.loads(told.stdout)["error"]["code"] == "interrupted"


def test_a_missing_framework_is_unavailable(trained, call, monkeypatch):
    from expunge.cli import learners

    def missing(_: str) -> None:
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")

    monkeypatch.setattr(learners, "_imported", missing)
    done = call("train", "x", "--target", "income", "--learner", BAYES)
    assert done.exit_code == 3
    assert "pip install 'expunge[sklearn]'" in done.stderr


SERVER = "postgresql://nobody@127.0.0.1:1/x"


LACKS = {
    "psycopg": ("", ["status", "--home", SERVER, "--files", "files"], "postgres"),
    "pydantic_settings": ("expunge.service.settings", ["serve"], "service"),
    "structlog": ("expunge.service.logs", ["worker"], "service"),
    "uvicorn": ("expunge.api.server", ["serve"], "service"),
}


@pytest.mark.parametrize("module", LACKS)
def test_a_missing_extra_is_named(trained, call, monkeypatch, module):
    ours, arguments, extra = LACKS[module]
    monkeypatch.setitem(sys.modules, module, None)
    if ours:
        monkeypatch.delitem(sys.modules, ours, raising=False)
        monkeypatch.delattr(ours, raising=False)
    if module != "structlog":
        monkeypatch.setattr(serving, "_log", lambda _: None)
    done = call(*arguments)
    assert done.exit_code == 3
    assert f"pip install 'expunge[{extra}]'" in done.stderr
    assert "fault of ours" not in done.stderr


def test_our_warnings_are_notes(folder, call):
    table = people(30)
    for row in table[1:]:
        row[1] = "p-000"
    write(folder / "one.csv", table)
    done = call("ingest", "one", "one.csv", "--id", "row", "--subject", "person")
    assert done.exit_code == 0
    assert done.stderr.startswith("note   One subject has 30 of 30 rows")


def test_a_floor_is_put_under_a_model_shown_and_taken_away(trained, answer, call):
    write(trained / "held.csv", people(60))
    schema = answer("status")["datasets"][0]["schema"]
    (trained / "schema.json").write_text(json.dumps(schema))
    answer("ingest", "held", "held.csv", "--schema", "schema.json")
    gate = {"model": "income", "metric": "accuracy", "floor": 0.5, "dataset": "held"}
    assert answer("gate", "income") == {"model": "income", "gate": None}
    assert answer("gate", "income", "--open", code=2)["error"]["code"] == "unknown-name"
    assert answer("gate", "income", "--floor", "0.5", "--on", "held")["gate"] == gate
    assert answer("gate", "income")["gate"] == gate
    assert "accuracy 0.5 on held" in call("gate", "income").stdout
    assert answer("gate", "income", "--open")["gate"] is None
    assert "No floor" in call("gate", "income").stdout
    for wrong in (
        ["--floor", "0.5"],
        ["--on", "held"],
        ["--open", "--on", "held"],
        ["--open", "--floor", "0.5", "--on", "held"],
        ["--floor", "2", "--on", "held"],
        ["--floor", "0.5", "--on", "people"],
    ):
        assert call("gate", "income", *wrong).exit_code == 2
    assert answer("gate", "income")["gate"] is None
