"""A second process that hashes ids and writes segments: JSON lines in and out, Arrow between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from threading import Thread
from types import TracebackType
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from expunge.core.errors import WorkerFailed
from expunge.data.ring import Ring
from expunge.data.segments import Sorting, Written, write_range

_ENDED: Final = "the process that helps to ingest ended"


class Helper:
    """Owns the process; it ends with the ``with`` block, or when this process ends."""

    def __init__(self, ring: Ring) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "expunge.data.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._send({"secret": ring.secret.hex()})

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, message: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """Send one line, wait for the answer."""
        self._send(message)
        return json.loads(self._receive())

    def tokens(self, ids: pa.Array) -> NDArray[np.uint64]:
        """Hash ids there."""
        block = pa.record_batch({"ids": ids}).serialize()
        schema = pa.schema({"ids": ids.type}).serialize()
        self._send({"tokens": [schema.size, block.size]}, schema, block)
        return np.frombuffer(self._receive(len(ids) * 8), "<u8")

    def _send(self, message: dict[str, Any], *rest: pa.Buffer) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            for part in rest:
                self._process.stdin.write(part)
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise WorkerFailed(_ENDED) from error

    def _receive(self, size: int = 0) -> bytes:
        assert self._process.stdout
        out = self._process.stdout
        answer = out.read(size) if size else out.readline()
        if len(answer) < max(size, 1):
            raise WorkerFailed(_ENDED)
        return answer

    def __enter__(self) -> Helper:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error:
            self._process.kill()
        self._process.communicate()


def write_ranges(
    sorting: Sorting, ranges: Sequence[tuple[int, int]], helper: Helper | None
) -> Written:
    """Write the segments of all ranges, here and, if there is one, in the helper."""
    todo = deque((place, *edges) for place, edges in enumerate(ranges))
    done: dict[int, Written] = {}
    failed: list[BaseException] = []
    thread = Thread(target=_feed, args=(helper, sorting, todo, done, failed)) if helper else None
    if thread:
        thread.start()
    try:
        while todo and not failed:
            place, low, high = todo.popleft()
            done[place] = write_range(sorting, place, low, high)
    except IndexError:  # the helper took the last one
        pass
    finally:
        todo.clear()
        if thread:
            thread.join()
    if failed:
        raise failed[0]
    return Written.joined([done[place] for place in sorted(done)])


def _feed(
    helper: Helper,
    sorting: Sorting,
    todo: deque[tuple[int, int, int]],
    done: dict[int, Written],
    failed: list[BaseException],
) -> None:
    try:
        helper.ask(sorting.to_json())
        while todo:
            place, low, high = todo.popleft()
            done[place] = Written.from_json(helper.ask({"range": [place, low, high]}))
    except IndexError:
        pass
    except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
        failed.append(error)


def main() -> None:
    """Answer lines until there are none."""
    answers = _Answers(Ring(bytes.fromhex(json.loads(sys.stdin.buffer.readline())["secret"])))
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(answers.to(json.loads(line)))
        sys.stdout.buffer.flush()


class _Answers:
    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._sorting: Sorting | None = None

    def to(self, message: dict[str, Any]) -> bytes:
        if "tokens" in message:
            return self._tokens(*message["tokens"])
        if "range" not in message:
            self._sorting = Sorting.from_json(message)
            return b"true\n"
        assert self._sorting
        written = write_range(self._sorting, *message["range"])
        return json.dumps(written.to_json()).encode() + b"\n"

    def _tokens(self, schema_size: int, block_size: int) -> bytes:
        schema = pa.ipc.read_schema(pa.py_buffer(sys.stdin.buffer.read(schema_size)))
        block = pa.ipc.read_record_batch(pa.py_buffer(sys.stdin.buffer.read(block_size)), schema)
        return self._ring.tokens(block.column(0)).tobytes()


if __name__ == "__main__":
    main()
