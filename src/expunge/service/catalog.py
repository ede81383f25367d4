"""What a server shows of datasets, models, versions, forecasts and holds. Plain JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from expunge.core.errors import UnknownName
from expunge.data import sql as data_sql
from expunge.home import Home, Prediction
from expunge.requests import gates
from expunge.requests.forecast import Forecast, Touched
from expunge.requests.holds import Hold
from expunge.service.answers import is_withdrawn
from expunge.storage.database import METADATA
from expunge.training import recipe as recipes
from expunge.training import sql
from expunge.training.site import Site
from expunge.training.sql import Model

_VERSIONS: Final = METADATA.tables["version"]


def datasets(home: Home) -> dict[str, Any]:
    """All datasets, by name. Reads what is forgotten of each, from memory mostly."""
    return {"datasets": [_dataset(home, name) for name in sorted(home.datasets())]}


def models(site: Site) -> dict[str, Any]:
    """All models, in the order in which they were made."""
    with site.database.reading() as transaction:
        known = site.all_models(transaction)
        return {"models": [_model(site, transaction, one) for one in known]}


def model(site: Site, name: str) -> dict[str, Any]:
    """A model.

    Raises:
        UnknownName: There is none of that name.
    """
    with site.database.reading() as transaction:
        return _model(site, transaction, site.model(transaction, name))


def versions(site: Site, name: str, before: int | None, most: int) -> dict[str, Any]:
    """A page of a model's versions, newest first; ``next`` is what the next page is before.

    Raises:
        UnknownName: There is none of that name.
    """
    t = _VERSIONS.c
    with site.database.reading() as transaction:
        query = sa.select(_VERSIONS).where(t.model == site.model(transaction, name).id)
        if before is not None:
            query = query.where(t.number < before)
        rows = transaction.execute(query.order_by(t.number.desc()).limit(most + 1)).all()
    following = str(rows[most - 1].number) if len(rows) > most else None
    return {"versions": [_version(row) for row in rows[:most]], "next": following}


def prediction(answered: Prediction) -> dict[str, Any]:
    """Outputs, and the version that they come from."""
    outputs, classes = answered.outputs, list(answered.classes)
    if classes:
        best: Sequence[Any] = [classes[place] for place in outputs.argmax(axis=1).tolist()]
    else:
        best = (outputs[:, 0] if outputs.shape[1] == 1 else outputs).tolist()
    return {
        "version": answered.version,
        "classes": classes,
        "outputs": np.asarray(outputs, np.float64).tolist(),
        "predictions": best,
    }


def forecast(made: Forecast) -> dict[str, Any]:
    """What a request would cost, and when it would be done."""
    return {
        "samples": made.samples,
        "already": made.already,
        "models": [_touched(one) for one in made.models],
        "seconds": made.seconds,
        "ahead": made.ahead,
        "ahead_s": made.ahead_s,
        "effective_at": _moment(made.effective_at),
        "batch_starts_at": _moment(made.batch_starts_at),
        "rebuilt_at": _moment(made.rebuilt_at),
        "done_at": _moment(made.done_at),
        "deadline": _moment(made.deadline),
        "confirm_by": _moment(made.confirm_by),
        "late": made.is_late,
    }


def gate(site: Site, name: str) -> dict[str, Any]:
    """The gate of a model.

    Raises:
        UnknownName: There is no such model, or it has no gate.
    """
    with site.database.reading() as transaction:
        found = _gate(site, transaction, site.model(transaction, name))
    if found is None:
        raise UnknownName("gate", name, [])
    return found


def hold(one: Hold) -> dict[str, Any]:
    """A legal hold."""
    return {
        "id": one.id,
        "name": one.name,
        "dataset": one.dataset,
        "rows": one.rows,
        "placed": one.placed,
    }


def _dataset(home: Home, name: str) -> dict[str, Any]:
    people = home.dataset(name)
    return {
        "name": name,
        "rows": people.rows,
        "forgotten": people.forgotten,
        "batches": people.batches,
        "columns": [column.name for column in people.schema.columns],
    }


def _model(site: Site, transaction: sa.Connection, one: Model) -> dict[str, Any]:
    dataset = data_sql.get_dataset(transaction, one.dataset, site.data)
    task, recipe = recipes.task(one.recipe.view, dataset.schema), one.recipe
    current = sql.current(transaction, one.id)
    return {
        "name": one.name,
        "dataset": dataset.name,
        "purpose": recipe.view.purpose,
        "features": [column.name for column in task.features],
        "targets": [column.name for column in task.targets],
        "classes": list(task.classes),
        "shards": recipe.shards,
        "slices": recipe.slices,
        "version": current.digest if current else None,
        "whole": current.whole if current else False,
        "withdrawn": is_withdrawn(current) if current else True,
        "gate": _gate(site, transaction, one),
    }


def _gate(site: Site, transaction: sa.Connection, one: Model) -> dict[str, Any] | None:
    found = gates.of(transaction, one)
    if found is None:
        return None
    dataset = data_sql.get_dataset(transaction, found.dataset, site.data)
    return {
        "model": one.name,
        "metric": found.metric,
        "floor": found.floor,
        "dataset": dataset.name,
    }


def _version(row: sa.Row[Any]) -> dict[str, Any]:
    version = sql.version_of(row)
    return {
        "number": version.number,
        "version": version.digest,
        "created": version.created,
        "whole": version.whole,
        "withdrawn": is_withdrawn(version),
        "samples": sum(one.frame.samples for one in version.constituents if one.frame),
    }


def _touched(one: Touched) -> dict[str, Any]:
    return {
        "model": one.model,
        "shards": list(one.shards),
        "slices": one.slices,
        "samples": one.samples,
        "seconds": one.seconds,
        "joins": len(one.joins),
        "starts_at": _moment(one.starts_at),
        "withdrawn": one.withdrawn,
    }


def _moment(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
