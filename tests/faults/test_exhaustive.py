"""Killed before every change of disk or database, and in the midst of every write.

A part of these moments; all of them in ``make test-all``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("exhaust.py")


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize(
    ("scenario", "kinds"),
    [
        ("forget", {"write", "sync", "truncate", "commit", "scrub"}),
        ("append", {"write", "sync", "replace", "sync_folder", "remove", "commit"}),
        ("correct", {"write", "sync", "replace", "remove", "truncate", "commit", "scrub"}),
        ("first", {"write", "sync", "replace", "commit"}),
    ],
)
def test_a_home_survives_a_kill_at_every_moment(
    scenario, kinds, every, tmp_path, record_property, answer_of
):
    answer = answer_of(SCRIPT, scenario, tmp_path, every)
    record_property("cases", answer["points"])
    sys.stdout.write(f"{scenario}: killed at {answer['points']} moments, {answer['kinds']}\n")
    assert answer["failures"] == []
    assert kinds <= answer["kinds"].keys()
    assert answer["points"] * every >= sum(answer["kinds"].values()) > 10
    # Both outcomes occur, and what was accepted once is never lost by a later death.
    assert 0 < answer["begun"] < answer["points"]
    assert answer["once_begun_always"]
