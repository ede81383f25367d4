"""Versions: publish, for each constituent, the longest checkpoint that its plan still names.

There is one way to publish, after training and after forgetting alike. What a forgotten
sample shaped is not named by any plan any more, so it cannot be chosen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from expunge.data import sql as data_sql
from expunge.data.datasets import Ground
from expunge.data.sql import Place
from expunge.storage import facts, packs
from expunge.storage.database import now
from expunge.storage.facts import Fact
from expunge.training import lineage, sql
from expunge.training import plan as plans
from expunge.training.plan import Plan
from expunge.training.site import Site
from expunge.training.sql import Constituent, Model, Version


def publish(
    transaction: sa.Connection,
    model: Model,
    ground: Ground,
    shards: Collection[int],
    built: Collection[str] = (),
) -> Version:
    """Make the best clean version of ``model`` the one that is served.

    The dataset must be locked, and ``ground``, the dataset's or the model's own, loaded after
    that, so that no tombstone can come between.

    Of the constituents, those of ``shards`` may have changed; the others are taken from the
    version before, if there is one. Packs that were just ``built`` are preferred to those of
    other runtimes that are as good.

    Raises:
        ModelRetired: It is out of service for good.
    """
    sql.check_in_service(transaction, model)
    ground, before = ground.under(model.scopes), sql.current(transaction, model.id)
    shards = shards if before else all_shards(model)
    constituents = list(before.constituents) if before else [_nothing(s) for s in shards]
    for shard in shards:
        constituents[shard] = best(model, plans.make(model.recipe, ground, shard), built)
    # A version is planned with a batch once every shard is.
    all_planned = before is None or set(shards) >= set(all_shards(model))
    batches = len(ground.batches) if all_planned or before is None else before.batches
    return _enter(transaction, model, before, constituents, (ground.tombstones, batches))


def withdraw(
    transaction: sa.Connection, model: Model, ground: Ground, places: Collection[Place]
) -> Version | None:
    """Publish ``model`` without the checkpoints that saw rows which were just forgotten.

    The dataset is locked and ``ground``, the dataset's or the model's own, has the tombstones.
    What was served is known to be clean but for them, so the longest clean checkpoint of a
    touched shard is the one before the first touched slice; no name needs to be computed. Rows
    that were gone for the model before are not among ``places``. None before the first version.
    """
    ground, before = ground.under(model.scopes), sql.current(transaction, model.id)
    if before is None:
        return None
    if before.batches != len(ground.batches):  # rows were added and are not trained yet
        return publish(transaction, model, ground, touched(model, places, ground))
    constituents = list(before.constituents)
    for shard, depth in plans.clean_depths(model.recipe, ground, places).items():
        constituents[shard] = _back_to(model, constituents[shard], depth)
    return _enter(transaction, model, before, constituents, (ground.tombstones, before.batches))


def put_back(
    transaction: sa.Connection,
    model: Model,
    grounds: tuple[Ground, Ground],
    shards: Collection[int],
    quiet: Collection[int],
) -> Version | None:
    """Publish ``model`` after rows came back. None before the first version.

    Whoever builds a shard, or sweeps it, may have planned without the rows, and cuts what that
    plan does not name: of such a shard is served what both plans name, and no more.

    Args:
        transaction: The model's dataset is locked in it.
        model: To publish.
        grounds: Of the dataset, before and after.
        shards: In which the rows are.
        quiet: Those of them that nobody builds, and nobody can begin to with an older plan.
    """
    earlier, ground = (one.under(model.scopes) for one in grounds)
    if (before := sql.current(transaction, model.id)) is None:
        return None
    constituents = list(before.constituents)
    for shard in shards:
        plan = plans.make(model.recipe, ground, shard)
        then = plan if shard in quiet else plans.make(model.recipe, earlier, shard)
        constituents[shard] = _shared(model, plan, then)
    return _enter(transaction, model, before, constituents, (ground.tombstones, before.batches))


def _shared(model: Model, plan: Plan, other: Plan) -> Constituent:
    """The longest checkpoint in a pack that both plans name."""
    pairs = zip(plan.names, other.names, strict=False)
    depth = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    found = best(model, replace(plan, slices=plan.slices[:depth]))
    return replace(found, whole=found.depth == len(plan.slices))


def empty(transaction: sa.Connection, model: Model, ground: Ground) -> Version | None:
    """Publish ``model`` without any checkpoint: from then on nothing of it answers.

    The dataset is locked. None before the first version.
    """
    before = sql.current(transaction, model.id)
    if before is None:
        return None
    nothing = [_nothing(shard) for shard in all_shards(model)]
    return _enter(transaction, model, before, nothing, (ground.tombstones, before.batches))


def _enter(
    transaction: sa.Connection,
    model: Model,
    before: Version | None,
    constituents: Sequence[Constituent],
    planned: tuple[int, int],
) -> Version:
    version = Version(
        model=model.id,
        number=before.number + 1 if before else 1,
        clean_to=planned[0],
        batches=planned[1],
        digest=sql.version_digest(model, tuple(constituents)),
        whole=all(c.whole for c in constituents),
        constituents=tuple(constituents),
        created=now(),
    )
    if before is not None and before.constituents == version.constituents:
        version = replace(version, number=before.number, created=before.created)
        sql.renew(transaction, version)
        return version
    sql.add_version(transaction, version)
    announce(transaction, model, before, version)
    return version


def announce(
    transaction: sa.Connection, model: Model, before: Version | None, version: Version
) -> None:
    """Record that ``version`` is served from now on, after ``before``."""
    facts.record(transaction, Fact("version.published", _published(model, before, version)))


def _back_to(model: Model, constituent: Constituent, depth: int) -> Constituent:
    """A constituent after its first ``depth`` slices at most, its bytes verified."""
    if depth >= constituent.depth or constituent.pack is None:
        return replace(constituent, whole=False)
    with packs.reading(model.folder / constituent.pack) as pack:
        frames = pack.frames()[:depth] if pack else []
        while frames and pack is not None and not pack.holds(frames[-1]):
            frames.pop()
    if not frames:
        return replace(_nothing(constituent.shard), whole=False)
    return replace(constituent, frame=frames[-1], depth=len(frames), whole=False)


def _nothing(shard: int) -> Constituent:
    return Constituent(shard, None, None, 0, whole=True)


def all_shards(model: Model) -> range:
    """Numbers of all shards of a model."""
    return range(model.recipe.shards)


def touched(model: Model, places: Collection[Place], ground: Ground) -> list[int]:
    """Shards in which these rows are, sorted."""
    keys = (ground.batches[p.tier, p.batch].key(p.ordinal) for p in places)
    return sorted({key * model.recipe.shards >> 64 for key in keys})


def unfinished(model: Model, version: Version | None, ground: Ground) -> list[int]:
    """Shards whose constituent is not all that its plan says."""
    if version is None or version.batches != len(ground.batches):
        return list(all_shards(model))
    return [c.shard for c in version.constituents if not c.whole]


def set_back_damaged(site: Site, model: Model) -> None:
    """Serve the longest undamaged checkpoint where one is not, byte for byte, what it was.

    Reads all that is served. What is set back is built again by the next rebuild.
    """
    with site.database.transaction() as transaction:
        ground = site.locked_ground_of(transaction, model)
        version = sql.current(transaction, model.id)
        served = version.constituents if version else ()
        damaged = [c.shard for c in served if c.frame and not _rests(model, c)]
        if damaged:
            publish(transaction, model, ground, damaged)


def _rests(model: Model, constituent: Constituent) -> bool:
    assert constituent.pack is not None
    assert constituent.frame is not None
    with packs.reading(model.folder / constituent.pack) as pack:
        return pack is not None and pack.holds(constituent.frame)


def is_behind(site: Site, transaction: sa.Connection, model: Model) -> bool:
    """Whether some constituent of a model is not all that its plan says."""
    version = sql.current(transaction, model.id)
    if version is None or not version.whole:
        return True
    return version.batches != len(site.ground(transaction, model.dataset).batches)


def best(model: Model, plan: Plan, built: Collection[str] = ()) -> Constituent:
    """The longest checkpoint of ``plan`` that rests in a pack, its bytes verified.

    Of several that are as long, the first of a pack in ``built``.
    """
    found = Constituent(plan.shard, None, None, 0, whole=not plan.slices)
    paths = sorted(pack_paths(model, plan.shard), key=lambda path: path.name not in built)
    for path in paths:
        with packs.reading(path) as pack:
            frames = pack.frames() if pack else []
            depth_of = {name: depth for depth, name in enumerate(lineage.planned(path, plan), 1)}
            for frame in reversed(frames):
                depth = depth_of.get(frame.name, 0)
                if depth > found.depth and pack is not None and pack.holds(frame):
                    whole = depth == len(plan.slices)
                    found = Constituent(plan.shard, path.name, frame, depth, whole)
    return found


def pack_paths(model: Model, shard: int) -> Iterator[Path]:
    """Packs of one constituent, one per runtime that built it."""
    yield from sorted(model.folder.glob(f"{shard:05d}.*.pack"))


def sweep(site: Site, model: Model, shard: int) -> int:
    """Destroy every frame of a whole constituent that its plan does not name.

    Waits for a unit that is still writing. Packs of other runtimes than the served one are
    emptied. The caller holds the model's build lock. Returns how many frames went.
    """
    paths = list(pack_paths(model, shard))
    return sum(_sweep_pack(site, model, shard, path, alone=len(paths) == 1) for path in paths)


def has_leftovers(model: Model, shard: int) -> bool:
    """Whether a constituent has packs of several runtimes, one of which cannot be served."""
    return sum(path.stat().st_size > 0 for path in pack_paths(model, shard)) > 1


def _sweep_pack(site: Site, model: Model, shard: int, path: Path, *, alone: bool) -> int:
    # With several packs, a request must not move on to one while we empty it.
    opened = site.database.reading() if alone else site.database.transaction()
    # The plan is read only now: while we waited for the pack's lock, it may have grown.
    with packs.writing(path) as pack, opened as transaction:
        if not alone:
            data_sql.lock(transaction, model.dataset)
        plan = plans.make(model.recipe, site.ground_of(transaction, model), shard)
        found = pack.frames()
        keeps = alone or path.name == _served_pack(transaction, model, plan)
        names = set(lineage.planned(path, plan)) if keeps else set()
        clean = [frame for frame in found if frame.name in names]
        if pack.cut(clean):  # names are chained, so the clean ones are the first ones
            pack.sync()
    return len(found) - len(clean)


def _served_pack(transaction: sa.Connection, model: Model, plan: Plan) -> str | None:
    version = sql.current(transaction, model.id)
    served = version.constituents[plan.shard].pack if version else None
    return served or best(model, plan).pack


def _published(model: Model, before: Version | None, version: Version) -> dict[str, Any]:
    return {
        "model": model.folder.name,
        "number": version.number,
        "digest": version.digest,
        "before": before.digest if before else None,
        "clean_to": version.clean_to,
        "whole": version.whole,
        "samples": sum(c.frame.samples for c in version.constituents if c.frame),
    }
