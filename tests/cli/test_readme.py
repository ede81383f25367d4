"""README's main job runs as printed, in Python and in a shell, on fewer shards and trees."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import people, write  # noqa: TID252 - tests are no package

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
STARTED = (ROOT / "docs/getting-started.md").read_text()
SMALLER = {
    "rounds=100": "rounds=6",
    "shards=20": "shards=2",
    "--shards 20": "--shards 2",
    "--slices 5": "--slices 2",
}


def block(language: str, holding: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    text = next(one for one in found if holding in one)
    for large, small in SMALLER.items():
        text = text.replace(large, small)
    return text


def run(folder: Path, arguments: list[str]) -> str:
    done = subprocess.run(
        arguments,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _filled(word: str, printed: list[str]) -> str:
    """What README calls REQUEST and KEY, as the commands before have printed it."""
    whole = "\n".join(printed)
    if word == "REQUEST":
        return re.findall(r"certificate save ([0-9a-f-]{36})", whole)[-1]
    return re.findall(r"^expunge/\S+$", whole, re.MULTILINE)[-1] if word == "KEY" else word


def test_the_main_job_in_python(tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    write(tmp_path / "people.csv", people())
    code = block("python", "expunge.open")
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    printed = run(tmp_path, [sys.executable, "-c", code]).splitlines()
    assert printed[0] in {"['high']", "['low']"}
    assert re.fullmatch(r"clean after [\d.]+ ms", printed[1])
    assert printed[2] == "True"


def test_the_main_job_in_a_shell(tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    table = people()
    write(tmp_path / "people.csv", table)
    write(tmp_path / "new_people.csv", table[:4])
    lines = block("console", "expunge ingest").splitlines()
    commands = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    assert len(commands) >= 5
    start = [sys.executable, "-c", "from expunge.cli import app; app(prog_name='expunge')"]
    printed: list[str] = []
    for program, *arguments in commands:
        assert program == "expunge"
        filled = [_filled(word, printed) for word in arguments]
        printed.append(run(tmp_path, [*start, *filled]))
    assert any("yes: byte for byte" in one for one in printed)
    assert "Verified. Evidence: level 7 of 8" in printed[-1]

    code = re.findall(r"```python\n(.*?)```", STARTED, re.DOTALL)[0]
    assert run(tmp_path, [sys.executable, "-c", code]).startswith("[[0.")


def test_the_service_is_that_of_the_page_whose_commands_run() -> None:
    page = (ROOT / "docs/how-to/run-the-service.md").read_text()
    section = README.partition("## As a service\n")[2].partition("\n## ")[0]
    for said in (
        "expunge keys create crm --scope unlearn:submit --scope read --json | jq -r .key",
        "expunge serve --port 8000 --regime gdpr",
        """-d '{"sample_id": "UUID-1234", "method": "sisa"}'""",
    ):
        assert said in section
        assert said in page


def test_the_page_on_convex_models_runs(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    write(tmp_path / "people.csv", people())
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/convex.md").read_text(), re.DOTALL)
    assert run(tmp_path, [sys.executable, "-c", code]) == "True\n"


def test_the_example_of_a_certified_model_runs(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/certified.md").read_text(), re.DOTALL
    )
    assert run(tmp_path, [sys.executable, "-c", code]) == "['yes', 'yes', 'no']\n"


def test_the_page_on_sums_runs(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    write(tmp_path / "people.csv", people())
    page = (ROOT / "docs/sums.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert run(tmp_path, [sys.executable, "-c", code]) == "True\n"
    (line,) = re.findall(r"`expunge (train income .*?)`", page)
    start = [sys.executable, "-c", "from expunge.cli import app; app(prog_name='expunge')"]
    other = [word.replace("income", "other", 1) for word in shlex.split(line)[:2]]
    told = run(tmp_path, [*start, *other, *shlex.split(line)[2:], "--home", "home"])
    assert "other" in told
