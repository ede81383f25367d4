"""Showing how long work goes: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_LINE_EVERY_S = 5.0
_SHOW_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of work: how many slices a constituent has."""

    shard: int
    slices: int


class Track(Protocol):
    """Follows one building of several constituents."""

    def advance(self, index: int, slices: int, samples: int) -> None:
        """Of work ``index``, so many slices more are there, trained with so many samples."""
        ...

    def end(self) -> None:
        """Work ended, well or not."""
        ...


class Reading(Protocol):
    """Follows one reading of rows."""

    def rows(self, total: int) -> None:
        """So many rows were read so far."""
        ...

    def end(self) -> None:
        """Reading ended, well or not."""
        ...


class Progress(Protocol):
    """Shows what is going on; several threads may begin something at the same time."""

    def begin(self, what: str, works: Sequence[Work]) -> Track:
        """Building starts."""
        ...

    def reading(self, what: str) -> Reading:
        """Rows are read from now on."""
        ...


class Silent:
    """Shows nothing."""

    def begin(self, what: str, works: Sequence[Work]) -> Track:
        """As :meth:`Progress.begin`."""
        del what, works
        return self

    def reading(self, what: str) -> Reading:
        """As :meth:`Progress.reading`."""
        del what
        return self

    def advance(self, index: int, slices: int, samples: int) -> None:
        """As :meth:`Track.advance`."""

    def rows(self, total: int) -> None:
        """As :meth:`Reading.rows`."""

    def end(self) -> None:
        """As :meth:`Track.end`."""


@dataclass
class Lines:
    """A plain line every few seconds: for logs and pipes."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    every_s: float = _LINE_EVERY_S

    def begin(self, what: str, works: Sequence[Work]) -> Track:
        """As :meth:`Progress.begin`."""
        return _LineTrack(self, what, works)

    def reading(self, what: str) -> Reading:
        """As :meth:`Progress.reading`."""
        return _LineReading(self, what)

    def say(self, line: str) -> None:
        """Write one line."""
        self.stream.write(f"{line}\n")
        self.stream.flush()


class _LineTrack:
    def __init__(self, lines: Lines, what: str, works: Sequence[Work]) -> None:
        self._lines, self._what, self._tally = lines, what, _Tally(works)
        self._last = time.monotonic()

    def advance(self, index: int, slices: int, samples: int) -> None:
        self._tally.add(index, slices, samples)
        if self._tally.trained and time.monotonic() - self._last >= self._lines.every_s:
            self._last = time.monotonic()
            self._lines.say(f"{self._what}: {self._tally.words}")

    def end(self) -> None:
        if self._tally.seconds >= _SHOW_AFTER_S:
            self._lines.say(f"{self._what}: {self._tally.words}")


class _LineReading:
    def __init__(self, lines: Lines, what: str) -> None:
        self._lines, self._what = lines, what
        self._started = self._last = time.monotonic()
        self._total = 0

    def rows(self, total: int) -> None:
        self._total = total
        if time.monotonic() - self._last >= self._lines.every_s:
            self._last = time.monotonic()
            self._lines.say(_rows_words(self._what, total, self._started))

    def end(self) -> None:
        if time.monotonic() - self._started >= _SHOW_AFTER_S:
            self._lines.say(_rows_words(self._what, self._total, self._started))


class Live:
    """Bars that move: one for each building, and for the shards that are in work."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._bars: Bars | None = None
        self._users = 0

    def begin(self, what: str, works: Sequence[Work]) -> Track:
        """As :meth:`Progress.begin`."""
        return _LiveTrack(self, what, works)

    def reading(self, what: str) -> Reading:
        """As :meth:`Progress.reading`."""
        return _LiveReading(self, what)

    def open(self) -> Bars:
        """The one display that all share; each who opened it closes it."""
        with self._lock:
            self._users += 1
            if self._bars is None:
                self._bars = _bars()
                self._bars.start()
            return self._bars

    def close(self) -> None:
        """Let go of the display; the last one takes it away."""
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._bars is not None:
                self._bars.stop()
                self._bars = None


