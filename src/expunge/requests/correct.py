"""Correct rows: forget those with the same ids and append the new ones, in one transaction.

The right to rectification, GDPR Art. 16.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import numpy as np

from expunge.core.errors import SamplesUnknown
from expunge.core.types import Role
from expunge.data import appending
from expunge.data.batch import Batch
from expunge.data.datasets import Ground
from expunge.data.options import Ingest
from expunge.data.ring import Ring
from expunge.data.sources import Source
from expunge.requests import finding, moments, successors
from expunge.requests.entering import Asked, Entered, enter
from expunge.requests.finding import Found, Ledge, Wanted
from expunge.requests.forget import Accepted
from expunge.requests.kinds import Kind
from expunge.requests.lost import leaving
from expunge.requests.refuse import refusing
from expunge.requests.telling import tell
from expunge.requests.terms import EVERY_MODEL, Terms
from expunge.storage import facts
from expunge.storage.facts import Fact
from expunge.training.site import Site


def correct(site: Site, dataset: str, source: Source) -> Accepted:
    """Replace the rows whose ids stand in ``source``, which has the dataset's columns.

    The new rows are a batch of their own: the last slice of each shard that they fall into. They
    succeed the old ones in whatever else was asked about those (:mod:`.successors`).

    Raises:
        SamplesUnknown: Some ids are not in the dataset, or not any more; nothing is changed.
        InputError: The source cannot be used; nothing is changed.
    """
    started, request = time.perf_counter(), str(uuid.uuid4())
    with refusing(site, request, Kind.CORRECT):
        with site.database.reading() as transaction:
            site.dataset(transaction, dataset)
        with appending.staging(site.stock, dataset, source, Ingest(), replacing=True) as staged:
            ground, found, entered = _replace(site, staged, request)
            tell(site, entered.records, entered.numbers)
            left = leaving(ground, found.places)
    seconds = time.perf_counter() - started
    counts = (len(found.places), found.already)
    row = entered.requests[request]
    return Accepted(request, dataset, *counts, entered.changes[request], seconds, row, left)


def _replace(site: Site, staged: appending.Staging, request: str) -> tuple[Ground, Found, Entered]:
    wanted = Wanted(samples=tuple(_ids(staged)))
    with site.database.transaction() as transaction:
        row = site.dataset(transaction, staged.name)
        ground = site.locked_ground(transaction, row.id)
        (places,) = finding.name(ground, [wanted])
        if isinstance(places, SamplesUnknown):
            raise places
        found = Ledge(ground, transaction).sort_out(places)
        _refuse_forgotten(ground, wanted.samples, found)
        ground = successors.follow(transaction, ground, found.places, successors.rows_of(staged))
        appending.register(site.stock, transaction, staged)
        terms = Terms(Kind.CORRECT)
        told = moments.of(terms, moments.now_by(transaction))
        asked = Asked(request, terms, EVERY_MODEL, told, found, wanted.identifiers)
        models = site.models_of(transaction, row.id)
        entered = enter(site, transaction, ground, models, [asked])
        body = {
            "dataset": row.folder.name,
            "batch": staged.staged.batches[0].number,
            "rows": staged.staged.rows,
        }
        facts.record(transaction, Fact("request.corrected", body, request))
    return ground, found, entered


def _refuse_forgotten(ground: Ground, ids: Sequence[str], found: Found) -> None:
    """An id that was forgotten does not come back by a correction."""
    alive = {place.token for place in found.places}
    tokens = Ring(ground.dataset.secret).tokens(ids).tolist()
    if gone := [one for one, token in zip(ids, tokens, strict=True) if token not in alive]:
        raise SamplesUnknown(gone)


def _ids(staged: appending.Staging) -> list[str]:
    column = staged.staged.schema.of(Role.ID)[0].name
    batches = [Batch(batch.folder) for batch in staged.staged.batches]
    parts = [batch.read([column], 0, batch.rows)[column] for batch in batches]
    return [str(one) for one in np.concatenate(parts)]
