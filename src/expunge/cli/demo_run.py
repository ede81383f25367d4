"""The demonstration itself: train, forget, rebuild, destroy, verify; every number measured."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from expunge import home as homes
from expunge.cli import demo_search, recovery
from expunge.cli.demo_data import Story
from expunge.cli.demo_search import Search
from expunge.execution.local import Executor, Workers
from expunge.execution.progress import Progress
from expunge.home import Home, Learning, Model, Receipt
from expunge.storage import packs
from expunge.training import versions
from expunge.training.recipe import Sharded
from expunge.verify.replay import Replay

_DATASET: Final = "people"
_MODEL: Final = "sharded"
_PLAIN: Final = "plain"


@dataclass
class Clock:
    """Seconds of each step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step."""
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


@dataclass(frozen=True, slots=True)
class Chain:
    """Names of one shard's checkpoints, before and after, hexadecimal."""

    shard: int
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def kept(self) -> int:
        """How many of the first names stayed."""
        pairs = zip(self.before, self.after, strict=False)
        return next(
            (i for i, (a, b) in enumerate(pairs) if a != b), min(len(self.before), len(self.after))
        )


class Demo:
    """One run. Call the steps in order; each returns what it measured."""

    def __init__(self, story: Story, folder: Path, executor: Executor, progress: Progress) -> None:
        self.story, self.folder, self.clock = story, folder, Clock()
        self._home: Home = homes.open(
            folder, executor=executor, progress=progress, background=False
        )
        self._executor = executor

    def close(self) -> None:
        """Free all processes."""
        self._home.close()

    def warm(self) -> None:
        """Start the worker processes, so that no step's time holds it."""
        with self.clock.step("start"):
            if isinstance(self._executor, Workers):
                framework = type(self.story.learner).__module__
                self._executor.preload = ("expunge.training.unit", framework)
                self._executor.start()

    def train(self, shards: int, slices: int) -> Model:
        """Ingest and train."""
        with self.clock.step("ingest"):
            people = self._home.ingest(_DATASET, self.story.learnt, id="row", subject="person")
        self._view: Learning = people.view(self.story.target)
        recipe = Sharded(self.story.learner, shards, slices)
        with self.clock.step("train"):
            self.model = self._home.train(_MODEL, self._view, recipe)
        return self.model

    def accuracy(self, model: Model | None = None) -> float:
        """Part of the rows held out that is predicted right."""
        right = (model or self.model).predict(self.story.held_out) == self.story.held_out[
            self.story.target
        ]
        return float(np.mean(right))

    def forget(self, people: int) -> Receipt:
        """Forget so many people, spread over the ids; remember what to look for later."""
        everybody = np.unique(self.story.learnt["person"])
        step = max(1, len(everybody) // (people + 1))
        self.leaving: Sequence[str] = everybody[step::step][:people].tolist()
        rows = self.story.learnt["row"][np.isin(self.story.learnt["person"], self.leaving)]
        self._needles = demo_search.of_rows(self._home, _DATASET, rows.tolist())
        self._pieces = demo_search.of_checkpoints(self._home, _MODEL)
        self._names = self._all_names()
        everything = self._needles | set(self._pieces.values())
        self._before = demo_search.search(self.folder, everything)
        self.receipt = self._home.forget(subjects=self.leaving)
        return self.receipt

    def rebuild(self) -> dict[str, Any]:
        """Make the model whole, destroy what saw the forgotten."""
        with self.clock.step("rebuild"):
            return recovery.run(self._home)

    def retrain(self) -> Model:
        """What people do otherwise: one model, trained again on everyone who remains."""
        with self.clock.step("retrain"):
            return self._home.train(_PLAIN, self._view, Sharded(self.story.learner))

    def chains(self) -> list[Chain]:
        """The shards whose names changed."""
        after = self._all_names()
        return [
            Chain(shard, before, after[shard])
            for shard, before in self._names.items()
            if before != after[shard]
        ]

    def look(self) -> tuple[int, int, Search]:
        """Look for the rows, and for the checkpoints that lost their name.

        Returns how many these are, how many byte strings stood on the disk before, and what
        is found of them now.
        """
        alive = {name for names in self._all_names().values() for name in names}
        lost = {piece for name, piece in self._pieces.items() if name.hex() not in alive}
        needles = self._needles | lost
        found = demo_search.search(self.folder, needles)
        return len(lost), len(self._before.found & needles), found

    def verify(self) -> Replay:
        """Build again from the remaining rows alone."""
        with self.clock.step("verify"):
            return self._home.verify(_MODEL)

    def _all_names(self) -> Mapping[int, tuple[str, ...]]:
        with self._home.site.database.reading() as transaction:
            row = self._home.site.model(transaction, _MODEL)
        names: dict[int, tuple[str, ...]] = {}
        for shard in versions.all_shards(row):
            names[shard] = ()
            for path in versions.pack_paths(row, shard):
                with packs.reading(path) as pack:
                    names[shard] = tuple(f.name.hex() for f in pack.frames()) if pack else ()
        return names
