"""Models about which a restored database and the ledger say otherwise."""

from __future__ import annotations

import re
from typing import Final

import sqlalchemy as sa

from expunge.requests.retire import take_out
from expunge.storage import disk, facts
from expunge.storage.facts import Fact
from expunge.training import sql as training_sql
from expunge.training.site import Site

_UNKNOWN: Final = "unknown to the restored database"
_FOLDER: Final = re.compile("[0-9a-f]+-[0-9a-f]{16}")


def retire(site: Site, transaction: sa.Connection) -> int:
    """Retire models that are not here: those that the ledger knows, and those that left a folder.

    No request to come would find their checkpoints. A model has a row before a folder. Returns
    how many there were.
    """
    rows = [
        *site.all_models(transaction),
        *training_sql.retired_models(transaction, site.models),
    ]
    known, retired = {model.folder.name for model in rows}, _told(transaction, "model.retired")
    left = {place.name for place in site.models.iterdir()} - known
    for name in sorted(left):
        disk.remove(site.models / name)
    # Of a folder that no model of ours had, the ledger says nothing: its name could be anything.
    ours = {name for name in left if _FOLDER.fullmatch(name)}
    lost = (_told(transaction, "model.created") | ours) - known - retired
    for name in sorted(lost):
        facts.record(transaction, Fact("model.retired", {"model": name, "reason": _UNKNOWN}))
    return len(lost | left)


def retire_again(site: Site, transaction: sa.Connection) -> dict[int, int]:
    """Retire models that were retired since the backup; the datasets are locked.

    Returns:
        Numbers of their last versions, by model.
    """
    retired, numbers = _told(transaction, "model.retired"), {}
    for model in site.all_models(transaction):
        if model.folder.name in retired:
            version = take_out(site, transaction, model)
            numbers[model.id] = version.number if version else 0
    return numbers


def _told(transaction: sa.Connection, kind: str) -> set[str]:
    return {str(fact.body["model"]) for fact in facts.read(transaction, kinds=[kind])}
