"""Killed before every change while a restored home is opened, and opened again.

A part of these moments; all of them in ``make test-all``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("restoring.py")


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize("what", ["database", "everything"])
def test_a_home_that_is_restored_survives_a_kill_at_every_moment(
    what, every, tmp_path, record_property, answer_of
):
    answer = answer_of(SCRIPT, what, tmp_path, every)
    record_property("cases", answer["points"])
    sys.stdout.write(f"{what}: killed at {answer['points']} moments, {answer['kinds']}\n")
    assert answer["failures"] == []
    assert "entered again: 8; rows that are forgotten again: 9" in answer["told"]
    assert "Decisions about other requests that were made again: 2." in answer["told"]
    assert {"commit", "write", "sync"} <= answer["kinds"].keys()
    assert answer["points"] * every >= sum(answer["kinds"].values()) > 10
    # It is done once: in one transaction, before or after the death.
    assert 0 < answer["done_before_death"] < answer["points"]
    assert answer["once_done_always"]
