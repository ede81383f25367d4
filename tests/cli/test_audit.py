"""The command that audits scores, as people call it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

import expunge
from expunge.cli import auditing
from expunge.cli.endings import Exit
from expunge.verify import page, scores
from expunge.verify.report import Report

from .conftest import people, write  # noqa: TID252 - tests are no package

Call = Callable[..., Result]
Answer = Callable[..., dict[str, Any]]


def rows(folder: Path, count: int, shift: float, name: str = "scores.npz") -> str:
    draw = np.random.default_rng(1)
    unseen = draw.normal(0, 1, count)
    np.savez(
        folder / name,
        forgotten=draw.normal(shift, 1, count),
        unseen=unseen,
        retained=draw.normal(2, 1, count),
    )
    return name


@pytest.mark.parametrize(
    ("rows_of", "ends"),
    [
        ((4_000, 0.0), ("passed", 0)),
        ((400, 2.0), ("failed", 1)),
        ((30, 0.0), ("inconclusive", 5)),
    ],
)
def test_each_verdict_has_an_exit_code(
    folder: Path, call: Call, answer: Answer, rows_of: tuple[int, float], ends: tuple[str, int]
) -> None:
    verdict, code = ends
    file = rows(folder, *rows_of)
    body = answer("audit", "--scores", file, code=code)
    assert body["verdict"] == verdict
    assert Report.from_json(body).subject == "scores.npz"
    shown = call("audit", "--scores", file)
    assert shown.exit_code == code
    assert f"{verdict.capitalize()}." in shown.stdout
    assert set(auditing.ENDINGS) == set(page.ANSWERS)


def test_the_page_is_the_report(folder: Path, call: Call, answer: Answer) -> None:
    file = rows(folder, 400, 2.0)
    body = answer("audit", "income", "--scores", file, "--html", "audit.html", code=1)
    assert body.pop("html") == "audit.html"
    assert (folder / "audit.html").read_text("utf-8") == page.render(Report.from_json(body))
    assert "“income”" in (folder / "audit.html").read_text("utf-8")
    shown = call("audit", "--scores", file, "--html", "other.html")
    assert "Page: other.html" in shown.stdout
    assert "Audit of forgetting" in (folder / "other.html").read_text("utf-8")


def test_options_are_what_was_fixed_beforehand(folder: Path, answer: Answer) -> None:
    draw = np.random.default_rng(2)
    losses = {name: draw.exponential(1, 300).tolist() for name in ("forgotten", "unseen")}
    (folder / "s.json").write_text(json.dumps(losses))
    options = ("--kind", "loss", "--margin", "0.2", "--fpr", "0.05")
    body = answer("audit", "--scores", "s.json", *options)
    fixed = {name: body["settings"][name] for name in ("kind", "margin", "fpr")}
    assert fixed == {"kind": "loss", "margin": 0.2, "fpr": 0.05}
    assert {check["margin"] for check in body["checks"] if check["value"] is not None} == {0.2}


def test_without_a_model_or_scores_it_says_what_it_needs(call: Call, answer: Answer) -> None:
    shown = call("audit")
    assert shown.exit_code == Exit.INPUT
    assert "--scores FILE" in shown.output
    assert "--scores" in answer("audit", code=2)["error"]["message"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--scores", "none.npz"), "none.npz"),
        (("--scores", "scores.npz", "--kind", "entropy"), "is not known"),
        (("--scores", "scores.npz", "--margin", "0.9"), "below 0.5"),
        (("--scores", "scores.npz", "--fpr", "0"), "above 0"),
        (("--scores", "bad.csv"), "first line"),
    ],
)
def test_bad_input_is_said_and_leaves_no_page(
    folder: Path, answer: Answer, options: tuple[str, ...], said: str
) -> None:
    rows(folder, 30, 0.0)
    (folder / "bad.csv").write_text("1\n2\n")
    body = answer("audit", *options, "--html", "audit.html", code=2)
    assert said in body["error"]["message"]
    assert not (folder / "audit.html").exists()


def test_the_example_of_the_page_comes_out_as_it_says(folder: Path, answer: Answer) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/audit.md").read_text("utf-8")
    text = text[text.index("## Making one, from scores") :]
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    subprocess.run([sys.executable, "-c", program], check=True, cwd=folder, timeout=200)
    (console,) = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    commands = [shlex.split(line)[2:] for line in console.splitlines()]
    passed, failed = (answer(*line, code=code) for line, code in zip(commands, (0, 1), strict=True))
    assert (passed["verdict"], failed["verdict"]) == ("passed", "failed")
    assert (folder / "forgot.html").exists()
    for body, said in ((passed, "0.489"), (failed, "0.755")):
        assert f"{body['checks'][0]['value']:.3f}" == said
        assert said in text
    low, high = passed["checks"][0]["null"]
    assert f"{low:.3f} to {high:.3f}" in text


def test_the_page_of_formats_can_be_read(folder: Path) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/audit.md").read_text("utf-8")
    (table,) = re.findall(r"```\n(array,model,score\n.*?)```", text, re.DOTALL)
    (obj,) = re.findall(r"one object of lists: `(.*?)`\.", text)
    (folder / "s.csv").write_text(table)
    (folder / "s.json").write_text(obj)
    first, second = (scores.read(folder / name).arrays for name in ("s.csv", "s.json"))
    assert {name: array.tolist() for name, array in first.items()} == {
        name: array.tolist() for name, array in second.items()
    }
    for name in (*scores.VECTORS, *scores.POPULATIONS, *scores.KINDS):
        assert f"`{name}`" in text


def forgetting(folder: Path, call: Call, answer: Answer) -> None:
    """Some of the people are forgotten, and held still; others were never there."""
    everybody = people(300)
    write(folder / "strangers.csv", everybody[:1] + everybody[241:])
    write(folder / "gone.csv", everybody[:13])
    forgotten = [f"--subject=p-{number:03d}" for number in range(4)]
    answer("forget", *forgotten, "--undo", "1h")
    assert call("recover").exit_code == 0


def reported(call: Call, *arguments: str) -> dict[str, Any]:
    """The report, and the page's place; the exit code is that of the verdict."""
    result = call(*arguments, "--json")
    body: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == int(auditing.ENDINGS[body["verdict"]])
    return body


