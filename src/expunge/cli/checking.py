"""Commands that look: what is there, and whether it is as it should be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table

from expunge.cli import looking
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
from expunge.cli.remote import Server
from expunge.cli.samples import described

if TYPE_CHECKING:
    from expunge.home import Home
    from expunge.verify.replay import Replay


def status(
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Show datasets, models and open requests, and what to do next.

    Each shard of a model is a block: full where it is whole, lower where checkpoints were
    taken away and are not rebuilt yet. Costs nothing; safe to run at any time, also while
    another process trains.
    """
    if server:
        from expunge.cli import remote_looking

        remote_looking.status(server, as_json)
        return
    with opened(home, files) as there:
        datasets = [described(there.dataset(name)) for name in there.datasets()]
        models = [_model(there, name) for name in there.models()]
        requests = [
            {
                "request": r.id,
                "kind": r.kind,
                "state": r.state,
                "samples": r.samples,
                "accepted": r.accepted,
                "deadline": r.deadline,
            }
            for r in there.requests()
            if r.done is None
        ]
    body = {
        "home": home,
        "datasets": datasets,
        "models": models,
        "open_requests": requests,
        "next": _next(datasets, models, {str(r["state"]) for r in requests}),
    }
    finish(as_json, body, looking.shown(body))


def verify(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Name of a model, or a certificate (.zip).")
    ],
    log_key: Annotated[
        list[str] | None,
        typer.Option("--log-key", metavar="KEY", help="Public key of the log that you trust."),
    ] = None,
    witness_key: Annotated[
        list[str] | None,
        typer.Option("--witness-key", metavar="KEY", help="A witness that must have cosigned."),
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Build again what the certificate names, and compare.")
    ] = False,
    share: Annotated[
        float,
        typer.Option(
            "--share",
            min=0,
            max=1,
            help="Of the shards, build this part; the certificate's digest chooses which.",
        ),
    ] = 1.0,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Replay from a package instead of a home."),
    ] = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Check that a model, or a certificate, is what it says.

    A model is built again from the remaining samples alone, in an empty folder, and names and bytes
    are compared; it costs a full training and changes nothing. A certificate is checked with
    the log's public key alone: no home, no network; with --replay, the shards that it names are
    built again as well. Exit code 0: everything is as it should be. Exit code 1: it is not, or
    that cannot be said here; the answer says why.
    """
    if Path(target).is_file():
        from expunge.cli import verifying

        asked = verifying.Asked(
            Path(target),
            tuple(log_key or ()),
            tuple(witness_key or ()),
            replay,
            share,
            data,
            home,
            files,
            workers,
        )
        verifying.run(asked, as_json)
    else:
        _verify_model(target, home, files, workers, as_json)


def _verify_model(name: str, home: str, files: Path | None, workers: int, as_json: bool) -> None:
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
        "changed_batches": found[0].changed_roots,
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
    if replay.changed_roots:
        return (
            "rows-changed",
            f"[bold red]no[/]: {count(replay.changed_roots, 'batch', 'batches')} of rows are not "
            "those that the ledger was told of when they came. Do not rely on this model.",
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


def _next(datasets: list[dict[str, Any]], models: list[dict[str, Any]], states: set[str]) -> str:
    if not datasets:
        return "expunge ingest NAME FILE --id COL --subject COL"
    if "forgotten" in states or any(model["unfinished"] for model in models):
        return "expunge recover"
    if not models:
        return (
            f"expunge train MODEL --dataset {datasets[0]['dataset']} --target COL --learner xgboost"
        )
    return f"expunge verify {models[0]['model']}"


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
