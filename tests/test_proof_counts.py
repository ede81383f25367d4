"""A proving run prints how many cases ran, as counted by hypothesis or by the test itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

TESTS = """\
from hypothesis import given, settings, strategies as st

@settings(max_examples=7)
@given(st.integers(0, 10**9))
def test_drawn(x): pass

def test_counted(record_property):
    record_property("cases", 1234)

def test_single(): pass
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "workers"])
def test_cases_are_counted(tmp_path: Path, workers: tuple[str, ...]) -> None:
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "test_tiny.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *workers],
        cwd=tmp_path,
        env=environment | {"EXPUNGE_EXAMPLES": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "7 test_tiny.py::test_drawn" in lines
    assert "1,234 test_tiny.py::test_counted" in lines
    assert "1,242 cases ran in 3 tests" in lines
