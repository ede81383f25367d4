"""Correct rows: forget those with the same ids and append the new ones, in one transaction.

The right to rectification, GDPR Art. 16.
"""

from __future__ import annotations

import time
import uuid

import numpy as np

from expunge.core.types import Role
from expunge.data import appending
from expunge.data.batch import Batch
from expunge.data.options import Ingest
from expunge.data.sources import Source
from expunge.requests import forget
from expunge.requests.forget import Accepted, Wanted
from expunge.training.site import Site


def correct(site: Site, dataset: str, source: Source) -> Accepted:
    """Replace the rows whose ids stand in ``source``, which has the dataset's columns.

    The new rows are a batch of their own: the last slice of each shard that they fall into.

    Raises:
        SamplesUnknown: Some ids are not in the dataset; nothing is changed.
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
            appending.register(site.stock, transaction, staged)
            changes = forget.enter(site, transaction, ground, found, request, "correct")
    seconds = time.perf_counter() - started
    return Accepted(request, dataset, len(found.places), found.already, changes, seconds)


def _ids(staged: appending.Staging) -> list[str]:
    column = staged.staged.schema.of(Role.ID)[0].name
    batches = [Batch(batch.folder) for batch in staged.staged.batches]
    parts = [batch.read([column], 0, batch.rows)[column] for batch in batches]
    return [str(one) for one in np.concatenate(parts)]
