"""The command `status`, asked of a server."""

from __future__ import annotations

from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table

from expunge.cli import standing
from expunge.cli.common import count, finish
from expunge.cli.remote import connected

_OPEN: Final = ("submitted", "scheduled", "forgotten", "held")
_SHOWN: Final = 20


def status(server: str, as_json: bool) -> None:
    """Show what a server serves, and the requests that are not done."""
    with connected(server) as client:
        body: dict[str, Any] = {
            "server": server,
            "datasets": client.datasets(),
            "models": client.models(),
            "open_requests": [one for state in _OPEN for one in client.requests({"state": state})],
        }
    finish(as_json, body, *_shown(body))


def _shown(body: dict[str, Any]) -> list[RenderableType]:
    parts: list[RenderableType] = [_datasets(body["datasets"]), "", _models(body["models"]), ""]
    waiting = body["open_requests"]
    if not waiting:
        return [*parts, "No open requests."]
    more = len(waiting) - _SHOWN
    parts.append(standing.listed(waiting[:_SHOWN]))
    return [*parts, f"… and {count(more, 'other')}"] if more > 0 else parts


def _datasets(found: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("dataset")
    for title in ("rows", "forgotten", "batches", "columns"):
        table.add_column(title, justify="right")
    for one in found:
        counts = (one["rows"], one["forgotten"], one["batches"], len(one["columns"]))
        table.add_row(one["name"], *(f"{number:,}" for number in counts))
    return table


def _models(found: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for title in ("model", "of", "shards", "version", "state"):
        table.add_column(title)
    for one in found:
        shards = f"{one['shards']} × {one['slices']}"
        version = (one["version"] or "none")[:12]
        table.add_row(one["name"], one["dataset"], shards, version, _state(one))
    return table


def _state(model: dict[str, Any]) -> str:
    if model.get("retired"):
        return "[dim]retired[/]"
    if model["version"] is None:
        return "[yellow]in training[/]"
    if model["withdrawn"]:
        return "[bold red]withdrawn[/]"
    return "[green]whole[/]" if model["whole"] else "[yellow]rebuilds[/]"
