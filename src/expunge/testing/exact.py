"""Is a model, after forgetting, byte for byte the one that never saw the samples?"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa

from expunge import home as homes
from expunge.core import rng
from expunge.core.digest import digest
from expunge.core.types import Schema
from expunge.data import appending
from expunge.data.datasets import Ground
from expunge.data.options import Ingest
from expunge.execution.progress import Silent
from expunge.home import Home
from expunge.learners.protocol import Learner
from expunge.testing import state
from expunge.testing.builder import FreshProcess, Rebuild
from expunge.testing.scene import Scene, Turns
from expunge.testing.script import ForgetFromEach, Operation, Recover
from expunge.training.recipe import Sharded

_DATASET: Final = "dataset"
_MODEL: Final = "model"
_USUAL: Final = (ForgetFromEach(1.0), Recover(), ForgetFromEach(0.5))


@dataclass(frozen=True, slots=True)
class Data:
    """Rows, what their columns are, and what to learn from them.

    The first attributes are those of :meth:`expunge.Home.ingest`, the last four of ``view``.
    """

    rows: Any
    target: str | Sequence[str]
    id: str | None = None
    subject: str | Sequence[str] = ()
    tier: str | None = None
    values: Sequence[str] = ()
    categorical: Sequence[str] = ()
    text: Sequence[str] = ()
    nullable: Sequence[str] = ()
    schema: Schema | None = None
    features: Sequence[str] | None = None
    weight: str | None = None
    where: Sequence[tuple[Any, ...]] = ()


@dataclass(frozen=True, slots=True)
class Exactness:
    """What was compared, and found the same.

    Attributes:
        frames: Checkpoints of which name and bytes were compared.
        size: Of their bytes.
        shards: Constituents that are not empty.
        remaining: Rows that remained.
        forgotten: Rows that were forgotten or corrected on the way.
        changed: Names that forgetting took away.
        probed: Single samples whose removal was shown to change names.
    """

    frames: int
    size: int
    shards: int
    remaining: int
    forgotten: int
    changed: int
    probed: int


def check_exact(
    recipe: Sharded | Learner,
    data: Data,
    *operations: Operation,
    builder: FreshProcess | None = None,
    workers: int = 2,
    probes: int = 16,
    seed: int = 0,
) -> Exactness:
    """Train, forget, and compare the full state with a build that never saw the samples.

    The model is trained in this process and rebuilt in another. It is compared with a model
    that is built in an empty home from the remaining rows alone: in other processes, with
    another hash seed and number of workers, the rows of each batch arriving in another order.
    Names and bytes of every checkpoint of every constituent must be equal, and the packs hold
    nothing else. On the way, every removal must change the names from its slice on, and only
    those.

    Args:
        recipe: A learner, or :class:`expunge.Sharded`.
        data: What it learns from.
        operations: What happens after the first training, in order; by default each shard
            forgets a sample of its last slice, and then one from its middle. Each is called with a :class:`expunge.testing.Scene`;
            write your own where :class:`Forget`, :class:`Append`, :class:`Correct` and
            :class:`Recover` do not do.
        builder: Where to build afresh; give one to share its start-up among many checks.
        workers: How many processes the fresh build has.
        probes: How many single samples to take out on paper.
        seed: Of the ring's secret and of all choices.

    Raises:
        NotExact: The first difference, with shard, slice and what differs.
    """
    sharded = recipe if isinstance(recipe, Sharded) else Sharded(recipe)
    with ExitStack() as stack:
        builder = builder or stack.enter_context(FreshProcess())
        place = Path(stack.enter_context(TemporaryDirectory(prefix="expunge-exact-")))
        turns = Turns(builder.executor)
        home = stack.enter_context(
            homes.open(place / "home", executor=turns, background=False, progress=Silent())
        )
        view = _ingest(home, data, digest("testing", str(seed).encode()))
        home.train(_MODEL, view, sharded)
        scene = Scene(home, _DATASET, _MODEL, sharded, turns)
        probed = scene.probe(probes)
        for operation in operations or _USUAL:
            operation(scene)
        scene.recover()
        found = state.read(scene.model, home.model(_MODEL).version)
        ground = scene.ground()
        batches = _export(ground, place, seed)
        fresh = builder.build(
            Rebuild(
                folder=place / secrets.token_hex(8),
                secret=ground.dataset.secret,
                schema=ground.dataset.schema,
                batches=batches,
                view=view.view,
                recipe=sharded,
                workers=workers,
            )
        )
        state.compare(found, fresh)
    checkpoints = [one for chain in found for one in chain.checkpoints]
    return Exactness(
        frames=len(checkpoints),
        size=sum(one.size for one in checkpoints),
        shards=sum(bool(chain.checkpoints) for chain in found),
        remaining=_remaining(ground),
        forgotten=len(scene.left) + scene.corrected,
        changed=scene.changed,
        probed=probed,
    )


def _remaining(ground: Ground) -> int:
    """Rows that remain."""
    forgotten = sum(len(gone) for gone in ground.gone.values())
    return sum(batch.rows for batch in ground.batches.values()) - forgotten


def _ingest(home: Home, data: Data, secret: bytes) -> homes.Learning:
    options = Ingest(
        id=data.id,
        subjects=(data.subject,) if isinstance(data.subject, str) else tuple(data.subject),
        tier=data.tier,
        values=tuple(data.values),
        categorical=tuple(data.categorical),
        text=tuple(data.text),
        nullable=tuple(data.nullable),
        schema=data.schema,
    )
    stock = home.site.stock
    with (
        warnings.catch_warnings(action="ignore", category=UserWarning),
        # As `Home.ingest`, but with a secret that makes the case repeatable.
        appending.staging(stock, _DATASET, data.rows, options, secret=secret) as staged,
        home.site.database.transaction() as transaction,
    ):
        appending.register(stock, transaction, staged)
    return home.dataset(_DATASET).view(
        data.target, features=data.features, weight=data.weight, where=data.where
    )


def _export(ground: Ground, place: Path, seed: int) -> tuple[tuple[int, int, Path], ...]:
    """Write the remaining rows of each batch number, shuffled; emptied ones are left out."""
    exported = []
    for number in sorted({key[1] for key in ground.batches}):
        batches = {key: batch for key, batch in ground.batches.items() if key[1] == number}
        tables = [
            batch.export(~ground.is_gone(key, np.arange(batch.rows)))
            for key, batch in batches.items()
        ]
        table = pa.concat_tables(tables)
        if len(table):
            path = place / f"batch-{number}.arrow"
            _write(path, table.take(_shuffled(len(table), rng.seed("arrival", seed, number))))
            exported.append((number, next(iter(batches.values())).parts, path))
    return tuple(exported)


def _shuffled(rows: int, seed: int) -> pa.Array:
    return pa.array(rng.order(np.arange(rows, dtype=np.uint64), seed))


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
