"""How a home stands, for people."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table

from expunge.cli.common import count
from expunge.cli.shards import blocks

_OPEN: Final = {
    "submitted": "waits for a second person's approval",
    "scheduled": "takes effect later",
    "forgotten": "forgotten, not rebuilt or destroyed yet",
    "held": "forgotten; rows wait for an undo window, a legal hold or other models",
}


def shown(body: dict[str, Any]) -> RenderableType:
    """Datasets, models, open requests, and what to do next."""
    parts: list[RenderableType] = [_datasets(body), ""]
    if body["models"]:
        parts += [_models(body), ""]
    for request in body["open_requests"]:
        parts.append(
            f"[yellow]open[/]   {request['kind']} {count(request['samples'], 'sample')}, "
            f"{request['accepted'][:19].replace('T', ' ')} UTC: {_OPEN[request['state']]}"
        )
    return Group(*parts, f"[dim]next   {body['next']}[/]")


def _datasets(body: dict[str, Any]) -> Table:
    table = _table("dataset", "rows", "forgotten", "batches", "columns")
    for one in body["datasets"]:
        table.add_row(
            one["dataset"],
            f"{one['rows']:,}",
            f"{one['forgotten']:,}",
            f"{one['batches']:,}",
            f"{len(one['schema']['columns']):,}",
        )
    return table


def _models(body: dict[str, Any]) -> Table:
    table = _table("model", "of", "learner", "samples", "version", "state", "shards")
    for one in body["models"]:
        table.add_row(
            one["model"],
            one["dataset"],
            one["learner"],
            f"{one['samples']:,}",
            str(one["version"] or "none")[:12],
            _state(one),
            f"{len(one['shards'])} × {one['slices']}  {blocks(one['shards'])}",
        )
    return table


def _state(model: dict[str, Any]) -> str:
    if model["version"] is None:
        return "[yellow]in training[/]"
    if model["withdrawn"]:
        return "[bold red]withdrawn[/]"
    if model["unfinished"]:
        return f"[yellow]{count(model['unfinished'], 'shard')} to build[/]"
    return "[green]whole[/]"


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for title in titles:
        number = title in {"rows", "forgotten", "batches", "columns", "samples"}
        table.add_column(title, justify="right" if number else "left")
    return table
