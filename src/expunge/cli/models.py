"""Commands on models: train, predict."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from expunge.cli import learners
from expunge.cli.common import (
    DEFAULT_HOME,
    AsJson,
    Files,
    OfDataset,
    Place,
    Workers,
    count,
    finish,
    only_dataset,
    opened,
    seconds,
    timed,
)
from expunge.cli.endings import keeps
from expunge.cli.remote import Server
from expunge.cli.shards import blocks

if TYPE_CHECKING:
    from expunge.home import Model


class Aggregate(StrEnum):
    """How constituents are put together."""

    MEAN = "mean"
    VOTE = "vote"


def train(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    target: Annotated[
        list[str],
        typer.Option(
            "--target",
            metavar="COL",
            help="What to predict: one categorical column, or numeric ones.",
        ),
    ],
    learner: Annotated[
        str,
        typer.Option(
            "--learner",
            metavar="NAME",
            help="xgboost, ridge, convex, …; or a scikit-learn estimator by its import path.",
        ),
    ],
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=JSON", help="A field of the learner; a.b=… nests."),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option("--shards", min=1, help="S: constituents; 8, or 1 where none are needed."),
    ] = None,
    slices: Annotated[
        int | None,
        typer.Option("--slices", min=1, help="R: checkpoints of each; 4, or 1 likewise."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of all of the model's randomness.")] = 0,
    aggregate: Annotated[
        Aggregate, typer.Option("--aggregate", help="Mean of probabilities, or majority vote.")
    ] = Aggregate.MEAN,
    feature: Annotated[
        list[str] | None,
        typer.Option("--feature", metavar="COL", help="Learn from these only; else from all."),
    ] = None,
    weight: Annotated[
        str | None, typer.Option("--weight", metavar="COL", help="Column of sample weights.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="COND", help="Learn from rows like 'age >= 18' only."),
    ] = None,
    purpose: Annotated[str, typer.Option("--purpose", help="What the model is for.")] = "",
    dataset: OfDataset = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Train a model, resume its training, or bring it up to date with added rows.

    The ring of all people is cut into --shards; each has a model of its own, trained in --slices
    with a checkpoint after each. More of both make forgetting cheaper; more shards cost
    accuracy, because each sees fewer rows. Run the same command again after an interruption:
    what was built is kept. --learner torch trains a small network; its fields, as
    `--set module=mlp --set module_options.hidden=[64,32] --set epochs=20`, are in the docs.
    """
    made = learners.made(learner, learners.settings(setting or ()))
    from expunge.learners.protocol import Changing, Forgetting, Warm
    from expunge.training.recipe import Sharded

    usual = (1, 1) if isinstance(made, Changing | Forgetting | Warm) else (8, 4)
    recipe = Sharded(made, shards or usual[0], slices or usual[1], seed, aggregate.value)
    conditions = [learners.condition(one) for one in where or ()]
    with opened(home, files, workers=workers) as there:
        view = there.dataset(only_dataset(there, dataset)).view(
            target, features=feature or None, weight=weight, where=conditions, purpose=purpose
        )
        with keeps("Finished checkpoints are kept. Run the same command again to resume."):
            took = timed(lambda: there.train(name, view, recipe))
        body = described(there.model(name))
    body["seconds"] = took
    finish(as_json, body, *_trained(body), f"[dim]Next: expunge predict {name} FILE[/]")


def predict(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Rows with the model's feature columns.")
    ],
    to: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write .csv or .parquet instead of printing."),
    ] = None,
    proba: Annotated[
        bool, typer.Option("--proba", help="Probabilities of all classes, a column for each.")
    ] = False,
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Predict for the rows of a file: comma-separated lines on standard output, or --out.

    Where FILE has the dataset's id column, it is carried along. Every answer comes from the
    version that is current at that moment, so nobody forgotten has shaped it. A model that is
    withdrawn does not answer (exit code 3). A server does not carry ids along.
    """
    if server:
        from expunge.cli import remote_predicting

        done = remote_predicting.run(server, name, file, to, proba=proba, collect=as_json)
    else:
        from expunge.cli import predicting

        with opened(home, files) as there:
            model = there.model(name)
            done = predicting.run(model, file, to, proba=proba, collect=as_json)
    if as_json or to is not None:
        said = f"{count(done.rows, 'row')} predicted by [bold]{name}[/], into {to}."
        finish(as_json, done.body(name, to), said)


def described(model: Model) -> dict[str, Any]:
    """A model as JSON, without its private parts."""
    version = model.version
    constituents = version.constituents if version else ()
    return {
        "model": model.name,
        "version": version.digest if version else None,
        "number": version.number if version else 0,
        "whole": bool(version and version.whole),
        "withdrawn": bool(version) and all(c.frame is None for c in constituents),
        "samples": sum(c.frame.samples for c in constituents if c.frame),
        "shards": [
            {
                "shard": c.shard,
                "slices": c.depth,
                "samples": c.frame.samples if c.frame else 0,
                "whole": c.whole,
                "name": c.frame.name.hex() if c.frame else None,
            }
            for c in constituents
        ],
    }


def _trained(body: dict[str, Any]) -> list[str | Table]:
    name, shards = body["model"], body["shards"]
    checkpoints = sum(shard["slices"] for shard in shards)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
    table.add_column(style="dim")
    table.add_column()
    table.add_row("samples", f"{body['samples']:,}")
    table.add_row("shards", f"{len(shards):,}  {blocks(shards)}")
    table.add_row("checkpoints", f"{checkpoints:,}")
    table.add_row("version", str(body["version"])[:16])
    return [f"[bold]{name}[/] is whole, after {seconds(body['seconds'])}.", table]


def export(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")],
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Copy what a model serves, for use elsewhere: one file for each shard, and what they are.

    A copy that left cannot be made to forget. That one was made is in the ledger, and in
    certificates from then on.
    """
    with opened(home, files) as there:
        found = there.export(name, folder)
    body = {"model": name, "out": str(folder), "files": found}
    finish(as_json, body, f"{count(len(found), 'file')} of model {name!r} in {folder}.")
