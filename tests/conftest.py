"""Homes that work in this process, and close at the end of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import expunge
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.home import Home

Opened = Callable[..., Home]


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
