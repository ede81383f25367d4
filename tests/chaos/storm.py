"""Breaks things at random moments, and mends them a little later. Seeded."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence

from chaos.world import Process, World

KILLED = -9


class Storm:
    """What may happen to a world, and how often it did.

    Attributes:
        counts: By kind.
    """

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.chance, self.seed = world, random.Random(seed), seed
        self.counts: Counter[str] = Counter()
        self.kinds: dict[str, Callable[[], None]] = {
            "server killed": lambda: self._kill("server killed", world.servers),
            "disk full": self._fill_disk,
        }
        if world.workers:
            self.kinds["worker killed"] = lambda: self._kill("worker killed", world.workers)
        if world.database.startswith("postgresql"):
            self.kinds["database connections dropped"] = self._drop
        if world.broker is not None:
            self.kinds["broker stopped"] = self._stop_broker
            self.kinds["broker connections dropped"] = self._drop_broker
            self.kinds["broker killed"] = self._kill_broker

    def rage(self, blows: int, goes_on: Callable[[], bool]) -> None:
        """Strike so many times at most, as long as something goes on."""
        kinds = sorted(self.kinds)
        first = kinds[self.seed // 2 % len(kinds)]  # each in its turn, however short the stream
        for kind in [first, *self.chance.sample(kinds * 2, k=blows - 1)]:  # of some, two
            time.sleep(self.chance.random() * 0.6)
            if not goes_on():
                return
            self.kinds[kind]()

    def _kill(self, kind: str, processes: Sequence[Process]) -> None:
        process = self.chance.choice(processes)
        assert process.kill() == KILLED
        self.counts[kind] += 1
        self._later()
        process.start()

    def _fill_disk(self) -> None:
        self.world.disk.fill()
        self.counts["disk full"] += 1
        self._later()
        self.world.disk.free()

    def _drop(self) -> None:
        if self.world.drop_connections():
            self.counts["database connections dropped"] += 1

    def _drop_broker(self) -> None:
        assert self.world.broker is not None
        self.world.broker.control("close_all_connections", "chaos")
        self.counts["broker connections dropped"] += 1

    def _stop_broker(self) -> None:
        assert self.world.broker is not None
        self.world.broker.control("stop_app")
        self.counts["broker stopped"] += 1
        self._later()
        self.world.broker.control("start_app")

    def _kill_broker(self) -> None:
        assert self.world.broker is not None
        self.world.broker.kill()
        self.counts["broker killed"] += 1
        self._later()
        self.world.broker.start()

    def _later(self) -> None:
        time.sleep(self.chance.random() * 0.5)
