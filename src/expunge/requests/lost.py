"""Say when a declared value lost its last holder: its class keeps its place, but nobody is in it.

What the leaving rows hold is noted while they are there, for microseconds; whether anybody
else holds it is counted when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from expunge.core.types import Kind, Role
from expunge.data.batch import Batch
from expunge.data.datasets import Ground
from expunge.data.sql import Place


def leaving(ground: Ground, places: Sequence[Place]) -> dict[str, frozenset[int]]:
    """Codes of the declared values that these rows hold, by categorical column."""
    found: dict[str, set[int]] = {name: set() for name in _categorical(ground)}
    for key, group in groupby(sorted(places), key=lambda place: (place.tier, place.batch)):
        ordinals = [place.ordinal for place in group]
        for name, codes in _cells(ground.batches[key], list(found), ordinals):
            found[name].update(codes[codes >= 0].tolist())
    return {name: frozenset(codes) for name, codes in found.items() if codes}


def lost(ground: Ground, left: Mapping[str, frozenset[int]]) -> dict[str, int]:
    """How many of the values that ``left`` no remaining row holds, by column; no zeros.

    Costs one look at these columns of all rows.
    """
    held: dict[str, set[int]] = {name: set() for name in left}
    for key, batch in ground.batches.items():
        keep = np.ones(batch.rows, np.bool_)
        keep[ground.gone_between(key, 0, batch.rows)] = False
        for name, codes in batch.read(list(left), 0, batch.rows).items():
            held[name].update(np.unique(codes[keep]).tolist())
    counts = {name: len(codes - held[name]) for name, codes in left.items()}
    return {name: count for name, count in counts.items() if count}


def _categorical(ground: Ground) -> list[str]:
    columns = ground.dataset.schema.columns
    return [c.name for c in columns if c.kind is Kind.CATEGORICAL and c.role is not Role.TIER]


def _cells(
    batch: Batch, columns: Sequence[str], ordinals: Sequence[int]
) -> Iterator[tuple[str, NDArray[np.int32]]]:
    """Cells of single rows, from each segment that holds some of them."""
    located = sorted(batch.locate(ordinal) for ordinal in ordinals)
    for number, group in groupby(located, key=lambda where: where[0]):
        places = [place for _, place in group]
        rows = batch.segment(number)
        for name in columns:
            yield name, rows.column(name).to_numpy()[places]
