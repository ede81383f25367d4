"""README's main job runs as printed, on fewer shards and trees, and ends with a yes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()


def write_people(path: Path) -> None:
    rows = ["row,person,age,job,income"]
    for i in range(240):
        age, job = 18 + i * 37 % 60, ("nurse", "cook", "clerk")[i % 3]
        rows.append(f"r{i},p-{1700 + i // 4},{age},{job},{'high' if age > 45 else 'low'}")
    path.write_text("\n".join(rows) + "\n")


def test_the_main_job_in_python(tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    write_people(tmp_path / "people.csv")
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    smaller = code.replace("rounds=100", "rounds=6").replace("shards=20", "shards=2")
    assert smaller != code
    done = subprocess.run(
        [sys.executable, "-c", smaller],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["['low']", "True"]
