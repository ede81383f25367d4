"""The grid of cases: tables, recipes and scripts, drawn by hypothesis."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import strategies as st

import expunge
from expunge.core import rng
from expunge.core.types import Schema
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.testing import Data, ForgetFromEach, Operation, Recover, Scene

EXAMPLES = int(os.environ.get("EXPUNGE_EXAMPLES", "15"))
BATCH = 10_000  # ids of batch n begin at n times this
PERSON = 3  # rows of one person


@dataclass(frozen=True)
class Table:
    """How rows are made.

    Attributes:
        numbers: Whether the target is a number rather than a class.
        duplicates: Whether contents repeat.
        people: Whether rows have a subject.
        tiers: How many tiers there are; 1 for no such column.
    """

    numbers: bool
    duplicates: bool
    people: bool
    tiers: int

    def rows(self, numbers: list[int], seed: int) -> dict[str, np.ndarray]:
        generator = np.random.default_rng(seed)
        n = len(numbers)
        a, b = generator.normal(size=(2, n)).astype(np.float32)
        if self.duplicates:
            a, b = np.round(a), np.sign(b)
        color = np.array(["red", "green", "blue"])[generator.integers(0, 3, n)]
        y = a - b + (color == "red") + np.float32(0.1) * generator.normal(size=n)
        rows = {
            "id": np.array([f"s{number}" for number in numbers]),
            "a": a,
            "b": b,
            "color": color,
            "y": y.astype(np.float64) if self.numbers else np.digitize(y, [-0.5, 1.0]),
            "w": generator.integers(1, 4, n) / 2,
        }
        if self.people:
            rows["who"] = np.array([person(number) for number in numbers])
        if self.tiers > 1:
            rows["t"] = np.array([f"tier {number % self.tiers}" for number in numbers])
        return rows


def person(number: int) -> str:
    return f"p{number // PERSON}"


@cache
def schema(table: Table) -> Schema:
    """As proposed from many rows, so that few rows hide nothing."""
    with (
        TemporaryDirectory() as folder,
        expunge.open(folder, executor=Inline(), background=False, progress=Silent()) as home,
    ):
        people = home.ingest(
            "many",
            table.rows(list(range(600)), 0),
            id="id",
            subject="who" if table.people else (),
            tier="t" if table.tiers > 1 else None,
            values=["y", "w"],
            categorical=() if table.numbers else ["y"],
        )
        return people.schema


@dataclass(frozen=True)
class Case:
    """One point of the grid."""

    table: Table
    rows: int
    seed: int
    shards: int
    slices: int
    weighted: bool
    filtered: bool
    operations: tuple[Operation, ...]

    @property
    def data(self) -> Data:
        return Data(
            self.table.rows(list(range(self.rows)), self.seed),
            "y",
            schema=schema(self.table),
            features=("a", "b", "color"),
            weight="w" if self.weighted else None,
            where=[("b", ">", -0.5)] if self.filtered else (),
        )


@dataclass(frozen=True)
class OfSlice:
    """Forget the first, the last or all samples of a slice."""

    shard: int
    slice: int
    which: str

    def __call__(self, scene: Scene) -> None:
        chains = [plan for plan in scene.plans() if plan.slices]
        if chains:
            plan = chains[self.shard % len(chains)]
            ids = scene.slice_rows(plan, self.slice % len(plan.slices))
            scene.forget({"first": ids[:1], "last": ids[-1:], "all": ids}[self.which])


@dataclass(frozen=True)
class OfShard:
    """Forget all that one constituent learnt from."""

    shard: int

    def __call__(self, scene: Scene) -> None:
        plan = scene.plans()[self.shard % len(scene.plans())]
        scene.forget([i for n in range(len(plan.slices)) for i in scene.slice_rows(plan, n)])


@dataclass(frozen=True)
class Everything:
    """Forget all rows."""

    def __call__(self, scene: Scene) -> None:
        scene.forget([row.sample for row in scene.rows()])


@dataclass(frozen=True)
class OfPeople:
    """Forget the subjects of some rows; or those rows, where rows have none."""

    count: int
    seed: int
    people: bool

    def __call__(self, scene: Scene) -> None:
        samples = [row.sample for row in scene.choose(self.count, self.seed)]
        if self.people:
            scene.forget(subjects=sorted({person(int(sample[1:])) for sample in samples}))
        else:
            scene.forget(samples)


@dataclass(frozen=True)
class Grow:
    """Append new rows."""

    table: Table
    count: int
    slices: int
    seed: int

    def __call__(self, scene: Scene) -> None:
        first = BATCH * (1 + max(key[1] for key in scene.ground().batches))
        numbers = list(range(first, first + self.count))
        scene.append(self.table.rows(numbers, self.seed), slices=self.slices)


@dataclass(frozen=True)
class Return:
    """Let forgotten ids come back with other content, some of them twice."""

    table: Table
    count: int
    seed: int

    def __call__(self, scene: Scene) -> None:
        there = {row.sample for row in scene.rows()}
        ids = list(dict.fromkeys(one for one in scene.left if one not in there))[: self.count]
        if ids:
            rows = self.table.rows([int(one[1:]) for one in ids], self.seed)
            scene.append(rows, readmit=True)


@dataclass(frozen=True)
class Revise:
    """Correct some rows."""

    table: Table
    count: int
    seed: int

    def __call__(self, scene: Scene) -> None:
        numbers = [int(row.sample[1:]) for row in scene.choose(self.count, self.seed)]
        if numbers:
            scene.correct(self.table.rows(numbers, self.seed))


def case(number: int, *, numbers: bool) -> Case:
    """Case number ``number`` of the grid.

    One draw decides all: hypothesis likes to repeat parts of what it drew before, and fifteen
    cases of which ten are nearly the same one would prove little.
    """
    choose = Choose(number)
    table = Table(
        numbers=numbers,
        duplicates=choose.below(2, "duplicates") == 0,
        people=choose.below(2, "people") == 0,
        tiers=1 + choose.below(3, "tiers") // 2,
    )
    shards = 1 + choose.below(7, "shards")
    tiny = choose.below(6, "tiny") == 0
    return Case(
        table=table,
        rows=1 + choose.below(8 if tiny else 25 * shards, "rows"),  # 0 to 60 or so in a shard
        seed=choose.below(1 << 16, "seed"),
        shards=shards,
        slices=1 + choose.below(5, "slices"),
        weighted=choose.below(2, "weighted") == 0,
        filtered=choose.below(3, "filtered") == 0,
        operations=tuple(
            operation(choose, table, step) for step in range(2 + choose.below(5, "operations"))
        ),
    )


@dataclass(frozen=True)
class Choose:
    """Choices that hash what they are about."""

    number: int

    def below(self, count: int, *about: str | int) -> int:
        return rng.seed("case", self.number, *about) % count


def operation(choose: Choose, table: Table, step: int) -> Operation:
    def below(count: int, about: str) -> int:
        return choose.below(count, step, about)

    few, seed = 1 + below(4, "few"), below(1 << 16, "seed")
    which = ("first", "last", "all")[below(3, "which")]
    kinds: tuple[Operation, ...] = (
        OfSlice(below(7, "shard"), below(9, "slice"), which),
        OfSlice(below(7, "shard"), below(9, "slice"), which),
        ForgetFromEach(below(5, "place") / 4),
        OfPeople(few, seed, table.people),
        Grow(table, 1 + below(30, "rows"), 1 + below(3, "slices"), seed),
        Grow(table, 1 + below(3, "rows"), 1 + below(3, "slices"), seed),
        Revise(table, few, seed),
        Return(table, few, seed),
        Recover(),
        OfShard(below(7, "shard")) if below(3, "much") else Everything(),
    )
    return kinds[below(len(kinds), "kind")]


def cases(*, numbers: bool) -> st.SearchStrategy[Case]:
    return st.integers(0, 2**32 - 1).map(lambda number: case(number, numbers=numbers))
