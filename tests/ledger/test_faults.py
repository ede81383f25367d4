"""Killed before every change of disk or database, and in the midst of every write.

A part of these moments; all of them in ``make test-all``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kill_append.py")


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize(
    ("scenario", "step"),
    # Its files are written by several threads, in no order: a part will do.
    [("open", 1), ("append", 1), ("fill", 1), ("bulk", 6), ("rotate", 1), ("certificate", 1)],
)
def test_a_ledger_survives_a_kill_at_every_moment(
    scenario, step, every, tmp_path, record_property, answer_of
):
    answer = answer_of(SCRIPT, scenario, tmp_path, step * every)
    record_property("cases", answer["points"])
    sys.stdout.write(f"{scenario}: killed at {answer['points']} moments, {answer['kinds']}\n")
    assert answer["failures"] == []
    assert {"write", "sync", "replace", "sync_folder", "commit"} <= answer["kinds"].keys()
    assert "remove" in answer["kinds"] or scenario != "fill"
    # Both outcomes occur, and what was recorded once is never lost by a later death.
    assert 0 < answer["begun"] < answer["points"]
    assert answer["once_begun_always"]
