"""The few calls that change a disk. All writing goes through here.

Tests kill the process before each of them (``expunge.testing.faults``), so a change that
wrote by another way would escape the proof that resuming gives the same bytes.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write(descriptor: int, data: bytes | memoryview, offset: int) -> int:
    """Write all of ``data`` at ``offset``; return the offset behind it."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
    return offset


def sync(descriptor: int) -> None:
    """Wait until a file's bytes and size are on the disk."""
    os.fdatasync(descriptor) if hasattr(os, "fdatasync") else os.fsync(descriptor)


def truncate(descriptor: int, size: int) -> None:
    """Cut a file to ``size`` bytes."""
    os.ftruncate(descriptor, size)


def replace(source: Path, target: Path) -> None:
    """Move ``source`` over ``target`` in one step, and keep the move through a crash."""
    source.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Wait until a folder's entries are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_file(path: Path, data: bytes) -> None:
    """Write a whole file, in one step: there is all of it, or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _write_whole(beside, data)
        replace(beside, path)
    except OSError:  # a full disk is not to keep what nobody will use
        beside.unlink(missing_ok=True)
        raise


def _write_whole(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write(descriptor, data, 0)
        sync(descriptor)
    finally:
        os.close(descriptor)
