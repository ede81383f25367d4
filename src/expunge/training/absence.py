"""Prove that served names leave rows out: make what ``expunge.ledger.absence`` checks.

Of each slice of the shard in which a row belongs, the leaves are shown from the last one with a
smaller key to the first one with a larger key, each with its place in the slice's tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expunge.core import merkle, names
from expunge.core.digest import Json
from expunge.core.errors import PlanStale
from expunge.core.merkle import Read
from expunge.data import leaves as rows
from expunge.data.datasets import Ground
from expunge.training import plan as plans
from expunge.training.plan import Plan, Slice
from expunge.training.sql import Model, Version


@dataclass(frozen=True, slots=True)
class _Tree:
    """A slice with its leaves, in ring order.

    Attributes:
        keys: Of the leaves, ascending.
        leaves: (n, 48).
    """

    part: Slice
    keys: NDArray[np.uint64]
    leaves: NDArray[np.uint8]
    read: Read


def prove(model: Model, version: Version, ground: Ground, leaf: bytes) -> dict[str, Json]:
    """Prove that what ``version`` serves leaves a row out; see :func:`prove_all`."""
    (document,) = prove_all(model, version, ground, [leaf])
    return document


def prove_all(
    model: Model, version: Version, ground: Ground, leaves: Sequence[bytes]
) -> list[dict[str, Json]]:
    """Prove that what ``version`` serves leaves rows out, one document for each.

    Of a row that is there, the document shows just that, and does not pass. Costs 1.5 µs for each
    row of the shards in which ``leaves`` belong, and memory for the rows of one of them; a
    document has some tens of kilobytes.

    Args:
        model: Whose version it is.
        version: The one that is served now.
        ground: The dataset's or the model's own, as it is now.
        leaves: Of the rows, 48 bytes each.

    Raises:
        PlanStale: The version is not what remaining rows make; it is not the served one any more.
    """
    ground = ground.under(model.scopes)
    shards = [names.shard_of(_key(leaf), model.recipe.shards) for leaf in leaves]
    found: dict[int, dict[str, Json]] = {}
    for shard in sorted(set(shards)):
        plan = _served(model, version, ground, shard)
        trees = [_tree(model, ground, part) for part in plan.slices]
        about = _about(model, ground, plan)
        for index, leaf in enumerate(leaves):
            if shards[index] == shard:
                slices: list[Json] = [_window(tree, _key(leaf)) for tree in trees]
                found[index] = about | _row(model, ground, leaf) | {"slices": slices}
    return [found[index] for index in range(len(leaves))]


def _served(model: Model, version: Version, ground: Ground, shard: int) -> Plan:
    """The part of a shard's plan that its constituent is made from."""
    frame = version.constituents[shard].frame
    if frame is None:
        return Plan(shard, ())
    plan = plans.ending(model.recipe, ground, shard, frame.name)
    if plan is None:
        raise PlanStale
    return plan


def _about(model: Model, ground: Ground, plan: Plan) -> dict[str, Json]:
    return {
        "v": 1,
        "model": model.folder.name,
        "recipe": model.recipe.digest.hex(),
        "ring": plans.ring_digest(ground).hex(),
        "shard": plan.shard,
        "shards": model.recipe.shards,
        "name": plan.names[-1].hex() if plan.slices else None,
    }


def _row(model: Model, ground: Ground, leaf: bytes) -> dict[str, Json]:
    size = names.HASH_BYTES
    hashes = {"key": leaf[:size].hex(), "token": leaf[size : 2 * size].hex()}
    return {**hashes, "filtered": _filtered(model, ground, leaf)}


def _filtered(model: Model, ground: Ground, leaf: bytes) -> bool | None:
    """Whether the view's filters keep a row out; None where its cells are erased."""
    filters, nothing = model.recipe.view.filters, np.empty(0, np.int64)
    if not filters:
        return False
    for batch in ground.batches.values():
        at = int(batch.find(np.array([_token(leaf)], np.uint64))[0])
        # An id that came back has one token in several batches: it is the leaf that tells.
        if at >= 0 and batch.leaves(at, at + 1).tobytes() == leaf:
            is_erased = batch.erased(at, at + 1)[0]
            return None if is_erased else not plans.kept(batch, at, at + 1, nothing, filters)[0]
    return None


def _tree(model: Model, ground: Ground, part: Slice) -> _Tree:
    batch = ground.batches[part.key]
    keep = plans.kept(batch, part.start, part.stop, part.drop, model.recipe.view.filters)
    leaves = batch.leaves(part.start, part.stop)[keep]
    keys = batch.keys(part.start, part.stop)[keep]
    return _Tree(part, keys, leaves, merkle.in_memory(rows.hashes(leaves)))


def _window(tree: _Tree, key: int) -> dict[str, Json]:
    """The leaves between which a row of this key stands, or would have to."""
    last = len(tree.keys) - 1
    first = max(int(np.searchsorted(tree.keys, np.uint64(key), "left")) - 1, 0)
    stop = min(int(np.searchsorted(tree.keys, np.uint64(key), "right")), last) + 1
    shown = range(first, stop)
    paths = [merkle.prove_inclusion(index, tree.part.samples, tree.read) for index in shown]
    return {
        "place": names.place(*tree.part.key, tree.part.part),
        "samples": tree.part.samples,
        "root": tree.part.root.hex(),
        "first": first,
        "leaves": [tree.leaves[index].tobytes().hex() for index in shown],
        "paths": [[step.hex() for step in path] for path in paths],
    }


def _key(leaf: bytes) -> int:
    return int.from_bytes(leaf[: names.HASH_BYTES], "big")


def _token(leaf: bytes) -> int:
    return int.from_bytes(leaf[names.HASH_BYTES : 2 * names.HASH_BYTES], "big")
