"""Executors: in this process, or in warm worker processes that are told JSON.

A call is ``package.module:function`` and a JSON argument; the function gets the argument and
a ``report`` callback, and returns JSON. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from threading import Lock, Thread
from typing import IO, Any, Protocol, TypeAlias

from expunge.core import errors
from expunge.core.digest import Json
from expunge.core.errors import ExpungeError, WorkerFailed

Report: TypeAlias = Callable[[int, dict[str, Any]], None]
"""Called with the index of the call and what it reported."""

_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class Executor(Protocol):
    """Runs calls, as many at a time as it has places."""

    def run(
        self, function: str, arguments: Sequence[dict[str, Json]], report: Report
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (index, result) as calls end; raise the first error, once all running ended."""
        ...

    def kill(self) -> None:
        """Kill what runs at the moment; a ``run`` that waits for it ends with an error.

        Later calls work as before. What runs in no process of its own goes on.
        """
        ...

    def close(self) -> None:
        """Let go of all processes, for good; what still runs in them is killed.

        A ``run`` that goes on in another thread then ends with :class:`WorkerFailed`.
        """
        ...


class Inline:
    """Runs one call after the other in this process.

    A thread cannot be killed: closing it ends nothing, and who waits for a call waits for all
    of it.
    """

    def run(
        self, function: str, arguments: Sequence[dict[str, Json]], report: Report
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """As :meth:`Executor.run`."""
        call = resolve(function)
        for index, argument in enumerate(arguments):
            # Through JSON, so that what works here works in a worker.
            plain = json.loads(json.dumps(argument))
            yield index, call(plain, lambda what, index=index: report(index, what))

    def kill(self) -> None:
        """As :meth:`Executor.kill`: nothing."""

    def close(self) -> None:
        """As :meth:`Executor.close`."""


def resolve(function: str) -> Callable[..., dict[str, Any]]:
    """Import ``package.module:function``."""
    module, _, name = function.partition(":")
    found: Callable[..., dict[str, Any]] = getattr(import_module(module), name)
    return found


@dataclass
class Workers:
    """Warm worker processes, started at the first call; one thread each.

    Attributes:
        count: How many processes; by default one per core.
        environment: Variables to set for them, besides one thread each.
        preload: Modules to import while starting.
    """

    count: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    preload: tuple[str, ...] = ()
    _idle: list[_Worker] = field(default_factory=list)
    _busy: set[_Worker] = field(default_factory=set)
    _closed: bool = False
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.count = self.count or os.cpu_count() or 1

    def start(self) -> None:
        """Start all processes now, and wait until they are warm."""
        with self._lock:
            missing = self.count - len(self._idle)
            self._idle.extend(self._started() for _ in range(missing))
        for worker in self._idle:
            worker.wait_ready()

    def run(
        self, function: str, arguments: Sequence[dict[str, Json]], report: Report
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """As :meth:`Executor.run`."""
        waiting = deque(enumerate(arguments))
        events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        running: dict[int, _Worker] = {}
        failures: list[Exception] = []
        try:
            while True:
                while waiting and len(running) < self.count and not failures:
                    index, argument = waiting.popleft()
                    running[index] = self._take().call(index, function, argument, events)
                if not running:
                    break
                event = events.get()
                if event.kind == "progress":
                    report(event.index, event.body)
                    continue
                self._give_back(running.pop(event.index))
                if event.kind == "result":
                    yield event.index, event.body
                else:
                    failures.append(_error(event.body))
        finally:
            # An abandoned call (Ctrl-C, an error in the caller) must not go on writing.
            self._abandon(running.values())
        if failures:
            raise failures[0]

    def kill(self) -> None:
        """As :meth:`Executor.kill`."""
        with self._lock:
            for worker in self._busy:
                worker.end()  # who runs it hears of it, and lets go

    def close(self) -> None:
        """As :meth:`Executor.close`."""
        with self._lock:
            self._closed = True
            for worker in self._busy:
                worker.end()  # who runs it hears of it, and lets go
            while self._idle:
                self._idle.pop().stop()

    def _take(self) -> _Worker:
        with self._lock:
            worker = self._idle.pop() if self._idle else self._started()
            self._busy.add(worker)
        return worker

    def _started(self) -> _Worker:
        if self._closed:
            raise WorkerFailed("the executor was closed")
        return _Worker(self.environment, self.preload)

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
            if worker.alive() and not self._closed:
                self._idle.append(worker)
                return
        worker.kill()

    def _abandon(self, workers: Iterable[_Worker]) -> None:
        for worker in workers:
            worker.end()
            self._give_back(worker)


@dataclass(frozen=True, slots=True)
class _Event:
    index: int
    kind: str
    body: dict[str, Any]


class _Worker:
    def __init__(self, environment: dict[str, str], preload: Sequence[str]) -> None:
        threads = dict.fromkeys(_ONE_THREAD, "1")
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        self._listener: Thread | None = None
        # Our own module, no shell; stdin and stdout carry JSON lines.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "expunge.execution.worker", *preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **threads, "PYTHONPATH": paths, **environment},
            start_new_session=True,  # Ctrl-C reaches the parent alone, which decides
        )

    @property
    def _stdin(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def wait_ready(self) -> None:
        self._send({"ping": True})
        if not self._stdout.readline():
            raise WorkerFailed(f"it ended while starting, exit code {self._process.wait()}")

    def call(
        self,
        index: int,
        function: str,
        argument: dict[str, Json],
        events: queue.SimpleQueue[_Event],
    ) -> _Worker:
        def listen() -> None:
            try:
                self._send({"function": function, "argument": argument})
                for line in self._stdout:
                    kind, body = json.loads(line)
                    events.put(_Event(index, kind, body))
                    if kind != "progress":
                        return
            except (OSError, ValueError) as error:
                events.put(_Event(index, "error", {"message": str(error)}))
                return
            code = self._process.wait()
            events.put(_Event(index, "error", {"message": f"exit code {code}"}))

        self._listener = Thread(target=listen, daemon=True)
        self._listener.start()
        return self

    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def kill(self) -> None:
        self.end()
        self._let_go()

    def stop(self) -> None:
        self._stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.kill()
        self._let_go()

    def _let_go(self) -> None:
        if self._listener is not None:
            self._listener.join()
        with suppress(OSError):  # what was not flushed has nobody to read it
            self._stdin.close()
        self._stdout.close()

    def _send(self, message: dict[str, Any]) -> None:
        self._stdin.write(json.dumps(message) + "\n")
        self._stdin.flush()


def _error(body: dict[str, Any]) -> Exception:
    """The error that a worker told of, as itself where it is one of ours."""
    kind = getattr(errors, body.get("type", ""), None)
    if kind is None or not issubclass(kind, ExpungeError):
        return WorkerFailed(body["message"], body.get("kind", ""))
    error: ExpungeError = kind.__new__(kind)
    Exception.__init__(error, body["message"])
    error.__dict__.update(body["attributes"])
    return error
