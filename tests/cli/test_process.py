"""The script as a process of its own, with worker processes, Ctrl-C included."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .conftest import BAYES, people, write  # noqa: TID252 - tests are no package

TRAIN = [
    *("train", "income", "--target", "income", "--learner", "torch", "--set", "module=linear"),
    *("--set", "epochs=3", "--shards", "3", "--slices", "2", "--workers", "1"),
]


def command(*arguments: str) -> list[str]:
    return [
        sys.executable,
        "-c",
        "from expunge.cli import app; app(prog_name='expunge')",
        *arguments,
    ]


def run(folder: Path, *arguments: str, code: int = 0) -> Any:
    done = subprocess.run(
        command(*arguments, "--json"),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_interrupted_training_resumes_and_forgets(tmp_path: Path) -> None:
    write(tmp_path / "people.csv", people(90))
    run(tmp_path, "ingest", "people", "people.csv", "--id", "row", "--subject", "person")

    training = subprocess.Popen(
        command(*TRAIN, "--set", "epochs=100000"),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("expunge-home/models/*/*.pack")):  # its first unit has begun
        assert time.monotonic() < deadline
        assert training.poll() is None
        time.sleep(0.1)
    os.kill(training.pid, signal.SIGINT)
    _, said = training.communicate(timeout=120)
    assert training.returncode == 130, said
    assert "Run the same command again to resume" in said
    assert "Traceback" not in said

    bayes = ["train", "other", "--target", "income", "--learner", BAYES, "--workers", "1"]
    assert run(tmp_path, *bayes)["whole"]
    assert run(tmp_path, "forget", "--subject", "p-007", "--no-wait")["samples"] == 3
    models = {model["model"]: model for model in run(tmp_path, "status")["models"]}
    assert models["income"]["version"] is None  # the training that was interrupted goes on later
    assert models["other"]["samples"] < 90
