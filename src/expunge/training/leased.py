"""What a process keeps of the models that it serves under leases."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, TypeAlias

from expunge.training.current import Current
from expunge.training.ensemble import Ensemble

Clock: TypeAlias = Callable[[], float]


def awake() -> float:
    """Seconds that go on while the machine sleeps; on macOS the monotonic clock does."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


CLOCKS: Final[tuple[Clock, ...]] = (awake, time.time)
"""One that sleep does not stop, and the time of day: a machine that was paused gets that back."""


@dataclass(slots=True, eq=False)
class Lease:
    """A version that may be served until one of the clocks says that it is over.

    Attributes:
        ends: By each of the holder's clocks.
        ended: Set before anybody else may see that the holder has moved on.
    """

    loaded: Ensemble
    ends: tuple[float, ...]
    ended: bool = False

    def is_valid(self, clocks: Collection[Clock]) -> bool:
        """Whether it may be given out now."""
        return not self.ended and all(
            clock() < end for clock, end in zip(clocks, self.ends, strict=True)
        )


@dataclass(slots=True, eq=False)
class Served:
    """A model that is served.

    Attributes:
        asked: Whether it was, since its lease was written last. Others are not renewed.
        least: The lowest number that a lease on it may have.
    """

    current: Current
    lease: Lease | None = None
    asked: bool = False
    least: int = 0
    lock: Lock = field(default_factory=Lock)

    def grant(self, loaded: Ensemble, ends: tuple[float, ...]) -> bool:
        """Take up a lease, unless a newer version became known meanwhile; whether it was."""
        with self.lock:
            if loaded.version.number < self.least:
                return False
            if self.lease is not None and self.lease.loaded is loaded:
                self.lease.ends = ends
            else:
                self.lease = Lease(loaded, ends)
            return True

    def move(self, number: int) -> bool:
        """Serve no version below ``number`` from now on. Whether one was."""
        self.current.drop(number)
        with self.lock:
            self.least = max(self.least, number)
            lease = self.lease
            if lease is None or lease.loaded.version.number >= self.least:
                return False
            lease.ended, self.lease = True, None
            return True

    def end(self) -> None:
        """Serve from no lease."""
        with self.lock:
            if self.lease is not None:
                self.lease.ended, self.lease = True, None
