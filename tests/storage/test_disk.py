from __future__ import annotations

import os
import subprocess
import sys

import pytest

from expunge.storage import disk
from expunge.storage.locks import alone, alone_if_free


def test_a_file_is_written_whole_and_into_new_folders(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    disk.write_file(path, b"first")
    disk.write_file(path, b"second")
    assert path.read_bytes() == b"second"
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_a_write_that_fails_keeps_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "file"
    disk.write_file(path, b"first")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(disk, "sync", full)
    with pytest.raises(OSError, match="full"):
        disk.write_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:3], at))
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    assert disk.write(descriptor, b"0123456789", 2) == 12
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"\0\x000123456789"


def test_removing_takes_files_folders_and_nothing(tmp_path):
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "file").touch()
    for name in ("folder", "file", "none"):
        disk.remove(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


HOLD = """
import sys
from pathlib import Path
from expunge.storage.locks import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_holds_between_processes_and_dies_with_its_holder(tmp_path):
    lock = tmp_path / "new" / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert holder.stdout.readline() == b"held\n"
    with alone_if_free(lock) as free:
        assert not free
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    with alone(lock):
        pass
    with alone_if_free(lock) as free:
        assert free
