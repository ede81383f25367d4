"""How fast models were rebuilt lately, from what was recorded about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

import sqlalchemy as sa

from expunge.storage.facts import FACTS

_LOOKED_AT: Final = 1_000
_COUNTED: Final = 20
_LATEST: Final = (
    sa.select(FACTS.c.leaf)
    .where(FACTS.c.kind == "unit.rebuilt")
    .order_by(FACTS.c.number.desc())
    .limit(_LOOKED_AT)
)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a model was rebuilt: medians of its last rebuilds, as many as 20.

    Attributes:
        sample_s: Seconds for each visited sample.
        unit_s: Seconds for each rebuild.
        rebuilds: How many were measured.
    """

    sample_s: float
    unit_s: float
    rebuilds: int


def measured(transaction: sa.Connection) -> dict[str, Pace]:
    """By name of the model's folder; models of which the last rebuilds tell nothing are missing.

    Reads at most a thousand facts, the latest.
    """
    found: dict[str, list[tuple[float, int]]] = {}
    for leaf in transaction.scalars(_LATEST):
        body = json.loads(bytes(leaf))["body"]
        rebuilds = found.setdefault(body["model"], [])
        if body["samples"] and len(rebuilds) < _COUNTED:
            rebuilds.append((body["seconds"], body["samples"]))
    return {model: _pace(rebuilds) for model, rebuilds in found.items() if rebuilds}


def of(paces: Mapping[str, Pace], folder: str, samples: int) -> float | None:
    """Seconds that visiting ``samples`` of a model takes; None where nothing was measured."""
    if not samples:
        return 0.0
    pace = paces.get(folder)
    return pace.sample_s * samples if pace else None


def _pace(rebuilds: list[tuple[float, int]]) -> Pace:
    each = median(seconds / samples for seconds, samples in rebuilds)
    return Pace(each, median(seconds for seconds, _ in rebuilds), len(rebuilds))
