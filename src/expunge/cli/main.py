"""All commands together: their order, their help, and how each of them ends."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from inspect import cleandoc
from typing import Annotated, Final

import typer

from expunge.cli import checking, demo, forgetting, models, samples
from expunge.cli.endings import Group

app: Final = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done · 1 a check says no · 2 bad input · 3 withdrawn or unavailable · "
    "4 a fault of ours · 130 interrupted. See it work in half a minute: expunge demo",
)


def _flowing(text: str | None) -> str:
    """``text`` with one line per paragraph: terminals are narrower or wider than our source."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", cleandoc(text or ""))


def _version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        typer.echo(f"expunge {version('expunge')}")
    except PackageNotFoundError:
        typer.echo("expunge, run from its source")
    raise typer.Exit


def _about(
    _: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")
    ] = False,
) -> None:
    """Make trained models forget chosen people's data, and prove it.

    Take rows in with `ingest`, train through Expunge with `train`, and ask with `predict`.
    When somebody wants to be forgotten, `forget` takes their samples out: in milliseconds no
    answer comes from a model that saw them, then the model is rebuilt, byte for byte as if
    they had never been there. `verify` checks that.
    """


app.callback(help=_flowing(_about.__doc__))(_about)

_TRAIN, _FORGET, _CHECK = "Train", "Forget", "Check"

for _panel, _epilog, _command in (
    (_TRAIN, "Example: expunge ingest people people.csv --id row --subject person", samples.ingest),
    (
        _TRAIN,
        "Example: expunge train income --dataset people --target income --learner xgboost "
        "--set rounds=40 --shards 8 --slices 4",
        models.train,
    ),
    (_TRAIN, "Example: expunge predict income new_people.csv --out predicted.csv", models.predict),
    (_FORGET, "Example: expunge forget --subject p-017 --subject p-204", forgetting.forget),
    (_FORGET, "Example: expunge correct corrected.csv --dataset people", samples.correct),
    (_FORGET, "Example: expunge recover", forgetting.recover),
    (_CHECK, "Example: expunge status --json", checking.status),
    (_CHECK, "Example: expunge verify income && echo exact", checking.verify),
    (_CHECK, "Example: expunge demo --data digits", demo.demo),
):
    app.command(help=_flowing(_command.__doc__), epilog=_epilog, rich_help_panel=_panel)(_command)
