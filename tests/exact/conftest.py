"""The warm process that builds afresh, shared by all tests of one run."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from expunge.testing import FreshProcess

# Learners are named by import path; worker processes inherit ours.
sys.path.insert(0, str(Path(__file__).parent / "importable"))


MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session", autouse=True)
def in_memory() -> Iterator[None]:
    """Homes in memory, where there is room: thousands of syncs show nothing here."""
    if os.access(MEMORY, os.W_OK):
        tempfile.tempdir = str(MEMORY)
    yield
    tempfile.tempdir = None


@pytest.fixture(scope="session")
def builder() -> Iterator[FreshProcess]:
    with FreshProcess() as process:
        yield process
