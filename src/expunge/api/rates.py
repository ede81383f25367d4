"""How often somebody may ask: a rate with a burst of one period, without threads or a store.

References:
    The generic cell rate algorithm, ITU-T I.371: one number for each key.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_PERIODS_S: Final = {"second": 1.0, "minute": 60.0, "hour": 3_600.0, "day": 86_400.0}
_MOST: Final = 100_000
_NS: Final = 1_000_000_000  # whole numbers, because sums of floats let one too few through


class Rate:
    """Lets each key through ``count`` times in a period.

    Args:
        text: ``<count>/<period>``; the period is second, minute, hour or day.
        clock: In seconds, from any beginning.
    """

    def __init__(self, text: str, clock: Callable[[], float] = time.monotonic) -> None:
        count, _, period = text.partition("/")
        self._period = int(_PERIODS_S[period] * _NS)
        self._each = self._period // max(1, int(count))
        self._clock = clock
        self._full_at: dict[str, int] = {}

    def wait_s(self, key: str) -> float:
        """Take one; 0 if there is one, else how long until there is. About 1 µs."""
        now = self._now()
        at = max(self._full_at.get(key, now), now) + self._each
        if at - now > self._period:
            return (at - now - self._period) / _NS
        self._full_at[key] = at
        if len(self._full_at) > _MOST:
            self._drop_idle(now)
        return 0.0

    def is_over(self, key: str) -> float:
        """How long until there is one, without taking it."""
        now = self._now()
        return max(0, self._full_at.get(key, now) + self._each - now - self._period) / _NS

    def _now(self) -> int:
        return round(self._clock() * _NS)

    def _drop_idle(self, now: int) -> None:
        """Forget those that have waited long enough to have all again; then the oldest half."""
        live = {key: at for key, at in self._full_at.items() if at > now}
        if len(live) > _MOST:
            live = dict(list(live.items())[_MOST // 2 :])
        self._full_at = live
