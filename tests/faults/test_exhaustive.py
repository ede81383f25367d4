"""Killed before every change of disk or database, and in the midst of every write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("exhaust.py")


@pytest.mark.parametrize(
    ("scenario", "kinds"),
    [
        ("forget", {"write", "sync", "truncate", "commit", "scrub"}),
        ("append", {"write", "sync", "replace", "sync_folder", "remove", "commit"}),
        ("correct", {"write", "sync", "replace", "remove", "truncate", "commit", "scrub"}),
        ("first", {"write", "sync", "replace", "commit"}),
    ],
)
def test_a_home_survives_a_kill_at_every_moment(scenario, kinds, tmp_path, record_property):
    answer = _run(scenario, tmp_path)
    record_property("cases", answer["points"])
    sys.stdout.write(f"{scenario}: killed at {answer['points']} moments, {answer['kinds']}\n")
    assert answer["failures"] == []
    assert kinds <= answer["kinds"].keys()
    assert answer["points"] >= sum(answer["kinds"].values()) > 10
    # Both outcomes occur, and what was accepted once is never lost by a later death.
    assert 0 < answer["begun"] < answer["points"]
    assert answer["once_begun_always"]


def _run(scenario: str, folder: Path) -> dict:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), scenario, str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)
