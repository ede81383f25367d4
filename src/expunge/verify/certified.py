"""Replay what a certificate names: from a home, or from a package of the remaining rows alone.

The names are computed again of every constituent, which costs one hash for each row; the bytes of
all of them, or of a share that nobody could choose: its order is keyed by the certificate's own
digest, which stands in a log. What cannot be compared is said and counts for nothing: another
runtime promises no equal bytes, and rows that were forgotten since are not there any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

from expunge.core.digest import digest
from expunge.core.errors import InputError, UnknownName
from expunge.data.datasets import Ground
from expunge.data.integrity import Roots
from expunge.execution.local import Executor
from expunge.execution.progress import Progress
from expunge.storage import packs
from expunge.training import package
from expunge.training import plan as plans
from expunge.training.basis import Basis, in_home
from expunge.training.plan import Plan
from expunge.training.recipe import Recipe
from expunge.training.site import Site, replaying
from expunge.verify import building

Verdict: TypeAlias = Literal["passed", "failed", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Stated:
    """What a certificate says of one constituent; without a model, only its shard.

    Attributes:
        name: Of its checkpoint, hexadecimal.
        state: SHA-256 of its bytes, hexadecimal.
        runtime: Name of the runtime that built it, hexadecimal; None where it is not stated.
    """

    shard: int
    name: str | None = None
    state: str | None = None
    runtime: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a certificate says of one model.

    Attributes:
        model: Its random id, the name of its folder.
        version: Digest of the served version, hexadecimal.
        constituents: One for each shard, in order.
        clean_to: Number of the last tombstone that the version counts, as its entry
            ``version.published`` has it; None where it is not stated.
        roots: Of the dataset's batches, as the log has them; None: as the home or package does.
        is_build: Whether it claims to be what a build gives. What a method made otherwise cannot
            be told by building it.
    """

    model: str
    version: str
    constituents: tuple[Stated, ...]
    clean_to: int | None = None
    roots: Roots | None = None
    is_build: bool = True


