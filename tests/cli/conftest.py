from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from expunge.cli import app, common
from expunge.execution.local import Inline

BAYES = "sklearn.naive_bayes.GaussianNB"
JOBS = ("clerk", "nurse", "smith")


def people(rows: int = 240) -> list[list[str]]:
    """A header, and rows of made-up people: three each, with an income that can be learnt."""
    table = [["row", "person", "age", "job", "hours", "income"]]
    for i in range(rows):
        age, job, hours = 18 + i * 7 % 60, JOBS[i % 3], 10 + i * 11 % 50
        income = "high" if age / 2 + hours + 10 * (job == "smith") > 60 else "low"
        table.append([f"r-{i:04d}", f"p-{i // 3:03d}", str(age), job, str(hours), income])
    return table


def write(path: Path, table: list[list[str]]) -> Path:
    path.write_text("".join(",".join(row) + "\n" for row in table), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; training runs in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXPUNGE_HOME", "home")
    monkeypatch.setattr(common, "executor", lambda workers: Inline())
    return tmp_path


@pytest.fixture
def call(folder: Path) -> Callable[..., Result]:
    """Run one command."""

    def run(*arguments: str, given: str | None = None) -> Result:
        return CliRunner().invoke(app, list(arguments), input=given)

    return run


@pytest.fixture
def answer(call: Callable[..., Result]) -> Callable[..., dict[str, Any]]:
    """Run one command with --json that must succeed; its answer."""

    def run(*arguments: str, given: str | None = None, code: int = 0) -> dict[str, Any]:
        result = call(*arguments, "--json", given=given)
        assert result.exit_code == code, result.output
        value: dict[str, Any] = json.loads(result.stdout)
        return value

    return run


@pytest.fixture
def trained(folder: Path, answer: Callable[..., dict[str, Any]]) -> Path:
    """The working folder, with a dataset ``people`` and a model ``income``."""
    write(folder / "people.csv", people())
    answer("ingest", "people", "people.csv", "--id", "row", "--subject", "person")
    answer(*TRAIN)
    return folder


TRAIN = (
    *("train", "income", "--dataset", "people", "--target", "income", "--learner", BAYES),
    *("--shards", "4", "--slices", "3"),
)
