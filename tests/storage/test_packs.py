"""Packs: a frame counts when it is whole and its checksum is right."""

from __future__ import annotations

import tempfile
from hashlib import sha256
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from expunge.core.errors import DataCorrupt, FormatUnsupported
from expunge.storage import packs


def name(number: int) -> bytes:
    return sha256(str(number).encode()).digest()


def fill(path: Path, *payloads: bytes) -> list[packs.Frame]:
    with packs.writing(path) as pack:
        frames: list[packs.Frame] = []
        for number, payload in enumerate(payloads):
            behind = frames[-1] if frames else None
            frames.append(pack.append(behind, name(number), number + 1, payload))
        pack.sync()
    return frames


def read(path: Path) -> list[tuple[bytes, int, bytes]]:
    with packs.reading(path) as pack:
        return [(f.name, f.samples, pack.read(f)) for f in pack.frames()]


def test_the_format_is_this(tmp_path) -> None:
    path = tmp_path / "p"
    fill(path, b"abc")
    head = (3).to_bytes(8, "little") + (1).to_bytes(8, "little") + name(0)
    whole = b"XPACK\x00\x00\x01" + head + blake3(head + b"abc").digest() + b"abc"
    assert path.read_bytes() == whole


def test_frames_are_read_as_they_were_written(tmp_path) -> None:
    path = tmp_path / "p"
    frames = fill(path, b"one", b"", b"three")
    assert read(path) == [(name(0), 1, b"one"), (name(1), 2, b""), (name(2), 3, b"three")]
    with packs.reading(path) as pack:
        assert pack.frames() == frames


def test_without_a_file_there_is_no_pack(tmp_path) -> None:
    with packs.reading(tmp_path / "p") as pack:
        assert pack is None


def test_a_file_cut_anywhere_holds_the_whole_frames_before(tmp_path) -> None:
    path = tmp_path / "p"
    frames = fill(path, b"one", b"two", b"three")
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        with packs.reading(path) as pack:
            assert pack.frames() == [frame for frame in frames if frame.end <= size]


def test_a_flipped_bit_anywhere_in_a_frame_is_noticed(tmp_path) -> None:
    path = tmp_path / "p"
    (frame,) = fill(path, b"one")
    whole = path.read_bytes()
    for place in range(frame.offset, frame.end):
        broken = bytearray(whole)
        broken[place] ^= 4
        path.write_bytes(broken)
        with packs.reading(path) as pack:
            found = pack.frames()
            assert not found or not pack.holds(found[0])
            # The frame as the database knows it.
            assert pack.holds(frame) == (place - frame.offset < frame.end - frame.offset - 3)
            if place >= frame.end - 3:
                with pytest.raises(DataCorrupt):
                    pack.read(frame)


def test_what_was_cut_off_is_gone_and_can_be_written_anew(tmp_path) -> None:
    path = tmp_path / "p"
    frames = fill(path, b"one", b"secret", b"secret too")
    with packs.writing(path) as pack:
        pack.cut(frames[:1])
        assert b"secret" not in path.read_bytes()
        pack.append(frames[0], name(7), 9, b"new")
        pack.sync()
    assert read(path) == [(name(0), 1, b"one"), (name(7), 9, b"new")]


def test_cutting_all_leaves_an_empty_file(tmp_path) -> None:
    path = tmp_path / "p"
    fill(path, b"one")
    with packs.writing(path) as pack:
        pack.cut([])
    assert path.read_bytes() == b""
    assert read(path) == []


def test_cutting_removes_a_torn_frame(tmp_path) -> None:
    path = tmp_path / "p"
    frames = fill(path, b"one", b"two")
    path.write_bytes(path.read_bytes()[:-1])
    with packs.writing(path) as pack:
        pack.cut(frames[:1])
    assert path.stat().st_size == frames[0].end


def test_another_format_is_refused(tmp_path) -> None:
    path = tmp_path / "p"
    path.write_bytes(b"XPACK\x00\x00\x02" + bytes(200))
    with packs.reading(path) as pack, pytest.raises(FormatUnsupported, match="Upgrade"):
        pack.frames()


def test_two_writers_take_turns(tmp_path) -> None:
    import fcntl
    import os

    path = tmp_path / "p"
    with packs.writing(path):
        descriptor = os.open(path, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


class Packs(RuleBasedStateMachine):
    """A pack beside a list: whatever is appended, cut and torn, both tell the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "p"
        self.frames: list[packs.Frame] = []
        self.payloads: list[bytes] = []

    @rule(payload=st.binary(max_size=30), samples=st.integers(0, 2**63))
    def append(self, payload: bytes, samples: int) -> None:
        with packs.writing(self.path) as pack:
            behind = self.frames[-1] if self.frames else None
            pack.cut(self.frames)
            self.frames.append(pack.append(behind, name(len(payload)), samples, payload))
        self.payloads.append(payload)

    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        keep = data.draw(st.integers(0, len(self.frames)))
        del self.frames[keep:], self.payloads[keep:]
        with packs.writing(self.path) as pack:
            pack.cut(self.frames)

    @precondition(lambda self: self.frames)
    @rule(data=st.data())
    def tear(self, data: st.DataObject) -> None:
        last = self.frames.pop()
        self.payloads.pop()
        size = data.draw(st.integers(last.offset, last.end - 1))
        with self.path.open("r+b") as file:
            file.truncate(size)

    @invariant()
    def both_tell_the_same(self) -> None:
        with packs.reading(self.path) as pack:
            found = pack.frames() if pack else []
            assert found == self.frames
            assert [pack.read(frame) for frame in found] == self.payloads

    def teardown(self) -> None:
        self.folder.cleanup()


TestPacks = Packs.TestCase
