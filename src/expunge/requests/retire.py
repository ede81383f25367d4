"""Take models out of service for good, with their checkpoints.

What a regulator may order: delete the models that were made from data, not only the data. From
then on nothing of them answers; the ledger keeps what was recorded about them.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from expunge.data import sql as data_sql
from expunge.requests import units
from expunge.requests.reasons import check_reason
from expunge.storage import disk, facts
from expunge.storage.facts import Fact
from expunge.storage.locks import alone
from expunge.training import serving, sql, versions
from expunge.training.site import Site
from expunge.training.sql import Model, Version


def retire(site: Site, name: str, reason: str = "owner") -> list[str]:
    """Take a model out of service, and all that descend from it. Doing it again finds none.

    Returns when nothing answers from them any more and their checkpoints are destroyed; waits
    for a build that goes on.

    Args:
        site: What the home stands on.
        name: Of the model.
        reason: A code; it stands in the ledger for ever.

    Returns:
        Names of the models that were retired, in order.

    Raises:
        UnknownName: There is no such model.
        InputError: The reason is no code.
    """
    check_reason(reason)
    with site.database.reading() as transaction:
        family = _family(site.model(transaction, name))
    retired = [model.name for model in family if _retire(site, model, reason)]
    destroy_retired(site)
    return retired


def destroy_retired(site: Site) -> None:
    """Destroy the checkpoints of retired models; resumes where that was interrupted."""
    with site.database.reading() as transaction:
        known = sql.retired_models(transaction, site.models)
    for model in known:
        if any(model.folder.glob("*.pack")):
            with alone(model.folder / "build.lock"):
                for path in sorted(model.folder.glob("*.pack")):
                    disk.remove(path)
        for audited in site.audits.glob(f"*/{model.folder.name}"):
            disk.remove(audited)


def take_out(site: Site, transaction: sa.Connection, model: Model) -> Version | None:
    """Have a model answer nothing from now on; its dataset is locked. Returns its last version."""
    version = versions.empty(transaction, model, site.ground_of(transaction, model))
    sql.retire(transaction, model.id)
    units.end(transaction, model)
    return version


def _family(model: Model) -> Sequence[Model]:
    """A model and its descendants; no model is made from another one yet."""
    return [model]


def _retire(site: Site, model: Model, reason: str) -> bool:
    with site.database.transaction() as transaction:
        data_sql.lock(transaction, model.dataset)
        if site.model(transaction, model.name).retired:
            return False
        version = take_out(site, transaction, model)
        body = {"model": model.folder.name, "reason": reason}
        facts.record(transaction, Fact("model.retired", body))
    serving.wait(site, {model.id: version.number} if version else {})
    return True
