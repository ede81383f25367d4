"""Commands that look: what is there, and whether it is as it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table

from expunge.cli.common import (
    DEFAULT_HOME,
    AsJson,
    Files,
    Place,
    Workers,
    count,
    finish,
    opened,
    seconds,
    timed,
)
from expunge.cli.endings import Exit, keeps
from expunge.cli.models import described as model_described
from expunge.cli.samples import described
from expunge.cli.shards import blocks

if TYPE_CHECKING:
    from expunge.home import Home
    from expunge.verify.replay import Replay


def status(
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Show datasets, models and open requests, and what to do next.

    Each shard of a model is a block: full where it is whole, lower where checkpoints were
    taken away and are not rebuilt yet. Costs nothing; safe to run at any time, also while
    another process trains.
    """
    with opened(home, files) as there:
        datasets = [described(there.dataset(name)) for name in there.datasets()]
        models = [_model(there, name) for name in there.models()]
        requests = [
            {"request": r.id, "kind": r.kind, "samples": r.samples, "accepted": r.accepted}
            for r in there.requests()
            if r.done is None
        ]
    body = {
        "home": home,
        "datasets": datasets,
        "models": models,
        "open_requests": requests,
        "next": _next(datasets, models, bool(requests)),
    }
    finish(as_json, body, _status(body))


def verify(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")],
    home: Place = DEFAULT_HOME,
    files: Files = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Build a model again from the remaining samples alone, and compare names and bytes.

    It trains in an empty folder, so it costs a full training and changes nothing. Exit code 0:
    every served checkpoint is, byte for byte, that of a model which never saw the forgotten
    samples. Exit code 1: it is not, or that cannot be said here; the answer says why.
    """
    with opened(home, files, workers=workers) as there:
        found: list[Replay] = []
        with keeps("Nothing was changed; nothing is known yet."):
            took = timed(lambda: found.append(there.verify(name)))
    verdict, words = judged(found[0])
    body = {
        "model": name,
        "exact": verdict == "exact",
        "verdict": verdict,
        "version": found[0].version,
        "shards": found[0].constituents,
        "same_names": found[0].same_names,
        "same_bytes": found[0].same_bytes,
        "same_runtime": found[0].same_runtime,
        "checkpoints": found[0].checkpoints,
        "same_checkpoints": found[0].frames,
        "changed_rows": found[0].changed_rows,
        "seconds": took,
    }
    finish(as_json, body, *_verified(body, words))
    if verdict != "exact":
        raise typer.Exit(int(Exit.NO))


def judged(replay: Replay) -> tuple[str, str]:
    """A verdict in one word, and in plain words."""
    if replay.exact:
        return (
            "exact",
            "[bold green]yes[/]: byte for byte the model that never saw the forgotten samples.",
        )
    if replay.changed_rows:
        return (
            "rows-changed",
            f"[bold red]no[/]: {count(replay.changed_rows, 'row')} on the disk differ from what "
            "was ingested: files were changed. Do not rely on this model, nor on the rows.",
        )
    if replay.same_names < replay.constituents:
        return (
            "not-whole",
            "[yellow]not yet[/]: some shards are not what the remaining samples make. They hold "
            "nothing forgotten, but wait to be rebuilt. [dim]Next: expunge recover[/]",
        )
    if replay.same_runtime < replay.constituents:
        return (
            "other-runtime",
            "[yellow]inconclusive[/]: the names are right, but some shards were built in another "
            "runtime (library versions, processor), and bytes can only be compared in the same.",
        )
    return (
        "differs",
        "[bold red]no[/]: names are the same, bytes are not. Either the learner is not a "
        "function of its samples, or the files were changed. Do not rely on this model.",
    )


def _model(home: Home, name: str) -> dict[str, Any]:
    from expunge.training import versions

    model = home.model(name)
    with home.site.database.reading() as transaction:
        row = home.site.model(transaction, name)
        ground = home.site.ground(transaction, row.dataset)
        behind = versions.unfinished(row, model.version, ground)
    return model_described(model) | {
        "dataset": ground.dataset.name,
        "learner": row.recipe.learner["name"],
        "slices": row.recipe.slices,
        "aggregate": row.aggregate,
        "unfinished": len(behind),
    }


def _next(datasets: list[dict[str, Any]], models: list[dict[str, Any]], open_requests: bool) -> str:
    if not datasets:
        return "expunge ingest NAME FILE --id COL --subject COL"
    if open_requests or any(model["unfinished"] for model in models):
        return "expunge recover"
    if not models:
        return (
            f"expunge train MODEL --dataset {datasets[0]['dataset']} --target COL --learner xgboost"
        )
    return f"expunge verify {models[0]['model']}"


def _status(body: dict[str, Any]) -> RenderableType:
    parts: list[RenderableType] = [_datasets(body), ""]
    if body["models"]:
        parts += [_models(body), ""]
    for request in body["open_requests"]:
        parts.append(
            f"[yellow]open[/]   {request['kind']} {count(request['samples'], 'sample')}, "
            f"{request['accepted'][:19].replace('T', ' ')} UTC: forgotten, not rebuilt or "
            f"destroyed yet"
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


def _verified(body: dict[str, Any], words: str) -> list[RenderableType]:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
    table.add_column(style="dim")
    table.add_column()
    shards = body["shards"]
    table.add_row(
        "served names are those of the remaining samples", f"{body['same_names']} of {shards}"
    )
    table.add_row("built again, the same bytes", f"{body['same_bytes']} of {shards}")
    table.add_row(
        "of all checkpoints on the way, the same bytes",
        f"{body['same_checkpoints']:,} of {body['checkpoints']:,}",
    )
    if body["changed_rows"]:
        table.add_row("rows that are not what was ingested", f"{body['changed_rows']:,}")
    table.add_row("time", seconds(body["seconds"]))
    return [f"[bold]{body['model']}[/]  {words}", table]
