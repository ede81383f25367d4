from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from threading import Thread
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core.errors import DataCorrupt, FormatUnsupported, HomeMismatch, JournalUnwritten
from expunge.storage import disk, journal, records
from expunge.storage.journal import Journal, digests
from expunge.storage.records import Packed, Record, Row
from expunge.testing import faults

HOME = "0123456789abcdef0123456789abcdef"

rows = st.builds(
    Row,
    st.integers(-5, 2**31 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(min_size=16, max_size=16),
)
some_records = st.builds(
    Record, st.uuids().map(str), st.binary(max_size=300), st.lists(rows, max_size=6).map(tuple)
)


def record(number: int = 0, *, named: int = 1) -> Record:
    entry = {"at": "2026-01-01T00:00:00.000000Z", "body": {"kind": "forget", "samples": number}}
    made = tuple(Row(0, 0, place, bytes([number % 256]) * 16) for place in range(named))
    return Record(str(UUID(int=number)), json.dumps(entry).encode(), made)


@pytest.fixture
def kept(tmp_path) -> Journal:
    return Journal(tmp_path / "journal", HOME)


def again(kept: Journal) -> Journal:
    return Journal(kept._folder, HOME)


def log(kept: Journal):
    return kept._folder / "requests.log"


def change(path, at, value):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(value)


@given(st.uuids().map(str), st.lists(rows.filter(lambda r: r.batch < 2**31 and r.ordinal < 2**63)))
def test_rows_in_columns_are_the_same_bytes(request_, named):
    tiers, batches = (np.array([getattr(r, f) for r in named], np.int32) for f in ("tier", "batch"))
    ordinals = np.array([row.ordinal for row in named], np.int64)
    packed = Packed.of(tiers, batches, ordinals, [row.digest for row in named])
    assert packed == named
    assert hash(packed) == hash(tuple(named))
    assert [packed[at] for at in range(len(named))] == named
    assert Record(request_, b"x", packed).to_bytes() == Record(request_, b"x", named).to_bytes()


@settings(max_examples=40)
@given(st.lists(st.lists(some_records, min_size=1, max_size=4), max_size=6))
def test_what_was_appended_is_read(tmp_path_factory, appends):
    kept = Journal(tmp_path_factory.mktemp("j") / "journal", HOME)
    written = []
    for together in appends:
        end = kept.append(*together)
        written += together
        assert list(again(kept).read()) == written
        assert again(kept).has(end)
    frames = list(kept.frames())
    assert [frame.record for frame in frames] == written
    assert [frame.request for frame in frames] == [one.request for one in written]
    for place, frame in enumerate(frames):
        assert kept.record_at(frame.start) == written[place]
        assert [f.record for f in again(kept).frames(frame.end)] == written[place + 1 :]


def test_each_append_is_one_write_and_one_sync(kept):
    kept.append(record(0))
    work = [lambda: kept.append(record(1)), lambda: kept.append(*map(record, range(2, 50)))]
    for one in work:
        assert faults.points(one) == ["write", "sync"]


def test_a_new_journal_and_its_key_are_ours_alone(kept):
    kept.append(record())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in kept._folder.iterdir()}
    assert modes == dict.fromkeys(("key", "requests.log", "requests.lock"), 0o600)
    assert stat.S_IMODE(kept._folder.stat().st_mode) == 0o700
    assert len((kept._folder / "key").read_bytes()) == 32


def test_nothing_is_made_before_the_first_use(kept):
    assert not kept._folder.exists()


@pytest.mark.parametrize("named", [0, 1, 3000])
def test_a_torn_tail_does_not_count_and_is_cut_off(kept, named):
    kept.append(record(1))
    end = kept.append(record(2)).offset
    whole = kept.append(record(3, named=named)).offset
    content = log(kept).read_bytes()
    places = range(end, whole) if named < 2 else range(end, whole, 997)
    for cut in places:
        for rest in (b"", bytes(len(content) - cut), os.urandom(whole - cut)):
            if rest[: whole - cut] == content[cut:whole]:  # by chance: then nothing is torn
                continue
            log(kept).write_bytes(content[:cut] + rest)
            assert [one.request for one in again(kept).read()] == [
                record(n).request for n in (1, 2)
            ]
            again(kept).append(record(4))
            assert list(again(kept).read()) == [record(1), record(2), record(4)]


