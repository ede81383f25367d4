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
from expunge.requests import forget
from expunge.requests.forget import Accepted, Found, Wanted
from expunge.requests.lost import leaving
from expunge.training.site import Site


def correct(site: Site, dataset: str, source: Source) -> Accepted:
    """Replace the rows whose ids stand in ``source``, which has the dataset's columns.

    The new rows are a batch of their own: the last slice of each shard that they fall into.

    Raises:
        SamplesUnknown: Some ids are not in the dataset, or not any more; nothing is changed.
        InputError: The source cannot be used; nothing is changed.
    """
    started = time.perf_counter()
    request = str(uuid.uuid4())
    with site.database.reading() as transaction:
        site.dataset(transaction, dataset)
    with appending.staging(site.stock, dataset, source, Ingest(), replacing=True) as staged:
        wanted = Wanted(samples=tuple(_ids(staged)))
        with site.database.transaction() as transaction:
            row = site.dataset(transaction, dataset)
            ground = site.locked_ground(transaction, row.id)
            found = forget.find(ground, wanted)
            _refuse_forgotten(ground, wanted.samples, found)
            appending.register(site.stock, transaction, staged)
            changes = forget.enter(site, transaction, ground, found, request, "correct")
            left = leaving(ground, found.places)
    seconds = time.perf_counter() - started
    return Accepted(request, dataset, len(found.places), found.already, changes, seconds, left)


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
