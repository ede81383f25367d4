"""What a certificate claims, in the terms of a replay."""

from __future__ import annotations

from expunge.core.types import Guarantee
from expunge.data.integrity import Roots
from expunge.ledger.opened import Opened
from expunge.ledger.statement import Model
from expunge.verify.certified import Claim, Stated


def claims(opened: Opened) -> list[Claim]:
    """One claim for each model of a certificate, whose signature was checked."""
    roots = {
        (tier, batch.number): bytes.fromhex(root)
        for batch in opened.claims.dataset.batches
        for tier, root in batch.roots
    }
    return [_claim(opened, model, roots) for model in opened.claims.models]


def _claim(opened: Opened, model: Model, roots: Roots) -> Claim:
    states = {
        int(name.removeprefix("shard-").removesuffix(".state")): digest
        for name, digest in model.files.items()
        if name.startswith("shard-")
    }
    runtimes = [runtime.name for runtime in model.runtimes]
    stated = tuple(
        # Which of several runtimes built a shard is not stated; of one, it is plain.
        Stated(shard, name, states.get(shard), runtimes[0] if len(runtimes) == 1 else None)
        for shard, name in enumerate(model.served.names)
    )
    built = model.promise.guarantee in (Guarantee.EXACT, Guarantee.REBUILT)
    clean_to = _clean_to(opened, model)
    return Claim(model.id, model.served.digest, stated, clean_to, roots, is_build=built)


def _clean_to(opened: Opened, model: Model) -> int | None:
    """Number of the last tombstone that the served version counts, as the log has it."""
    counted = [
        entry.body["clean_to"]
        for entry in opened.of_kind("version.published")
        if (entry.body["model"], entry.body["digest"]) == (model.id, model.served.digest)
    ]
    return max(counted, default=None)