def test_the_same_journal_goes_on_after_a_torn_append(kept, monkeypatch):
    kept.append(record(1))

    def full(descriptor, data, offset):
        real(descriptor, data[: len(data) // 2], offset)
        raise OSError("disk full")

    real = disk.write
    monkeypatch.setattr(disk, "write", full)
    with pytest.raises(JournalUnwritten) as caught:
        kept.append(record(2))
    assert caught.value.requests == [record(2).request]
    monkeypatch.undo()
    kept.append(record(3))
    assert list(again(kept).read()) == [record(1), record(3)]


@pytest.mark.parametrize("at", [0, 5, 17, 40, -40, -1])
def test_damage_in_the_midst_is_told_and_nothing_is_cut(kept, at):
    kept.append(record(1))
    start, end = kept.append(record(2)).offset, kept.append(record(3)).offset
    kept.append(record(4))
    place = start + at if at >= 0 else end + at
    content = log(kept).read_bytes()
    change(log(kept), place, bytes([content[place] ^ 1]))
    damaged = log(kept).read_bytes()
    with pytest.raises(DataCorrupt, match="journal"):
        list(again(kept).read())
    with pytest.raises(JournalUnwritten, match="1 requests stand") as caught:
        again(kept).append(record(5))
    assert isinstance(caught.value.__cause__, DataCorrupt)
    assert log(kept).read_bytes() == damaged


def test_damage_is_found_across_the_border_of_what_is_read_at_once(kept, monkeypatch):
    monkeypatch.setattr(records, "_WINDOW", 256)
    monkeypatch.setattr(records, "_ZEROS", bytes(256))
    kept.append(record(1))
    start = kept.append(record(2)).offset
    for named in range(40):
        kept.append(record(3, named=named))
    kept.append(record(4))
    change(log(kept), start + 30, b"?")
    with pytest.raises(DataCorrupt, match="journal"):
        list(again(kept).read())


def test_a_position_vouches_for_all_that_is_before_it(kept):
    positions = [kept.append(record(number)) for number in range(5)]
    assert all(again(kept).has(position) for position in positions)
    other = Journal(kept._folder.with_name("other"), HOME)
    other.append(record(0))
    assert not any(other.has(position) for position in positions)


def test_the_journal_of_another_home_is_refused(kept):
    kept.append(record())
    with pytest.raises(HomeMismatch):
        list(Journal(kept._folder, "f" * 32).read())


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (lambda f: change(f / "requests.log", 7, b"\x02"), FormatUnsupported),
        (lambda f: change(f / "requests.log", 12, b"?"), DataCorrupt),
        (lambda f: (f / "requests.log").write_bytes(b""), FormatUnsupported),
        (lambda f: (f / "key").unlink(), DataCorrupt),
        (lambda f: (f / "key").write_bytes(b"short"), DataCorrupt),
        (lambda f: (f / "key").write_bytes(bytes(32)), DataCorrupt),
    ],
)
def test_a_head_or_key_that_is_not_right_is_told(kept, what, error):
    kept.append(record())
    what(kept._folder)
    with pytest.raises(error):
        list(again(kept).read())


