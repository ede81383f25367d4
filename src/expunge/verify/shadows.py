"""Models to compare with: shadows of halves of the rows, and retrainings with other seeds.

All are made by the model's own recipe from rows that remain; a forgotten row is in none of them.
A shadow knows about half of the rows: each row is in exactly half of the shadows, which ones its
key decides, so that all rows of a person are in the same, and nobody else's place depends on them.
A retraining knows all of them. All have seeds of their own.

They rest under the home in ``audits/``, by dataset and model, and are named as checkpoints are:
asked for again, what has its name is not built again, and what a killed audit left is gone on
with. They are never served. They are destroyed whenever rows of their dataset are (see
``training.site.forget_audits``).

References:
    Carlini et al., arXiv:2112.03570, section IV-A (each row in half of the shadow models).
    Triantafillou et al., arXiv:2406.09073: vary the seeds of retraining.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from expunge import learners
from expunge.core import rng
from expunge.core.digest import digest
from expunge.core.errors import InputError, PlanStale
from expunge.data.datasets import Ground, Key
from expunge.data.places import Places
from expunge.execution.local import Executor
from expunge.execution.progress import Progress
from expunge.training import ensemble, sql, versions
from expunge.training import plan as plans
from expunge.training.basis import Basis
from expunge.training.ensemble import Ensemble
from expunge.training.plan import Plan
from expunge.training.sql import Model
from expunge.training.unit import Unit
from expunge.verify import building

Ordinals: TypeAlias = Mapping[Key, NDArray[np.int64]]
"""Rows by batch, ascending."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """One model to compare with, before it is built.

    Attributes:
        model: The audited one, with a folder and a recipe's seed of its own.
        ground: What it may learn from.
        plans: One for each shard.
    """

    model: Model
    ground: Ground
    plans: tuple[Plan, ...]


def learnt(model: Model, ground: Ground) -> Ordinals:
    """The rows that a model learns from on this ground."""
    found = {}
    for key, batch in ground.batches.items():
        drop = ground.gone_between(key, 0, batch.rows)
        keep = plans.kept(batch, 0, batch.rows, drop, model.recipe.view.filters)
        found[key] = np.flatnonzero(keep)
    return found


def keys(ground: Ground, rows: Ordinals) -> NDArray[np.uint64]:
    """Places on the ring of rows, in their order: (n,)."""
    found = [ground.batches[key].keys(0, ground.batches[key].rows)[at] for key, at in rows.items()]
    return np.concatenate(found) if found else np.empty(0, np.uint64)


def halves(keys: NDArray[np.uint64], shadows: int, seed: int) -> NDArray[np.bool_]:
    """Which shadow learns from which row: (shadows, n), half of each column.

    Args:
        keys: Of the rows, (n,); equal keys are in the same shadows.
        shadows: How many; even, so that each row is in exactly half.
        seed: Of the draw.

    Raises:
        InputError: An odd number of shadows, or fewer than two.
    """
    if shadows < 2 or shadows % 2:
        raise InputError(f"{shadows} shadow models. Expected an even number, two or more.")
    drawn = [rng.mix(keys, rng.seed("audit", seed, "half", number)) for number in range(shadows)]
    places = np.argsort(np.argsort(np.stack(drawn), axis=0, kind="stable"), axis=0)
    inside: NDArray[np.bool_] = places < shadows // 2
    return inside


def shadows(basis: Basis, model: Model, folder: Path, count: int, seed: int) -> list[Likeness]:
    """What shadow models of ``model`` are to be, in folders of their own below ``folder``."""
    ground = basis.ground_of(model.folder.name)
    rows = learnt(model, ground)
    inside = halves(keys(ground, rows), count, seed)
    made = []
    for number, half in enumerate(inside):
        half_ground = ground.without(_places(ground, rows, ~half))
        seeded = _seeded(model, folder, f"shadow-{number:03d}", seed)
        made.append(_likeness(seeded, half_ground))
    return made


def retrains(basis: Basis, model: Model, folder: Path, count: int, seed: int) -> list[Likeness]:
    """What retrainings of ``model`` from all rows that remain are to be."""
    ground = basis.ground_of(model.folder.name)
    return [
        _likeness(_seeded(model, folder, f"retrain-{number:03d}", seed), ground)
        for number in range(count)
    ]


def build(
    basis: Basis, wanted: Sequence[Likeness], executor: Executor, progress: Progress
) -> list[Ensemble]:
    """Build what is missing of them, as many at a time as the executor has places; load all.

    May be killed at any line: what is there has its name, and is not built again.

    Raises:
        PlanStale: Rows were erased meanwhile; nothing that saw them is left. Audit again.
    """
    units = [_unit(basis, one, plan) for one in wanted for plan in one.plans]
    name = wanted[0].model.name if wanted else ""
    building.build(units, executor, progress, f"models to compare {name} with")
    return [_loaded(one) for one in wanted]


def _unit(basis: Basis, one: Likeness, plan: Plan) -> Unit:
    return building.unit(basis, one.model.recipe, plan, one.model.folder)


def _loaded(one: Likeness) -> Ensemble:
    constituents = tuple(versions.best(one.model, plan) for plan in one.plans)
    if not all(constituent.whole for constituent in constituents):
        raise PlanStale
    version = sql.Version(
        model=one.model.id,
        number=0,
        clean_to=one.ground.tombstones,
        batches=len(one.ground.batches),
        digest=sql.version_digest(one.model, constituents),
        whole=True,
        constituents=constituents,
        created="",
    )
    return ensemble.load(one.model, version, one.ground.dataset.schema)


def _likeness(model: Model, ground: Ground) -> Likeness:
    made = tuple(plans.make(model.recipe, ground, shard) for shard in versions.all_shards(model))
    if learners.declared(model.recipe.learner) is not None:
        # In a folder of its own for each plan: it has to be built, never be made by the very
        # method that is audited from what knew more rows.
        names = digest("likeness", *(name for plan in made for name in plan.names)).hex()
        model = replace(model, folder=model.folder / names[:16])
    return Likeness(model, ground, made)


def _seeded(model: Model, folder: Path, name: str, seed: int) -> Model:
    drawn = rng.seed("audit", seed, name, model.recipe.seed) >> 33
    return replace(model, folder=folder / name, recipe=replace(model.recipe, seed=drawn))


def _places(ground: Ground, rows: Ordinals, chosen: NDArray[np.bool_]) -> Places:
    """Those of the rows that a mask over all of them chooses."""
    parts, start = [], 0
    for key, ordinals in rows.items():
        named = ordinals[chosen[start : start + len(ordinals)]]
        tokens = ground.batches[key].tokens(0, ground.batches[key].rows)[named]
        parts.append(Places.at(key, named, tokens))
        start += len(ordinals)
    return Places.joined(parts)
