from __future__ import annotations

import pytest

from expunge.core.errors import DataCorrupt
from expunge.storage import packs


def test_a_frame_that_was_cut_off_under_a_reader_is_noticed(tmp_path):
    path = tmp_path / "0.pack"
    with packs.writing(path) as pack:
        first = pack.append(None, b"a" * 32, 1, b"first" * 20)
        last = pack.append(first, b"b" * 32, 2, b"second" * 20)
    with packs.reading(path) as reader:
        assert reader.frames() == [first, last]
        with packs.writing(path) as writer:
            writer.cut([first])
        with pytest.raises(DataCorrupt):
            reader.read(last)
        with packs.writing(path) as writer:
            writer.append(first, b"c" * 32, 2, b"others" * 20)
        with pytest.raises(DataCorrupt):
            reader.read(last)
        assert reader.read(first) == b"first" * 20
