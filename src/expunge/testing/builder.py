"""Fresh builds in another process, from the remaining samples only."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from expunge import home as homes
from expunge import learners
from expunge.core.digest import Json
from expunge.core.types import Schema, View
from expunge.data import appending
from expunge.data import sql as data_sql
from expunge.data.layout import SALT
from expunge.data.options import Ingest
from expunge.execution.local import Executor, Report, Workers
from expunge.execution.progress import Silent
from expunge.testing import state
from expunge.testing.state import Chain
from expunge.training.recipe import Sharded

_DATASET: Final = "remaining"
_MODEL: Final = "model"
_BUILD: Final = "expunge.testing.builder:build"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """What a fresh build is made from.

    Attributes:
        folder: Of a home that is not there yet.
        batches: (number, sub-ranges, Arrow file of the remaining rows as exported).
        workers: How many processes to build with.
    """

    folder: Path
    secret: bytes
    schema: Schema
    batches: tuple[tuple[int, int, Path], ...]
    view: View
    recipe: Sharded
    workers: int = 2

    def to_json(self) -> dict[str, Json]:
        """As plain JSON."""
        recipe = self.recipe
        return {
            "folder": str(self.folder),
            "secret": self.secret.hex(),
            "schema": self.schema.to_json(),
            "batches": [[number, parts, str(path)] for number, parts, path in self.batches],
            "view": self.view.to_json(),
            "learner": learners.to_json(recipe.learner),
            "recipe": [recipe.shards, recipe.slices, recipe.seed, recipe.aggregate],
            "workers": self.workers,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Rebuild:
        """Read what :meth:`to_json` wrote."""
        return cls(
            folder=Path(value["folder"]),
            secret=bytes.fromhex(value["secret"]),
            schema=Schema.from_json(value["schema"]),
            batches=tuple((number, parts, Path(path)) for number, parts, path in value["batches"]),
            view=View.from_json(value["view"]),
            recipe=Sharded(learners.from_json(value["learner"]), *value["recipe"]),
            workers=value["workers"],
        )


class FreshProcess:
    """A process with a hash seed of its own, which builds models from nothing.

    Starting one takes as long as importing the learner's framework. Share one between many
    cases of :func:`expunge.testing.check_exact`::

        with FreshProcess() as builder:
            check_exact(recipe, data, builder=builder)

    Args:
        hash_seed: Its ``PYTHONHASHSEED``, 1 to 4294967295; by default another than ours.
    """

    def __init__(self, hash_seed: int | None = None) -> None:
        ours = os.environ.get("PYTHONHASHSEED", "random")
        seed = hash_seed or (2 if ours == "1" else 1)
        self._workers = Workers(1, environment={"PYTHONHASHSEED": str(seed)})

    def __enter__(self) -> FreshProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, and those that it started."""
        self._workers.close()

    @property
    def executor(self) -> Executor:
        """Runs any call in this process; closing it leaves the process running."""
        return Lent(self._workers)

    def build(self, rebuild: Rebuild) -> list[Chain]:
        """Build afresh; the full state of what was built."""
        ((_, result),) = self._workers.run(_BUILD, [rebuild.to_json()], lambda *_: None)
        return [Chain.from_json(chain) for chain in result["chains"]]


@dataclass(frozen=True, slots=True)
class Lent:
    """An executor that whoever uses it may not close."""

    executor: Executor

    def run(
        self, function: str, arguments: Sequence[dict[str, Json]], report: Report
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """As :meth:`Executor.run`."""
        return self.executor.run(function, arguments, report)

    def kill(self) -> None:
        """As :meth:`Executor.kill`."""
        self.executor.kill()

    def close(self) -> None:
        """Leave it to its owner."""


def build(argument: dict[str, Any], report: Callable[[dict[str, Json]], None]) -> dict[str, Json]:
    """Ingest what remains into a new home, train, and tell the full state."""
    rebuild = Rebuild.from_json(argument)
    executor = Lent(_workers(rebuild.workers))
    with homes.open(rebuild.folder, executor=executor, background=False, progress=Silent()) as home:
        _ingest(home, rebuild)
        learning = homes.Learning(_DATASET, rebuild.view)
        model = home.train(_MODEL, learning, rebuild.recipe)
        with home.site.database.reading() as transaction:
            row = home.site.model(transaction, _MODEL)
        chains = state.read(row, model.version)
    return {"chains": [chain.to_json() for chain in chains]}


def _ingest(home: homes.Home, rebuild: Rebuild) -> None:
    stock = home.site.stock
    with home.site.database.transaction() as transaction:
        # Registered first, because all its batches may be gone.
        data_sql.add_dataset(transaction, _DATASET, "remaining", rebuild.secret, rebuild.schema)
    for number, parts, path in rebuild.batches:
        options = Ingest(salts=SALT, coded=True, slices=parts)
        with (
            warnings.catch_warnings(action="ignore", category=UserWarning),
            appending.staging(stock, _DATASET, path, options, number=number) as staged,
            home.site.database.transaction() as transaction,
        ):
            appending.register(stock, transaction, staged)


@cache
def _workers(count: int) -> Workers:
    """Warm ones, for as long as this process lives."""
    return Workers(count)
