"""Indexes from hashes to ordinals: what is found, and what an open one holds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from expunge.data import index
from expunge.data.index import Index


def made(folder: Path, name: str, hashes: list[int]) -> Index:
    def entries(low: int, high: int):
        found = np.array(hashes, np.uint64)
        here = index.within(found, low, high)
        yield found[here], np.flatnonzero(here)

    index.build(folder, name, entries, len(hashes))
    return Index(folder, name)


def test_finds_each_hash_at_its_ordinal_and_no_other(tmp_path: Path) -> None:
    found = made(tmp_path, "i", [7, 2**64 - 1, 0, 2**63])
    wanted = np.array([0, 7, 8, 2**63, 2**64 - 1], np.uint64)
    assert found.find(wanted).tolist() == [2, 0, -1, 3, 1]
    assert len(found) == 4
    assert made(tmp_path, "empty", []).find(wanted).tolist() == [-1] * 5


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_open_indexes_hold_no_descriptors(tmp_path: Path) -> None:
    for number in range(40):
        made(tmp_path, str(number), [number])
    before = len(list(Path("/proc/self/fd").iterdir()))
    indexes = [Index(tmp_path, str(number)) for number in range(40)]
    assert [int(one.find(np.array([n], np.uint64))[0]) for n, one in enumerate(indexes)] == [0] * 40
    assert len(list(Path("/proc/self/fd").iterdir())) == before