@dataclass(frozen=True, slots=True)
class Replayed:
    """What replaying a claim found.

    Attributes:
        constituents: How many the certificate names.
        same_names: Of them, how many are what the plan of the remaining samples names.
        forgotten_since: Of them, how many have another name, or none, and have lost rows since,
            or got some back.
        chosen: How many were to be built again.
        rebuilt: Of the chosen ones, how many were: those with the same name.
        same_bytes: Of the rebuilt ones, how many came out as stated.
        other_runtime: Of the rebuilt ones, how many came out otherwise and were stated to be
            from another runtime than this one: they cannot be compared.
        changed_rows: Remaining rows of the dataset that are not what they were when they came.
        changed_roots: Batches of the dataset that are not those that were committed to.
        is_build: Whether the certificate claims that the model is what a build gives.
    """

    model: str
    version: str
    constituents: int
    same_names: int
    forgotten_since: int
    chosen: int
    rebuilt: int
    same_bytes: int
    other_runtime: int
    changed_rows: int
    changed_roots: int
    is_build: bool

    @property
    def verdict(self) -> Verdict:
        """``failed``: something is otherwise than stated. ``passed``: all that was chosen is the same."""
        if self.changed_rows or self.changed_roots:
            return "failed"
        if not self.is_build:
            return "inconclusive"
        unexplained = self.constituents - self.same_names - self.forgotten_since
        differing = self.rebuilt - self.same_bytes - self.other_runtime
        if unexplained or differing:
            return "failed"
        whole = (self.same_names, self.same_bytes) == (self.constituents, self.chosen)
        return "passed" if whole else "inconclusive"


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where and how to build.

    Attributes:
        folder: Empty; on its own disk, constituents are built below it.
    """

    folder: Path
    executor: Executor
    progress: Progress


def from_home(
    site: Site,
    claims: Sequence[Claim],
    certificate: bytes,
    executor: Executor,
    progress: Progress,
    share: float = 1.0,
) -> tuple[Replayed, ...]:
    """Replay ``claims`` in a home. Another replay there is waited for.

    Args:
        site: The home.
        claims: What the certificate says, one for each model.
        certificate: Its digest, 32 bytes.
        executor: Builds.
        progress: Shows how long it takes.
        share: Of each model's constituents, which part to build again, in (0, 1]; at least one.

    Raises:
        UnknownName: A model is not there.
    """

    def load(claim: Claim) -> Basis:
        with site.database.reading() as transaction:
            for model in site.all_models(transaction):
                if model.folder.name == claim.model:
                    return in_home(site, transaction, model.dataset)
        raise UnknownName("model of the certificate", claim.model, [])

    _check_share(share)
    with replaying(site) as empty:
        return _replay(claims, load, (certificate, share), Workshop(empty, executor, progress))


def from_package(
    folder: str | Path,
    claims: Sequence[Claim],
    certificate: bytes,
    executor: Executor,
    progress: Progress,
    share: float = 1.0,
) -> tuple[Replayed, ...]:
    """Replay ``claims`` from a data package, without any home; as :func:`from_home`."""
    _check_share(share)
    basis = package.read(folder)
    with TemporaryDirectory(prefix="expunge-replay-") as empty:
        workshop = Workshop(Path(empty), executor, progress)
        return _replay(claims, lambda _: basis, (certificate, share), workshop)


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise InputError(f"`share` must be above 0 and at most 1, got {share}.")


def _replay(
    claims: Sequence[Claim],
    load: Callable[[Claim], Basis],
    lot: tuple[bytes, float],
    workshop: Workshop,
) -> tuple[Replayed, ...]:
    found = []
    changed: dict[Path, int] = {}
    for claim in claims:
        basis = load(claim)
        place = basis.ground.dataset.folder
        if place not in changed:  # most certificates speak of models of one dataset
            changed[place] = building.count_changed_rows(partial(load, claim))
        found.append(_replay_one(claim, basis, lot, workshop, changed[place]))
    return tuple(found)


def _replay_one(
    claim: Claim, basis: Basis, lot: tuple[bytes, float], workshop: Workshop, changed_rows: int
) -> Replayed:
    recipe = basis.recipes.get(claim.model)
    if recipe is None:
        raise UnknownName("model of the certificate", claim.model, [])
    ground = basis.ground_of(claim.model)
    named = {one.shard: _named(recipe, ground, one) for one in claim.constituents}
    same = {shard: plan for shard, plan in named.items() if plan is not None}
    touched = basis.touched_since(claim.clean_to, claim.model)
    chosen = choose(claim, *lot) if claim.is_build else []
    built = _build(claim, basis, [same[one.shard] for one in chosen if one.shard in same], workshop)
    compared = [_compare(one, built[one.shard]) for one in chosen if one.shard in built]
    return Replayed(
        model=claim.model,
        version=claim.version,
        constituents=len(named),
        same_names=len(same),
        forgotten_since=len((named.keys() - same.keys()) & touched),
        chosen=len(chosen),
        rebuilt=len(built),
        same_bytes=compared.count("same"),
        other_runtime=compared.count("other runtime"),
        changed_rows=changed_rows,
        changed_roots=basis.changed_roots(claim.roots),
        is_build=claim.is_build,
    )


def choose(claim: Claim, certificate: bytes, share: float) -> list[Stated]:
    """The constituents to build again: in an order that the certificate's digest gives."""

    def place(one: Stated) -> bytes:
        return digest("replay", certificate, claim.model.encode(), one.shard.to_bytes(4, "little"))

    standing = sorted((one for one in claim.constituents if one.name is not None), key=place)
    return standing[: max(1, ceil(share * len(standing)))]


def _named(recipe: Recipe, ground: Ground, stated: Stated) -> Plan | None:
    """The part of a shard's plan that ends with the stated name; None where none does."""
    if stated.name is None:
        return Plan(stated.shard, ())
    return plans.ending(recipe, ground, stated.shard, bytes.fromhex(stated.name))


def _build(
    claim: Claim, basis: Basis, wanted: Sequence[Plan], workshop: Workshop
) -> dict[int, tuple[str, str]]:
    """Build plans; the digest of the last state and the runtime's name of each, by shard."""
    folder = workshop.folder / claim.model
    recipe = basis.recipes[claim.model]
    units = [building.unit(basis, recipe, plan, folder) for plan in wanted]
    what = f"replaying {claim.model}"
    building.build(units, workshop.executor, workshop.progress, what)
    return {plan.shard: _built(folder, plan) for plan in wanted}


def _built(folder: Path, plan: Plan) -> tuple[str, str]:
    (path,) = folder.glob(f"{plan.shard:05d}.*.pack")
    with packs.reading(path) as pack:
        assert pack is not None
        state = pack.read(pack.frames()[-1])
    return sha256(state).hexdigest(), path.name.split(".")[1]


def _compare(stated: Stated, built: tuple[str, str]) -> str:
    state, runtime = built
    if state == stated.state:
        return "same"
    is_ours = stated.runtime is not None and stated.runtime.startswith(runtime)
    return "differs" if is_ours else "other runtime"
