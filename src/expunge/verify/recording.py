"""What a replay found, as a fact for the ledger: its verdict, its figures and their thresholds."""

from __future__ import annotations

from dataclasses import fields

from expunge.storage.facts import Fact
from expunge.training.sql import Model
from expunge.verify.replay import Replay


def fact(found: Replay, model: Model) -> Fact:
    """The finished audit of ``model`` that ``found`` is."""
    named = ("model", "version")
    figures = {f.name: getattr(found, f.name) for f in fields(found) if f.name not in named}
    thresholds = {
        "same_names": found.constituents,
        "same_bytes": found.constituents,
        "frames": found.checkpoints,
        "changed_rows": 0,
        "changed_roots": 0,
        "by_method": 0,
    }
    body = {
        "model": model.folder.name,
        "version": found.version,
        "method": "replay",
        "verdict": verdict(found),
        "figures": {**figures, "thresholds": thresholds},
    }
    return Fact("audit.finished", body)


def verdict(found: Replay) -> str:
    """``passed``, ``failed``, or ``inconclusive`` where bytes cannot be compared here and now.

    A model that is not whole, one that was built in another runtime, and one that forgot by a method
    that is no build, cannot be.
    """
    if found.exact:
        return "passed"
    built = found.constituents == found.same_names == found.same_runtime
    comparable = built and not found.by_method
    changed = found.changed_rows or found.changed_roots
    return "failed" if comparable or changed else "inconclusive"
