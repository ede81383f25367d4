"""Homes that work in this process, and close at the end of a test."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import shake_256
from pathlib import Path
from typing import Any

import pytest

import expunge
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.home import Home

Opened = Callable[..., Home]

_drawn: Counter[str] = Counter()


def _secret(count: int | None = None) -> bytes:
    """Ring secrets follow from the test that draws them: a slice is empty always, or never."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    _drawn[test] += 1
    return shake_256(f"{test} {_drawn[test]}".encode()).digest(count or 32)


secrets.token_bytes = _secret


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens homes: inline, silent, without a background thread, unless told otherwise."""
    homes: list[Home] = []

    def open_(place: Path | str, **options: Any) -> Home:
        plain = {"executor": Inline(), "progress": Silent(), "background": False}
        homes.append(expunge.open(place, **(plain | options)))
        return homes[-1]

    yield open_
    for home in homes:
        home.close()


def _answer_of(script: Path, *arguments: object) -> Any:
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture
def answer_of() -> Callable[..., Any]:
    """Runs a script in a process of its own, which may fork; what it prints, read as JSON."""
    return _answer_of


@pytest.fixture
def home(tmp_path: Path, opened: Opened) -> Home:
    """An empty home."""
    return opened(tmp_path / "home")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Where a home may be, as arguments of ``expunge.open``: a folder, or a server."""
    if request.param == "sqlite":
        return {"place": tmp_path / "home"}
    return {"place": request.getfixturevalue("postgres_url"), "files": tmp_path / "home"}