class _LiveTrack:
    def __init__(self, live: Live, what: str, works: Sequence[Work]) -> None:
        self._live, self._what, self._works, self._tally = live, what, works, _Tally(works)
        self._bars: Bars | None = None
        self._shards: dict[int, TaskID] = {}

    def advance(self, index: int, slices: int, samples: int) -> None:
        self._tally.add(index, slices, samples)
        if self._bars is None:
            if self._tally.seconds < _SHOW_AFTER_S:
                return
            self._bars = self._live.open()
            title = f"[bold]{self._what}[/]"
            self._all = self._bars.add_task(title, total=self._tally.total, unit="slices", words="")
        self._show(self._bars, index)

    def end(self) -> None:
        if self._bars is not None:
            for task in (self._all, *self._shards.values()):
                self._bars.remove_task(task)
            self._live.close()

    def _show(self, bars: Bars, index: int) -> None:
        work, done = self._works[index], self._tally.done[index]
        if index not in self._shards:
            title = f"[dim]  shard {work.shard}[/]"
            self._shards[index] = bars.add_task(title, total=work.slices, unit="slices", words="")
        bars.update(self._shards[index], completed=done)
        if done >= work.slices:
            bars.remove_task(self._shards.pop(index))
        words = f"{self._tally.whole} of {self._tally.shards} shards · {self._tally.speed}"
        bars.update(self._all, completed=sum(self._tally.done), words=words)


class _LiveReading:
    def __init__(self, live: Live, what: str) -> None:
        self._live, self._what, self._started = live, what, time.monotonic()
        self._bars: Bars | None = None

    def rows(self, total: int) -> None:
        if self._bars is None:
            if time.monotonic() - self._started < _SHOW_AFTER_S:
                return
            self._bars = self._live.open()
            self._task = self._bars.add_task("", total=None, unit="rows", words="")
        words = _rows_words(self._what, total, self._started)
        self._bars.update(self._task, description=f"[bold]{words}[/]")

    def end(self) -> None:
        if self._bars is not None:
            self._bars.remove_task(self._task)
            self._live.close()


def default(stream: TextIO | None = None) -> Progress:
    """What suits ``stream`` (standard error): live on a terminal, lines elsewhere."""
    stream = stream or sys.stderr
    return Live() if stream.isatty() else Lines(stream)


def _bars() -> Bars:
    # Imported here: it costs 50 ms, and only what is slow is shown.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TextColumn("[dim]{task.fields[words]}"),
        console=Console(stderr=True),
        transient=True,
    )


def _rows_words(what: str, total: int, started: float) -> str:
    rate = total / max(time.monotonic() - started, 1e-9)
    return f"{what}: {total:,} rows · {rate:,.0f} rows/s"


class _Tally:
    def __init__(self, works: Sequence[Work]) -> None:
        self.done = [0] * len(works)
        self.total = sum(work.slices for work in works)
        self.shards = len(works)
        self.samples = 0
        self.trained = 0
        self._works = works
        self._started = time.monotonic()

    def add(self, index: int, slices: int, samples: int) -> None:
        self.done[index] += slices
        self.samples += samples
        self.trained += slices if samples else 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def whole(self) -> int:
        return sum(done >= work.slices for done, work in zip(self.done, self._works, strict=True))

    @property
    def speed(self) -> str:
        if not self.trained:
            return "…"
        rate = self.samples / max(self.seconds, 1e-9)
        left = round((self.total - sum(self.done)) * self.seconds / self.trained)
        return f"{rate:,.0f} samples/s · {left // 60}:{left % 60:02d} left"

    @property
    def words(self) -> str:
        done = f"{sum(self.done):,}/{self.total:,} slices"
        return f"{done}, {self.whole} of {self.shards} shards · {self.speed}"
