"""A second process that writes segments: JSON lines in, JSON lines out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from threading import Thread
from types import TracebackType
from typing import Any

from expunge.core.errors import WorkerFailed
from expunge.data.segments import Segment, Sorting, write_range


class Helper:
    """Owns the process; it ends with the ``with`` block, or when this process ends."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "expunge.data.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, message: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """Send one line, wait for the answer."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except (OSError, ValueError):
            answer = ""
        if not answer:
            raise WorkerFailed("the process that writes segments ended")
        return json.loads(answer)

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
) -> tuple[list[Segment], int]:
    """Write the segments of all ranges, here and, if there is one, in the helper.

    Returns:
        The segments in ring order, and the number of rows of the largest subject.
    """
    todo = deque((place, *edges) for place, edges in enumerate(ranges))
    done: dict[int, tuple[list[Segment], int]] = {}
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
    segments = [segment for place in sorted(done) for segment in done[place][0]]
    return segments, max(largest for _, largest in done.values())


def _feed(
    helper: Helper,
    sorting: Sorting,
    todo: deque[tuple[int, int, int]],
    done: dict[int, tuple[list[Segment], int]],
    failed: list[BaseException],
) -> None:
    try:
        helper.ask(sorting.to_json())
        while todo:
            place, low, high = todo.popleft()
            segments, largest = helper.ask({"range": [place, low, high]})
            done[place] = [Segment(*segment) for segment in segments], largest
    except IndexError:
        pass
    except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
        failed.append(error)


def main() -> None:
    """Answer lines until there are none."""
    sorting: Sorting | None = None
    for line in sys.stdin:
        message = json.loads(line)
        answer: Any = True
        if "range" in message:
            assert sorting
            segments, largest = write_range(sorting, *message["range"])
            answer = [[s.file, s.rows, s.first] for s in segments], largest
        else:
            sorting = Sorting.from_json(message)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
