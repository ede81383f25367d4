"""Showing how long work goes: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_LINE_EVERY_S = 5.0
_SHOW_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of work: how many slices a constituent has."""

    shard: int
    slices: int


class Progress(Protocol):
    """Is told what is to be done, and each step."""

    def begin(self, what: str, works: Sequence[Work]) -> None:
        """Work starts."""
        ...

    def advance(self, index: int, slices: int, samples: int) -> None:
        """Of work ``index``, so many slices more are there, trained with so many samples."""
        ...

    def end(self) -> None:
        """Work ended, well or not."""
        ...


class Silent:
    """Shows nothing."""

    def begin(self, what: str, works: Sequence[Work]) -> None:
        """As :meth:`Progress.begin`."""

    def advance(self, index: int, slices: int, samples: int) -> None:
        """As :meth:`Progress.advance`."""

    def end(self) -> None:
        """As :meth:`Progress.end`."""


@dataclass
class Lines:
    """A plain line every few seconds: for logs and pipes."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    every_s: float = _LINE_EVERY_S

    def begin(self, what: str, works: Sequence[Work]) -> None:
        """As :meth:`Progress.begin`."""
        self._what, self._tally = what, _Tally(works)
        self._last = time.monotonic()

    def advance(self, index: int, slices: int, samples: int) -> None:
        """As :meth:`Progress.advance`."""
        self._tally.add(index, slices, samples)
        if self._tally.trained and time.monotonic() - self._last >= self.every_s:
            self._last = time.monotonic()
            self._print()

    def end(self) -> None:
        """As :meth:`Progress.end`."""
        if self._tally.seconds >= _SHOW_AFTER_S:
            self._print()

    def _print(self) -> None:
        self.stream.write(f"{self._what}: {self._tally.words}\n")
        self.stream.flush()


@dataclass
class Live:
    """Bars that move: one for all, and the shards that are in work."""

    def begin(self, what: str, works: Sequence[Work]) -> None:
        """As :meth:`Progress.begin`."""
        self._what, self._works, self._tally = what, works, _Tally(works)
        self._bar: Bar | None = None
        self._shards: dict[int, TaskID] = {}

    def advance(self, index: int, slices: int, samples: int) -> None:
        """As :meth:`Progress.advance`."""
        self._tally.add(index, slices, samples)
        if self._bar is None:
            if self._tally.seconds < _SHOW_AFTER_S:
                return
            self._open()
        self._show(index)

    def end(self) -> None:
        """As :meth:`Progress.end`."""
        if self._bar is not None:
            self._bar.stop()

    def _open(self) -> None:
        # Imported here: it costs 50 ms, and only what is slow is shown.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} slices"),
            TextColumn("[dim]{task.fields[words]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._all = self._bar.add_task(f"[bold]{self._what}[/]", total=self._tally.total, words="")
        self._bar.start()

    def _show(self, index: int) -> None:
        assert self._bar is not None
        work, done = self._works[index], self._tally.done[index]
        if index not in self._shards:
            title = f"[dim]  shard {work.shard}[/]"
            self._shards[index] = self._bar.add_task(title, total=work.slices, words="")
        self._bar.update(self._shards[index], completed=done)
        if done >= work.slices:
            self._bar.remove_task(self._shards.pop(index))
        words = f"{self._tally.whole} of {self._tally.shards} shards · {self._tally.speed}"
        self._bar.update(self._all, completed=sum(self._tally.done), words=words)


def default(stream: TextIO | None = None) -> Progress:
    """What suits ``stream`` (standard error): live on a terminal, lines elsewhere."""
    stream = stream or sys.stderr
    return Live() if stream.isatty() else Lines(stream)


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
