"""Accept a request: tombstones and clean versions, in one transaction.

When the transaction has committed, every version that is served is without the samples. The
rebuilding that makes the models whole again comes later and changes nothing about that.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from expunge.core.errors import InputError, NothingToForget, SamplesUnknown
from expunge.data import sql as data_sql
from expunge.data.datasets import Ground, Key
from expunge.data.ring import Ring
from expunge.data.sql import Place
from expunge.requests import sql
from expunge.requests.lost import leaving
from expunge.storage import facts
from expunge.storage.facts import Fact
from expunge.training import sql as training_sql
from expunge.training import versions
from expunge.training.site import Site
from expunge.training.sql import Version

MISSING = ("raise", "ignore")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request names.

    Attributes:
        missing: ``raise`` or ``ignore`` ids that the dataset never held.
    """

    samples: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    missing: str = "raise"

    def __post_init__(self) -> None:
        if self.missing not in MISSING:
            raise InputError(f"`missing` must be 'raise' or 'ignore', got {self.missing!r}.")


@dataclass(frozen=True, slots=True)
class Change:
    """What a request did to one model.

    Attributes:
        before: The version that was served, and is not any more.
        after: The one that is; the same where the model had not seen the samples.
    """

    model: str
    before: Version | None
    after: Version | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted request.

    Attributes:
        samples: How many rows are forgotten by it.
        already: How many of the rows that it names were forgotten before.
        seconds: Time to forget: from the call until no response can come from a model that
            saw the samples.
        left: Codes of the declared values that the rows held, by categorical column. Content:
            it is kept in memory alone.
    """

    request: str
    dataset: str
    samples: int
    already: int
    changes: tuple[Change, ...]
    seconds: float
    left: Mapping[str, frozenset[int]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that a request names: those to forget, and how many were gone already."""

    places: tuple[Place, ...]
    already: int


def accept(site: Site, dataset: str, wanted: Wanted) -> Accepted:
    """Forget what ``wanted`` names, from now on, in every model of the dataset.

    Costs one transaction with one fsync, and for each touched shard two binary searches per
    slice and the reading of one checkpoint; a few milliseconds.

    Raises:
        NothingToForget: It names nothing.
        SamplesUnknown: It names what the dataset never held; nothing is forgotten.
    """
    started = time.perf_counter()
    if not (wanted.samples or wanted.subjects):
        raise NothingToForget
    request = str(uuid.uuid4())
    with site.database.transaction() as transaction:
        row = site.dataset(transaction, dataset)
        ground = site.locked_ground(transaction, row.id)
        found = find(ground, wanted)
        changes = enter(site, transaction, ground, found, request, "forget")
        left = leaving(ground, found.places)
    seconds = time.perf_counter() - started
    return Accepted(request, dataset, len(found.places), found.already, changes, seconds, left)


def enter(
    site: Site,
    transaction: sa.Connection,
    ground: Ground,
    found: Found,
    request: str,
    kind: str,
) -> tuple[Change, ...]:
    """Insert tombstones and publish without them. The dataset is locked."""
    dataset, samples = ground.dataset.id, len(found.places)
    held = bool(samples) or (found.already > 0 and dataset in data_sql.holding(transaction))
    sql.add(transaction, request, dataset, kind, samples, held=held)
    received = {"dataset": ground.dataset.folder.name, "samples": len(found.places), "kind": kind}
    facts.record(transaction, Fact("request.received", received, request))
    if not found.places:
        return ()
    data_sql.add_tombstones(transaction, ground.dataset, found.places, request)
    after = ground.without(found.places)
    changes = tuple(
        _publish(transaction, model, after, found.places)
        for model in site.models_of(transaction, ground.dataset.id)
    )
    for change in changes:
        facts.record(transaction, Fact("request.forgotten", _forgotten(change), request))
    return changes


def find(ground: Ground, wanted: Wanted) -> Found:
    """Where the rows are that ``wanted`` names; each row once.

    Raises:
        SamplesUnknown: Some are nowhere, and ``missing`` says to raise.
    """
    alive: set[Place] = set()
    gone: set[Place] = set()
    _find_samples(ground, wanted, alive, gone)
    _find_subjects(ground, wanted, alive, gone)
    return Found(tuple(sorted(alive)), len(gone))


def _find_samples(ground: Ground, wanted: Wanted, alive: set[Place], gone: set[Place]) -> None:
    ids = sorted(set(wanted.samples))
    known = np.zeros(len(ids), np.bool_)
    for key, batch in ground.batches.items():
        ordinals = batch.find_ids(ids, Ring(ground.dataset.secret))
        known |= ordinals >= 0
        _sort_out(ground, key, ordinals[ordinals >= 0], alive, gone)
    _refuse_unknown(ids, known, wanted, "sample ids")


def _find_subjects(ground: Ground, wanted: Wanted, alive: set[Place], gone: set[Place]) -> None:
    subjects = sorted(set(wanted.subjects))
    known = np.zeros(len(subjects), np.bool_)
    for index, subject in enumerate(subjects):
        for key, batch in ground.batches.items():
            ordinals = batch.find_subject(subject, Ring(ground.dataset.secret))
            known[index] |= len(ordinals) > 0
            _sort_out(ground, key, ordinals, alive, gone)
    _refuse_unknown(subjects, known, wanted, "subjects")


def _sort_out(
    ground: Ground,
    key: Key,
    ordinals: NDArray[np.int64],
    alive: set[Place],
    gone: set[Place],
) -> None:
    for ordinal, is_gone in zip(ordinals.tolist(), ground.is_gone(key, ordinals), strict=True):
        token = int(ground.batches[key].tokens(ordinal, ordinal + 1)[0])
        (gone if is_gone else alive).add(Place(*key, ordinal, token))


def _refuse_unknown(
    ids: Sequence[str], known: NDArray[np.bool_], wanted: Wanted, what: str
) -> None:
    if wanted.missing == "raise" and not known.all():
        raise SamplesUnknown([ids[i] for i in np.flatnonzero(~known).tolist()], what)


def _publish(
    transaction: sa.Connection,
    model: training_sql.Model,
    ground: Ground,
    places: Collection[Place],
) -> Change:
    before = training_sql.current(transaction, model.id)
    # None: its first training is still running, and will publish without them.
    return Change(model.name, before, versions.withdraw(transaction, model, ground, places))


def _forgotten(change: Change) -> dict[str, Any]:
    after, before = change.after, change.before
    if after is None or before is None:
        return {"model": change.model, "version": None}
    pairs = zip(before.constituents, after.constituents, strict=True)
    return {
        "model": change.model,
        "version": after.digest,
        "names": [
            [
                b.shard,
                b.frame.name.hex() if b.frame else None,
                a.frame.name.hex() if a.frame else None,
            ]
            for b, a in pairs
            if b.frame != a.frame
        ],
    }
