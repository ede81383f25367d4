"""How requests stand, for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table

from expunge.cli.common import count

_WORDS: Final = {
    "submitted": "[yellow]submitted[/]: waits for a second person's approval",
    "scheduled": "[yellow]scheduled[/]: takes effect at its moment",
    "forgotten": "[yellow]forgotten[/]: no model in service has seen them; models are rebuilt",
    "held": "[yellow]held[/]: models are whole; rows wait for an undo window or a legal hold",
    "done": "[green]done[/]: models are whole, rows and checkpoints are destroyed",
    "refused": "[red]refused[/]",
    "cancelled": "cancelled before it took effect",
    "undone": "undone: they are back",
}
_EVENTS: Final = {
    "request.received": "received",
    "request.scoped": "narrowed",
    "request.terms": "terms",
    "request.approved": "approved",
    "request.forgotten": "forgotten by a model",
    "request.corrected": "rows replaced",
    "request.refused": "refused",
    "request.cancelled": "cancelled",
    "request.held": "rows held",
    "request.released": "rows released",
    "request.undone": "undone",
    "deadline.extended": "deadline extended",
    "checkpoint.destroyed": "rows and checkpoints destroyed",
    "certificate.issued": "certificate issued",
    "salt.destroyed": "keys destroyed",
}


_UNITS: Final[tuple[tuple[str, int], ...]] = (
    ("day", 86_400),
    ("hour", 3_600),
    ("minute", 60),
    ("second", 1),
)


def shown(body: dict[str, Any]) -> list[RenderableType]:
    """A request for people."""
    return [_about(body), "", _story(body), *_advice(body)]


def listed(found: list[dict[str, Any]]) -> Table:
    """Requests for people, one in a line."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("request", "state", "kind", "samples", "accepted", "due"):
        number = title == "samples"
        table.add_column(title, justify="right" if number else "left", no_wrap=title == "request")
    for one in found:
        kind = f"{one['kind']} (some models)" if one["narrowed"] else one["kind"]
        table.add_row(
            one["request"],
            _WORDS[one["state"]].partition(":")[0].partition(" ")[0],
            kind,
            f"{one['samples']:,}",
            _time(one["accepted"])[:16],
            _due(one),
        )
    return table


def _about(body: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    table.add_row("request", body["request"])
    table.add_row("state", _WORDS[body["state"]] + (f" ({body['error']})" if body["error"] else ""))
    of = f"{body['kind']} {count(body['samples'], 'sample')} of {body['dataset']}"
    table.add_row("asks to", of + (", in some models only" if body["narrowed"] else ""))
    for name, field in (("received", "received"), ("in effect", "effective")):
        if body[field]:
            table.add_row(name, _time(body[field]) + " UTC")
    for name, field in (("confirm by", "confirm_by"), ("undo until", "undo_until")):
        if body[field] and not body["final"]:
            table.add_row(name, f"{_time(body[field])} UTC, {_distance(body[field])}")
    if body["deadline"]:
        extended = ", extended" if body["extended"] else ""
        left = "" if body["final"] else f", {_due(body)}"
        table.add_row("due", f"{_time(body['deadline'])} UTC{extended}{left}")
    if any(body["units"].values()):
        parts = [f"{number} {state}" for state, number in body["units"].items() if number]
        table.add_row("rebuilds", ", ".join(parts))
    for one in body["problems"]:
        told = f"shard {one['shard']} of {one['model']} was set aside ({one['error']})"
        table.add_row("[bold red]problem[/]", told)
    return table


def _story(body: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    table.add_column(style="dim")
    for event in body["timeline"]:
        counted = ((name, value) for name, value in event["counts"].items() if value)
        counts = ", ".join(f"{name} {value:,}" for name, value in counted)
        table.add_row(_time(event["at"]), _EVENTS.get(event["kind"], event["kind"]), counts)
    return table


def _advice(body: dict[str, Any]) -> list[str]:
    id_ = body["request"]
    if body["units"].get("aside"):
        return [f"[dim]Next: mend what failed, then expunge requests retry {id_}[/]"]
    if body["state"] == "submitted":
        return [f"[dim]Next: expunge requests approve {id_}, or refuse[/]"]
    if body["state"] == "done":
        return [f"[dim]Next: expunge certificate save {id_}[/]"]
    return []


def _due(body: dict[str, Any]) -> str:
    if body["final"]:
        return "[dim]over[/]"
    if not body["deadline"]:
        return "[dim]no deadline[/]"
    words = _distance(body["deadline"])
    return f"[bold red]{words}[/]" if body["overdue"] else words


def _distance(moment: str) -> str:
    """How far a moment is from now, for people."""
    left_s = (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()
    size = abs(left_s)
    unit, seconds = next(one for one in _UNITS if size >= 2 * one[1] or one[0] == "second")
    words = count(int(size // seconds), unit)
    return f"in {words}" if left_s > 0 else f"{words} ago"


def _time(moment: str) -> str:
    return moment[:19].replace("T", " ")
