"""What follows a request: rebuild, destroy, and say what was done, from recorded facts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.console import RenderableType
from rich.table import Table

from expunge.cli.common import count, seconds
from expunge.cli.endings import keeps

if TYPE_CHECKING:
    from expunge.home import Home, Receipt
    from expunge.storage.facts import Recorded


_HELD: Final = (
    "Their rows are held: by an undo window, a legal hold, or because other models learn from "
    "them. [dim]Next: expunge requests list[/]"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request did, as JSON and for people."""

    body: dict[str, Any]

    def shown(self, word: str) -> list[RenderableType]:
        """Lines for people; ``word`` says what was done."""
        body = self.body
        if not body["samples"]:
            were = "was" if body["already"] == 1 else "were"
            before = f": {count(body['already'], 'row')} {were} forgotten before"
            gone = before if body["already"] else ""
            return [f"[bold]Nothing to do[/]{gone}. No model has seen them."]
        if body["state"] == "scheduled":
            waiting = count(body["samples"], "sample")
            return [f"[bold]Accepted[/]: {waiting} will be forgotten at the moment that was named."]
        lines: list[RenderableType] = [
            f"[bold green]{word} {count(body['samples'], 'sample')}[/] after "
            f"[bold]{seconds(body['seconds'])}[/]: no answer comes from a model that saw "
            f"{'it' if body['samples'] == 1 else 'them'}.",
            self._models(),
        ]
        for column, values in body["lost"].items():
            lines.append(
                f"[yellow]note[/]   {count(values, 'declared value')} of column {column!r} lost the "
                f"last row that held {'it' if values == 1 else 'them'}; the place is kept."
            )
        if body["state"] == "held":
            return [*lines, told(body["recovery"]), _HELD]
        if body["state"] != "done":
            return [*lines, self._later()]
        return [*lines, told(body["recovery"]), *self._certified()]

    def _models(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
        for _ in range(2):
            table.add_column()
        for model in self.body["models"]:
            table.add_row(f"  {model['model']}", _change(model))
        return table

    def _certified(self) -> list[RenderableType]:
        requests = self.body["requests"]
        if len(requests) > 1:
            return [
                f"[dim]Next: expunge certificate save REQUEST, for {len(requests):,} requests[/]"
            ]
        return [f"[dim]Next: expunge certificate save {requests[0]}[/]"]

    def _later(self) -> str:
        return (
            "Their rows and checkpoints are held, neither served nor trained on. "
            "[dim]Next: expunge recover[/]"
        )


def after(home: Home, receipt: Receipt, wait: bool) -> Answer:
    """Wait for what ``receipt`` started, if so wished; the answer to print."""
    return after_all(home, [receipt], wait)


def after_all(home: Home, receipts: Sequence[Receipt], wait: bool) -> Answer:
    """The same, for several requests that were accepted one after another."""
    recovery = run(home) if wait else None
    accepted = [receipt.accepted for receipt in receipts]
    states = {receipt.state.value for receipt in receipts}
    body: dict[str, Any] = {
        "requests": [one.request for one in accepted],
        "dataset": accepted[0].dataset,
        "samples": sum(one.samples for one in accepted),
        "already": sum(one.already for one in accepted),
        "seconds": max(one.seconds for one in accepted),
        "state": states.pop() if len(states) == 1 else "forgotten",
        "models": _changes(receipts),
        "lost": {column: n for receipt in receipts for column, n in receipt.lost.items()},
    }
    return Answer(body | ({"recovery": recovery} if recovery else {}))


def run(home: Home, work: Callable[[], None] | None = None) -> dict[str, Any]:
    """Make every model whole and destroy what was forgotten; what was done, as JSON.

    Args:
        home: The home.
        work: ``home.repair``, to look for damage first; by default ``home.recover``.
    """
    before = max((fact.number for fact in home.facts()), default=0)
    started = time.perf_counter()
    kept = "No served model has seen what was forgotten; finished checkpoints are kept."
    with keeps(f"{kept} Go on with `expunge recover`."):
        (work or home.recover)()
    took = time.perf_counter() - started
    return _summed([fact for fact in home.facts() if fact.number > before]) | {"seconds": took}


def told(recovery: dict[str, Any]) -> str:
    """What a recovery did, for people."""
    if not any(recovery[what] for what in ("built", "rows", "frames")):
        return "Every model is whole, and nothing is left to destroy."
    return (
        f"Whole again after [bold]{seconds(recovery['seconds'])}[/]: "
        f"{count(recovery['built'], 'checkpoint')} rebuilt; "
        f"{count(recovery['rows'], 'row')} and {count(recovery['frames'], 'checkpoint')} destroyed."
    )


def _summed(facts: Sequence[Recorded]) -> dict[str, Any]:
    units = [fact.body for fact in facts if fact.kind == "unit.rebuilt"]
    destroyed = [fact.body for fact in facts if fact.kind == "checkpoint.destroyed"]
    return {
        "shards": len(units),
        "built": sum(body["built"] for body in units),
        "rows": sum(body["rows"] for body in destroyed),
        "frames": sum(body["destroyed"] for body in units)
        + sum(sum(body["frames"].values()) for body in destroyed),
    }


def _changes(receipts: Sequence[Receipt]) -> list[dict[str, Any]]:
    changes: dict[str, dict[str, Any]] = {}
    for change in (change for receipt in receipts for change in receipt.changes):
        first = changes.setdefault(
            change.model, {"before": change.before.digest if change.before else None}
        )
        after = change.after
        standing = [c for c in after.constituents if c.frame] if after else []
        first |= {
            "model": change.model,
            "after": after.digest if after else None,
            "touched": sum(not c.whole for c in after.constituents) if after else 0,
            "shards": len(after.constituents) if after else 0,
            "withdrawn": bool(after) and not standing,
        }
    return list(changes.values())


def _change(model: dict[str, Any]) -> str:
    if model["after"] is None:
        return "has not been served yet"
    if model["withdrawn"]:
        return "[yellow]withdrawn[/] until it is rebuilt: no part of it is clean"
    if model["before"] == model["after"]:
        return "had not seen them"
    return f"version {model['before'][:12]} → {model['after'][:12]}, {model['touched']} of {count(model['shards'], 'shard')} stepped back"
