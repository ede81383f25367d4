"""Die at a chosen moment: kill a process before the n-th change of a disk or database.

All that Expunge changes goes through ``storage.disk`` and database transactions, so the moments
can be counted and tried one by one. The process that calls these functions forks for each
trial, so it should have one thread and hold no database open.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from expunge.storage import disk
from expunge.storage.database import Database

Scenario: TypeAlias = Callable[[], object]

_WATCHED: Final = ("write", "sync", "truncate", "replace", "sync_folder", "remove")


class ScenarioFailed(AssertionError):
    """A scenario ended with an error, not by the fault that was put into it."""

    def __init__(self) -> None:
        super().__init__("The scenario raised an error; its traceback is on standard error.")


def points(scenario: Scenario) -> list[str]:
    """What ``scenario`` changes, in order: the moments before which it can be killed.

    Runs it to its end in a child process. Kinds are the functions of ``storage.disk``,
    ``commit`` and ``scrub``.
    """

    def work() -> bytes:
        seen: list[str] = []
        _watch(lambda kind, _tear: seen.append(kind))
        scenario()
        return "\n".join(seen).encode()

    return in_child(work).decode().split()


def moments(kinds: Sequence[str]) -> list[tuple[int, bool]]:
    """Before each change of :func:`points`, and in the midst of those that can be torn.

    Returns:
        The number of each change, and whether it is torn; as :func:`kill_at` takes them.
    """
    found = []
    for n, kind in enumerate(kinds, 1):
        found += [(n, torn) for torn in (False, True) if not torn or kind in ("write", "remove")]
    return found


def count(scenario: Scenario) -> int:
    """At how many moments ``scenario`` can be killed."""
    return len(points(scenario))


def kill_at(scenario: Scenario, n: int, *, torn: bool = False) -> bool:
    """Run ``scenario`` in a child process that is killed before its ``n``-th change.

    Args:
        scenario: What to run.
        n: From 1 on.
        torn: Kill in the midst of the change instead: half of the bytes are written, or half
            of the files of a folder are removed. Other changes are whole or not at all.

    Returns:
        Whether it was killed; False where it ended before.

    Raises:
        ScenarioFailed: It raised an error.
    """
    left = n

    def before(_kind: str, tear: Callable[[], None]) -> None:
        nonlocal left
        left -= 1
        if not left:
            if torn:
                tear()
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> bytes:
        _watch(before)
        scenario()
        return b""

    try:
        in_child(work)
    except _Killed:
        return True
    return False


def in_child(work: Callable[[], bytes]) -> bytes:
    """Run ``work`` in a forked child process; return what it returns.

    Raises:
        ScenarioFailed: It raised an error.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = _fork()
    if not child:
        _be_child(work, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise _Killed
    if os.WEXITSTATUS(status):
        raise ScenarioFailed
    return told


def _fork() -> int:
    with warnings.catch_warnings():
        # Newer Pythons warn of threads; what they may hold, a child here does not ask for.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


class _Killed(ScenarioFailed):
    """A child ended by a signal."""


def _be_child(work: Callable[[], bytes], writer: int) -> None:
    code = 1
    try:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(work())
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the parent is told
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


Before: TypeAlias = Callable[[str, Callable[[], None]], None]
"""Told of a change and of a way to do half of it."""


def _watch(before: Before) -> None:
    """Call ``before`` ahead of every change, in this process and from now on."""
    for name in _WATCHED:
        setattr(disk, name, _watched(name, getattr(disk, name), before))
    Database.scrub = _watched("scrub", Database.scrub, before)  # type: ignore[method-assign]

    def committing(connection: sa.Connection) -> None:
        if not connection.get_execution_options().get("expunge_reading", False):
            before("commit", lambda: None)

    sa.event.listen(sa.Engine, "commit", committing)


def _watched(kind: str, change: Callable[..., Any], before: Before) -> Callable[..., Any]:
    def watched(*arguments: Any) -> Any:  # noqa: ANN401 - any function of storage.disk
        before(kind, lambda: _tear(kind, change, arguments))
        return change(*arguments)

    return watched


def _tear(kind: str, change: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if kind == "write":
        descriptor, data, offset = arguments
        change(descriptor, memoryview(data)[: len(data) // 2], offset)
    elif kind == "remove" and Path(arguments[0]).is_dir():
        files = sorted(path for path in Path(arguments[0]).rglob("*") if path.is_file())
        for path in files[::2]:
            change(path)
