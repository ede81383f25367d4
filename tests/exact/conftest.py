"""The warm process that builds afresh, shared by all tests of one run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from expunge.testing import FreshProcess

# Learners are named by import path; worker processes inherit ours.
sys.path.insert(0, str(Path(__file__).parent / "importable"))


@pytest.fixture(scope="session")
def builder() -> Iterator[FreshProcess]:
    with FreshProcess() as process:
        yield process
