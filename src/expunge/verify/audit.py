"""Audit one model of a home: attack it, compare it with retrained ones, and say what was found.

Costs training ``shadows / 2 + retrains`` models: with the defaults, 16. They are built by the
model's own recipe, several at a time, are kept until rows of the dataset are destroyed, and are
not built again for the next audit of the same rows.

All margins stand in :class:`~expunge.verify.settings.Settings`, and are to be fixed before anybody looks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from expunge import learners
from expunge.core import rng
from expunge.core.errors import InputError, ModelWithdrawn
from expunge.core.types import Guarantee
from expunge.data.datasets import Ground
from expunge.execution.local import Executor
from expunge.execution.progress import Progress
from expunge.metrics.arrays import Mask
from expunge.storage.locks import alone
from expunge.training import ensemble, sql
from expunge.training.basis import Basis, in_home
from expunge.training.ensemble import Ensemble
from expunge.training.site import Site, audit_folder
from expunge.training.sql import Model, Version
from expunge.verify import audited_rows, gold_standard, membership, score_curves, shadows
from expunge.verify.audited_rows import Rows
from expunge.verify.gold import Answers
from expunge.verify.gold_standard import Margins
from expunge.verify.membership import Asked, Told
from expunge.verify.report import FORMAT, Check, Curve, Report, level_of
from expunge.verify.score_plan import Plan
from expunge.verify.settings import Given, Settings
from expunge.verify.shadows import Ordinals


@dataclass(frozen=True, slots=True)
class _Scene:
    """The model and its rows at one moment.

    Attributes:
        strangers: Rows of another dataset, which the model never saw.
    """

    model: Model
    version: Version
    basis: Basis
    held: Ordinals
    strangers: Ground | None


def audit(
    site: Site,
    model: Model,
    given: Given,
    settings: Settings,
    work: tuple[Executor, Progress],
) -> Report:
    """Audit the served version of ``model``. Another audit of the same home is waited for.

    Raises:
        InputError: The model is a regression, no forgotten row is there to ask about, or rows do
            not fit the view.
        ModelWithdrawn: It has no version, or no clean constituent is left.
        PlanStale: Rows were destroyed meanwhile. Audit again.
    """
    started = time.monotonic()
    with alone(site.root / "audit.lock"):
        scene = _look(site, model, given.unseen_dataset)
        groups, inside = _rows(scene, given, settings)
        served = ensemble.load(model, scene.version, scene.basis.ground.dataset.schema)
        dataset = scene.basis.ground.dataset.folder.name
        folder = audit_folder(site, dataset, model.folder.name)
        likes = _compared(scene, folder, settings, work)
        answers = {name: _answers(rows, served, likes[1]) for name, rows in groups.items()}
        told = _all_told(groups, answers, likes[0], inside)
    asked = Asked(told["forgotten"], told["retained"], told.get("unseen"))
    checks = _checks(answers, asked, settings)
    curves = (*score_curves.of(membership.scored(asked)), gold_standard.tradeoff(answers))
    return _report(scene, settings, (checks, curves), given, time.monotonic() - started)


def _look(site: Site, model: Model, unseen: str | None) -> _Scene:
    with site.database.reading() as transaction:
        version = sql.current(transaction, model.id)
        basis = in_home(site, transaction, model.dataset)
        ground = basis.ground_of(model.folder.name)
        held = audited_rows.held(transaction, model, ground)
        other = None if unseen is None else site.dataset(transaction, unseen).id
        strangers = None if other is None else site.ground(transaction, other)
    if version is None:
        raise ModelWithdrawn(model.name)
    return _Scene(model, version, basis, held, strangers)


def _rows(scene: _Scene, given: Given, settings: Settings) -> tuple[dict[str, Rows], Mask]:
    """Groups of rows by name, and which shadow is trained on which row that stays."""
    model, ground = scene.model, scene.basis.ground_of(scene.model.folder.name)
    stay = shadows.learnt(model, ground)
    asked = audited_rows.drawn(ground, stay, settings.retained, rng.seed("asked", settings.seed))
    found = {
        "forgotten": audited_rows.picked(model, ground, scene.held)
        if given.forgot is None
        else audited_rows.given(model, ground, given.forgot, "forgot"),
        "retained": audited_rows.picked(model, ground, asked),
        "unseen": _unseen(scene, given, settings),
    }
    if found["forgotten"] is None or found["retained"] is None:
        raise InputError(
            f"No row that model {model.name!r} forgot is held any more, or none stays. Forgotten "
            f"rows can be read until they are destroyed; from then on, give them yourself "
            f"(`forgot`), as a table with the view's columns."
        )
    inside = shadows.halves(shadows.keys(ground, asked), settings.shadows, settings.seed)
    return {name: rows for name, rows in found.items() if rows is not None}, inside


def _unseen(scene: _Scene, given: Given, settings: Settings) -> Rows | None:
    """Rows that no model saw, if some were given."""
    model, ground = scene.model, scene.basis.ground_of(scene.model.folder.name)
    if given.unseen is not None:
        return audited_rows.given(model, ground, given.unseen, "unseen")
    if scene.strangers is None:
        return None
    audited_rows.check_alike(model, ground, scene.strangers)
    rows = shadows.learnt(model, scene.strangers)
    seed = rng.seed("asked", settings.seed)
    drawn = audited_rows.drawn(scene.strangers, rows, settings.retained, seed)
    return audited_rows.picked(model, scene.strangers, drawn)


def _compared(
    scene: _Scene, folder: Path, settings: Settings, work: tuple[Executor, Progress]
) -> tuple[list[Ensemble], list[Ensemble]]:
    """Shadow models and retrained ones, built together so that no worker waits."""
    arguments = scene.basis, scene.model, folder
    wanted = shadows.shadows(*arguments, settings.shadows, settings.seed)
    wanted += shadows.retrains(*arguments, settings.retrains, settings.seed)
    built = shadows.build(scene.basis, wanted, *work)
    return built[: settings.shadows], built[settings.shadows :]


def _answers(rows: Rows, served: Ensemble, retrained: Sequence[Ensemble]) -> Answers:
    own, again = rows.answers(served), [rows.answers(one) for one in retrained]
    return Answers(
        classes=rows.classes,
        served=own,
        retrained=np.array(again),
        phi=rows.phi(own),
        retrained_phi=np.array([rows.phi(one) for one in again]),
    )


def _all_told(
    groups: Mapping[str, Rows],
    answers: Mapping[str, Answers],
    likes: Sequence[Ensemble],
    inside: Mask,
) -> dict[str, Told]:
    """What models said of each group; rows that stay are in half of the shadows, others in none."""
    signals = {
        name: np.array([rows.phi(rows.answers(one)) for one in likes])
        for name, rows in groups.items()
    }
    a = membership.chosen_a(signals["retained"], inside)
    found = {}
    for name, of in answers.items():
        member = inside if name == "retained" else np.zeros(signals[name].shape, np.bool_)
        hits = (np.array(of.models).argmax(axis=2) == of.classes).astype(np.float64)
        found[name] = Told.of((of.phi, of.retrained_phi), signals[name], member, a, hits)
    return found


def _checks(answers: Mapping[str, Answers], asked: Asked, settings: Settings) -> tuple[Check, ...]:
    plan = Plan(margin=settings.margin, seed=settings.seed)
    margins = Margins(plan, settings.accuracy, settings.divergence, settings.further)
    return (
        *membership.checks(asked, settings),
        *gold_standard.checks(dict(answers), margins),
    )


def _report(
    scene: _Scene,
    settings: Settings,
    found: tuple[tuple[Check, ...], tuple[Curve, ...]],
    given: Given,
    seconds: float,
) -> Report:
    checks, curves = found
    level, name = level_of(checks)
    return Report(
        format=FORMAT,
        subject=scene.model.name,
        version=scene.version.digest,
        guarantee=_guarantee(scene.model).value,
        made=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        level=level,
        level_name=name,
        checks=checks,
        curves=curves,
        settings={**_plain(settings), "forgotten": "held" if given.forgot is None else "given"},
        seconds=seconds,
    )


def _guarantee(model: Model) -> Guarantee:
    """The weakest that the model's owner declared; what is served may have a stronger one."""
    learner = learners.declared(model.recipe.learner)
    return learner.guarantee if learner else Guarantee.EXACT


def _plain(settings: Settings) -> dict[str, Any]:
    return {**asdict(settings), "rates": [list(pair) for pair in settings.rates]}
