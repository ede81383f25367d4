"""Destroy what was forgotten: rows, and checkpoints that saw them. A step of its own.

Held rows are destroyed when every model of their dataset is whole again. Rows go first: a
builder that still holds an old plan finds their commitments gone and builds nothing. Then
the packs, each behind its lock. May be killed at any line; running it again finishes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import sqlalchemy as sa

from expunge.data import appending
from expunge.data import sql as data_sql
from expunge.data.datasets import Ground
from expunge.data.erase import erase
from expunge.data.sql import Tombstone
from expunge.requests import sql
from expunge.storage import facts
from expunge.storage.facts import Fact
from expunge.storage.locks import alone
from expunge.training import sql as training_sql
from expunge.training import versions
from expunge.training.site import Site, forget_leftovers
from expunge.training.sql import Model


def destroy(site: Site, dataset: int) -> int:
    """Destroy all held rows of a dataset, if its models are whole. Returns how many."""
    with site.database.reading() as transaction:
        held = data_sql.held(transaction, dataset)
        ground = site.ground(transaction, dataset)
        models = site.models_of(transaction, dataset)
        whole = not any(_waits(site, transaction, model) for model in models)
    if not held or not whole:
        return 0
    appending.tidy(site.stock)
    forget_leftovers(site)
    _erase_rows(ground, held)
    frames = {model.folder.name: _sweep(site, model, ground, held) for model in models}
    _note(site, dataset, held, frames)
    site.database.scrub()
    return len(held)


def _waits(site: Site, transaction: sa.Connection, model: Model) -> bool:
    # A model without a version has nothing that a rebuild could keep. Its first training may
    # go on: it finds the rows' commitments gone, or ends before its packs are swept.
    is_served = training_sql.current_number(transaction, model.id) > 0
    return is_served and versions.is_behind(site, transaction, model)


def _erase_rows(ground: Ground, held: Sequence[Tombstone]) -> None:
    places = sorted(tombstone.place for tombstone in held)
    for key, group in groupby(places, key=lambda place: (place.tier, place.batch)):
        erase(ground.batches[key], np.array([place.ordinal for place in group], np.int64))


def _sweep(site: Site, model: Model, ground: Ground, held: Sequence[Tombstone]) -> int:
    shards = versions.touched(model, [tombstone.place for tombstone in held], ground)
    with alone(model.folder / "build.lock"):
        return sum(versions.sweep(site, model, shard) for shard in shards)


def _note(site: Site, dataset: int, held: Sequence[Tombstone], frames: dict[str, int]) -> None:
    with site.database.transaction() as transaction:
        data_sql.lock(transaction, dataset)
        still = {
            tombstone.number: tombstone.request for tombstone in data_sql.held(transaction, dataset)
        }
        ours = [tombstone for tombstone in held if tombstone.number in still]
        if not ours:  # another process did the same, and has noted it
            return
        data_sql.release(transaction, dataset, [tombstone.number for tombstone in ours])
        done = {tombstone.number for tombstone in ours}
        left = {request for number, request in still.items() if number not in done}
        requests = sorted({tombstone.request for tombstone in ours})
        sql.finish(transaction, dataset, requests, left)
        body = {"rows": len(ours), "frames": frames, "requests": requests}
        facts.record(transaction, Fact("checkpoint.destroyed", body))
