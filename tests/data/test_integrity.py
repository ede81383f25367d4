"""Commitments bind cells: whatever byte of a row changes on the disk, the row is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from expunge.data.batch import Batch
from expunge.data.erase import erase
from expunge.data.integrity import changed_rows
from expunge.data.layout import COMMITMENT, SALT

NONE = np.empty(0, np.int64)


def flip(batch: Batch, column: str, buffer: int, place: int, bits: int) -> None:
    """Change a byte of a column's buffer, in the file."""
    wanted = batch.segment(0).column(column).buffers()[buffer].to_pybytes()
    path = batch.folder / batch.segments[0].file
    content = bytearray(path.read_bytes())
    assert content.count(wanted) == 1
    content[content.index(wanted) + place] ^= bits
    with path.open("r+b") as file:  # in place: it is mapped
        file.write(content)


@pytest.mark.parametrize(
    "column", ["id", "who", "age", "pay", "town", "note", "face", "label", SALT, COMMITMENT]
)
def test_one_bit_of_any_column_is_one_changed_row(make: Any, column: str) -> None:
    batch = make.one(make.people(seed=3))
    assert changed_rows(batch, NONE) == 0
    flip(batch, column, -1, 0, 1)
    assert changed_rows(batch, NONE) == 1
    assert changed_rows(batch, np.array([0])) == 0


def test_erased_rows_count_only_where_nobody_forgot_them(make: Any) -> None:
    batch = make.one(make.people())
    gone = np.array([3, 40])
    erase(batch, gone)
    assert changed_rows(batch, gone) == 0
    assert changed_rows(batch, gone[:1]) == 1


def test_a_file_that_cannot_be_read_counts_with_all_its_remaining_rows(make: Any) -> None:
    batch = make.one(make.people())
    flip(batch, "note", 1, 4 * 20 + 3, 0x40)  # an offset that points far behind the file
    assert changed_rows(batch, np.array([5])) == batch.rows - 1
