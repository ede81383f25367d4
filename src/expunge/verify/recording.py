"""What a replay or an audit found, as facts: verdicts, figures and their thresholds."""

from __future__ import annotations

from dataclasses import fields

from expunge.storage.facts import Fact
from expunge.training.sql import Model
from expunge.verify.replay import Replay
from expunge.verify.report import Check, Report, together


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


def audited(found: Report, model: Model) -> list[Fact]:
    """The finished audits of ``model`` that ``found`` is: one for each method that was asked.

    An attack that finds nothing does not pass where another question failed: then nothing is
    shown at all.
    """
    groups = {
        method: [check for check in found.checks if check.group == method]
        for method in ("membership", "gold-standard")
    }
    return [
        _audited(found, model, method, checks)
        for method, checks in groups.items()
        if any(check.value is not None for check in checks)
    ]


def _audited(found: Report, model: Model, method: str, checks: list[Check]) -> Fact:
    told = together(checks)
    verdict = "inconclusive" if told == "passed" and found.verdict == "failed" else told
    measured = {check.name: check.value for check in checks if check.value is not None}
    thresholds = {
        check.name: [check.ideal, check.margin] for check in checks if check.name in measured
    }
    counts = {
        name: max(check.counts.get(name, 0) for check in checks)
        for name in sorted({name for check in checks for name in check.counts})
    }
    body = {
        "model": model.folder.name,
        "version": found.version,
        "method": method,
        "verdict": verdict,
        "figures": {
            **measured,
            "counts": counts,
            "rows": found.settings["forgotten"],
            "thresholds": thresholds,
        },
    }
    return Fact("audit.finished", body)
