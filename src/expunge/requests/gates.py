"""Gates: a rebuilt constituent is not published where the model would answer worse than a floor.

That may delay recovery, never the moment: a model that waits behind its gate answers without the
constituent, from checkpoints that are clean. What a gate refuses is cut off its pack again, so that
nothing else publishes it, and its units are set aside: built again, it would be refused again.
Another gate, or none, has them tried anew; so has a request for the same rows, or a person.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from expunge.core.errors import GateClosed, InputError, ModelWithdrawn
from expunge.core.types import Schema, Task
from expunge.data import sql as data_sql
from expunge.data.datasets import Ground
from expunge.requests import units
from expunge.requests.unit_tables import STATE, UNITS
from expunge.requests.unit_tables import State as UnitState
from expunge.storage import packs
from expunge.storage.database import METADATA
from expunge.training import ensemble, sql, versions
from expunge.training import plan as plans
from expunge.training import recipe as recipes
from expunge.training.plan import Plan
from expunge.training.site import Site
from expunge.training.sql import Constituent, Model, Version

ACCURACY, R2 = "accuracy", "r2"

_GATES: Final = sa.Table(
    "gate",
    METADATA,
    sa.Column("model", sa.ForeignKey("model.id"), primary_key=True),
    sa.Column("metric", sa.String(20), nullable=False),
    sa.Column("floor", sa.Double, nullable=False),
    sa.Column("dataset", sa.ForeignKey("dataset.id"), nullable=False),
    sa.Column("refused", sa.Double),
)
_REFUSED: Final = sa.select(UNITS.c.id).where(
    STATE == UnitState.ASIDE, UNITS.c.error == GateClosed.code
)


@dataclass(frozen=True, slots=True)
class Gate:
    """A floor under a model.

    Attributes:
        metric: ``accuracy`` (classification), or ``r2`` (regression; mean over the targets).
        floor: The least score with which something rebuilt is published.
        dataset: Id of the one whose rows, seen by the model's view, it is measured on.
        refused: The score for which it refused what was built last; None where it never did.
    """

    metric: str
    floor: float
    dataset: int
    refused: float | None = None


def put(site: Site, model: str, floor: float, dataset: str) -> Gate:
    """Put a gate before a model, in place of the one that it has.

    Args:
        site: What the home stands on.
        model: Its name.
        floor: The least score: accuracy of a classification, r² of a regression.
        dataset: Of rows that the model does not learn from, with the same columns.

    Raises:
        InputError: The model learns from that dataset; it lacks columns, or declares others.
        UnknownName: There is no such model or dataset.
        ModelRetired: The model is out of service.
    """
    with site.database.transaction() as transaction:
        row, held_out = site.model(transaction, model), site.dataset(transaction, dataset)
        sql.check_in_service(transaction, row)
        data_sql.lock(transaction, row.dataset)
        own = data_sql.get_dataset(transaction, row.dataset, site.data)
        if held_out.id == own.id:
            raise InputError("A gate needs rows that the model does not learn from.")
        task = recipes.task(row.recipe.view, own.schema)
        if recipes.task(row.recipe.view, held_out.schema) != task:
            raise InputError(
                f"The columns of model {model!r} are not declared alike in that dataset. Ingest it "
                f"with `schema=` of the one that the model learns from."
            )
        gate = Gate(ACCURACY if task.classes else R2, floor, held_out.id)
        _open(transaction, row)
        values = {"metric": gate.metric, "floor": floor, "dataset": held_out.id}
        transaction.execute(_GATES.insert().values(model=row.id, **values))
    return gate


def drop(site: Site, model: str) -> None:
    """Take the gate of a model away, if it has one."""
    with site.database.transaction() as transaction:
        row = site.model(transaction, model)
        data_sql.lock(transaction, row.dataset)
        _open(transaction, row)


def _open(transaction: sa.Connection, model: Model) -> None:
    """Take a gate away, and have what it refused tried again; the dataset is locked."""
    transaction.execute(_GATES.delete().where(_GATES.c.model == model.id))
    for unit in transaction.scalars(_REFUSED.where(UNITS.c.model == model.id)).all():
        units.retry(transaction, unit)


def of(transaction: sa.Connection, model: Model) -> Gate | None:
    """The gate of a model."""
    row = transaction.execute(sa.select(_GATES).where(_GATES.c.model == model.id)).one_or_none()
    return None if row is None else Gate(row.metric, row.floor, row.dataset, row.refused)


def admit(site: Site, model: Model, planned: Sequence[Plan], built: Collection[str]) -> None:
    """See that a model may be published with what was just built of it.

    Costs one short query where it has no gate or was never served, else a prediction for each
    row of the gate's dataset.

    Args:
        site: Of the model.
        model: It.
        planned: What was built.
        built: File names of the packs that it lies in.

    Raises:
        GateClosed: It would answer worse than its floor; what was built is cut off again.
    """
    with site.database.reading() as transaction:
        gate, version = of(transaction, model), sql.current(transaction, model.id)
        if gate is None or version is None:
            return
        schema = data_sql.get_dataset(transaction, model.dataset, site.data).schema
        ground = site.ground(transaction, gate.dataset)
    score = _score(model, _candidate(model, version, planned, built), schema, ground)
    if score >= gate.floor:
        return
    for plan in planned:
        _cut_back(model, version.constituents[plan.shard], built)
    raise GateClosed(model.name, gate.metric, score, gate.floor)


def set_aside(site: Site, model: Model, planned: Sequence[Plan], score: float) -> None:
    """Have what a gate refused wait for a person, or for something that changes its plan.

    Args:
        site: Of the model.
        model: It.
        planned: What was built.
        score: That it would have had.
    """
    with site.database.transaction() as transaction:
        ground, gate = site.locked_ground_of(transaction, model), of(transaction, model)
        if gate is None or score >= gate.floor:  # it is another one by now
            return
        # What a request has changed meanwhile was not refused, and stays open.
        now = {plan.shard: plans.make(model.recipe, ground, plan.shard) for plan in planned}
        same = [plan for plan in planned if plan.names == now[plan.shard].names]
        waiting = units.want(transaction, model, [plan.shard for plan in same], ())
        values = {"state": UnitState.ASIDE, "error": GateClosed.code}
        transaction.execute(UNITS.update().where(UNITS.c.id.in_(waiting)).values(values))
        mine = _GATES.update().where(_GATES.c.model == model.id)
        transaction.execute(mine.values(refused=score))


def check(site: Site, model: Model) -> None:
    """See that what is missing of a model was not refused before. Costs a few short queries.

    Raises:
        GateClosed: All of it was, and waits.
    """
    with site.database.reading() as transaction:
        gate = of(transaction, model)
        if gate is None or gate.refused is None:
            return
        version = sql.current(transaction, model.id)
        missing = versions.unfinished(model, version, site.ground_of(transaction, model))
        refused = _REFUSED.with_only_columns(UNITS.c.shard).where(UNITS.c.model == model.id)
        aside = set(transaction.scalars(refused))
    if aside.issuperset(missing):
        raise GateClosed(model.name, gate.metric, gate.refused, gate.floor)


def _candidate(
    model: Model, version: Version, planned: Sequence[Plan], built: Collection[str]
) -> Version:
    fresh = {plan.shard: versions.best(model, plan, built) for plan in planned}
    return replace(version, constituents=tuple(fresh.get(c.shard, c) for c in version.constituents))


def _score(model: Model, version: Version, schema: Schema, ground: Ground) -> float:
    """How well a version answers; minus infinity where it cannot, or there are no rows."""
    try:
        loaded = ensemble.load(model, version, schema)
    except ModelWithdrawn:
        return -np.inf
    cells = _cells(model, ground)
    outputs = loaded.predict({name: cells[name] for name in model.recipe.view.features})
    return score(loaded.task, outputs, cells) if len(outputs) else -np.inf


def score(task: Task, outputs: NDArray[np.float64], cells: Mapping[str, NDArray[Any]]) -> float:
    """Accuracy of probabilities, or r² of values (mean over the targets), in (-∞, 1].

    Args:
        task: What was asked.
        outputs: The answers, (n, classes) or (n, targets).
        cells: The true ones by column, (n,) each.
    """
    if task.classes:
        return float(np.mean(outputs.argmax(axis=1) == cells[task.targets[0].name]))
    truth = np.stack([cells[column.name].astype(np.float64) for column in task.targets], axis=1)
    errors = ((truth - outputs) ** 2).sum(axis=0)
    spread = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    return float(np.mean(1 - errors / np.where(spread > 0, spread, np.inf)))


def _cells(model: Model, ground: Ground) -> dict[str, NDArray[Any]]:
    """Cells of the rows that remain of a dataset, as the model's view sees them."""
    view, parts = model.recipe.view, []
    for key, batch in ground.batches.items():
        keep = plans.kept(
            batch, 0, batch.rows, ground.gone_between(key, 0, batch.rows), view.filters
        )
        cells = batch.read([*view.features, *view.targets], 0, batch.rows)
        parts.append({name: column[keep] for name, column in cells.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _cut_back(model: Model, served: Constituent, built: Collection[str]) -> None:
    """Leave of a constituent's fresh packs what is served of them."""
    for path in versions.pack_paths(model, served.shard):
        if path.name in built:
            with packs.writing(path) as pack:
                depth = served.depth if served.pack == path.name else 0
                if pack.cut(pack.frames()[:depth]):
                    pack.sync()