def test_many_threads_and_journals_append_and_nothing_is_lost(kept):
    other = again(kept)

    def write(first: int) -> None:
        for number in range(first, first + 25):
            (kept if number % 2 else other).append(record(number, named=number % 7))

    threads = [Thread(target=write, args=(first,)) for first in range(0, 200, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = list(again(kept).read())
    assert len(found) == 200
    assert {one.request for one in found} == {record(number).request for number in range(200)}
    assert {len(one.rows) for one in found} == set(range(7))


def test_processes_append_beside_each_other(kept):
    code = (
        "import sys; from pathlib import Path; from uuid import uuid4\n"
        "from expunge.storage.journal import Journal\n"
        "from expunge.storage.records import Record\n"
        f"kept = Journal(Path({str(kept._folder)!r}), {HOME!r}); sys.stdin.read()\n"
        "for n in range(30): kept.append(Record(str(uuid4()), b'{}', ()))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    several = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env=environment)
        for _ in range(3)
    ]
    for process in several:
        process.stdin.close()
    mine = [record(number) for number in range(30)]
    for one in mine:
        kept.append(one)
    assert [process.wait() for process in several] == [0] * 3
    found = list(again(kept).read())
    assert len({one.request for one in found}) == len(found) == 120
    assert [one for one in found if one in mine] == mine


def test_who_reads_while_others_append_sees_a_beginning(kept):
    for number in range(300):
        kept.append(record(number))
    reading = kept.frames()
    first = next(reading)
    again(kept).append(record(300))
    assert [first.record, *(f.record for f in reading)] == [record(n) for n in range(301)]


def test_the_journal_is_read_in_pieces(kept, monkeypatch):
    largest = []
    real = os.pread

    def pread(descriptor, count, offset):
        largest.append(count)
        return real(descriptor, count, offset)

    kept.append(*(record(number, named=2000) for number in range(40)))
    monkeypatch.setattr(os, "pread", pread)
    assert len(list(kept.read())) == 40
    assert max(largest) <= records._WINDOW < log(kept).stat().st_size


def test_digests_are_of_dataset_and_token_and_key(kept):
    other = Journal(kept._folder.with_name("other"), HOME)
    keys = [kept.subkey("a"), kept.subkey("b"), other.subkey("a")]
    assert kept.subkey("a") == again(kept).subkey("a")
    found = [digest for key in keys for digest in digests(key, [1, 2, 2**64 - 1])]
    assert len(set(found)) == 9
    assert {len(digest) for digest in found} == {journal.DIGEST_BYTES}
    assert digests(keys[0], [7]) == digests(keys[0], [7])


KILLS = ["before", "in the midst of"]


@pytest.mark.parametrize("is_new", [True, False])
def test_killed_at_every_moment_it_has_all_or_nothing(kept, is_new, capfd):
    if not is_new:
        kept.append(record(0))
    before = [] if is_new else [record(0)]
    saved = {p.name: p.read_bytes() for p in kept._folder.iterdir()} if not is_new else {}
    work = lambda: again(kept).append(record(1), record(2))  # noqa: E731
    moments = faults.points(work)
    reset(kept._folder, saved)
    for n in range(1, len(moments) + 1):
        for torn in (False, True):
            assert faults.kill_at(work, n, torn=torn)
            found = list(again(kept).read())
            # A write is in the page cache when the process dies: it may be there before its sync.
            whole = [*before, record(1), record(2)]
            assert found in (before, whole, whole[:-1])
            again(kept).append(record(3))
            assert list(again(kept).read()) == [*found, record(3)]
            reset(kept._folder, saved)


def reset(folder, saved):
    for path in folder.iterdir() if folder.exists() else ():
        path.unlink()
    for name, content in saved.items():
        (folder / name).write_bytes(content)


def test_a_record_that_is_large_is_read_whole(kept):
    large = Record(str(uuid4()), b"{}", tuple(Row(0, 1, n, os.urandom(16)) for n in range(70_000)))
    kept.append(record(1), large, record(2))
    assert list(again(kept).read()) == [record(1), large, record(2)]


def test_an_append_of_several_that_is_torn_at_its_start_is_torn_not_damaged(kept):
    """Pages of one write may reach the disk in any order."""
    start = kept.append(record(1)).offset
    kept.append(record(2), record(3), record(4))
    change(log(kept), start, bytes(40))
    assert list(again(kept).read()) == [record(1)]
    again(kept).append(record(5))
    assert list(again(kept).read()) == [record(1), record(5)]