def test_a_model_of_a_home_is_audited_and_the_ledger_knows(
    trained: Path, answer: Answer, call: Call
) -> None:
    forgetting(trained, call, answer)
    few = ("--shadows", "4", "--retrains", "2", "--html", "income.html")
    body = reported(call, "audit", "income", "--unseen", "strangers.csv", *few)
    report = Report.from_json({name: value for name, value in body.items() if name != "html"})
    assert report.subject == "income"
    assert report.settings["forgotten"] == "held"
    assert {"membership", "gold-standard", "retained"} <= {check.group for check in report.checks}
    assert report.verdict != "failed"  # it was built again without them
    assert "income" in (trained / "income.html").read_text()
    with expunge.open("home") as home:
        told = [fact.body["method"] for fact in home.facts() if fact.kind == "audit.finished"]
    assert set(told) == {"membership", "gold-standard"}


def test_forgotten_rows_can_be_given(trained: Path, answer: Answer, call: Call) -> None:
    forgetting(trained, call, answer)
    few = ("--shadows", "4", "--retrains", "2")
    body = reported(call, "audit", "income", "--forgot", "gone.csv", *few)
    assert body["settings"]["forgotten"] == "given"
    for wrong, words in (
        (("income", "--forgot", "nobody.csv"), "nobody.csv"),
        (("outcome",), "outcome"),
        (("income", "--shadows", "5"), "even"),
    ):
        refused = call("audit", *wrong)
        assert refused.exit_code == Exit.INPUT
        assert words in refused.output
