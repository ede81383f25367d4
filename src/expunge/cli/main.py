"""All commands together: their order, their help, and how each of them ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from inspect import cleandoc
from typing import Annotated, Final

import typer

from expunge.cli import (
    auditing,
    certificates,
    checking,
    demo,
    forecasting,
    forgetting,
    gating,
    holding,
    keys,
    ledger,
    models,
    requesting,
    samples,
    serving,
)
from expunge.cli.endings import Group

app: Final = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done · 1 a check says no · 2 bad input · 3 withdrawn or unavailable · "
    "4 a fault of ours · 5 inconclusive · 130 interrupted. See it work in half a minute: expunge demo",
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

_TRAIN, _FORGET, _CHECK, _PROVE, _SERVE = "Train", "Forget", "Check", "Prove", "Serve"

for _panel, _epilog, _command in (
    (_TRAIN, "Example: expunge ingest people people.csv --id row --subject person", samples.ingest),
    (
        _TRAIN,
        "Example: expunge train income --dataset people --target income --learner xgboost "
        "--set rounds=40 --shards 8 --slices 4",
        models.train,
    ),
    (_TRAIN, "Example: expunge predict income new_people.csv --out predicted.csv", models.predict),
    (_TRAIN, "Example: expunge export income income-model/", models.export),
    (_FORGET, "Example: expunge forget --subject p-017 --subject p-204", forgetting.forget),
    (_FORGET, "Example: expunge forecast --subject p-017 --regime gdpr", forecasting.forecast),
    (_FORGET, "Example: expunge correct corrected.csv --dataset people", samples.correct),
    (_FORGET, "Example: expunge recover", forgetting.recover),
    (_FORGET, "Example: expunge gate income --floor 0.8 --on held-out", gating.gate),
    (_FORGET, "Example: expunge retire income", holding.retire),
    (_CHECK, "Example: expunge status --json", checking.status),
    (_CHECK, "Example: expunge verify income && echo exact", checking.verify),
    (_CHECK, "Example: expunge audit --scores scores.npz --html audit.html", auditing.audit),
    (_CHECK, "Example: expunge package people for-the-auditor/", samples.package),
    (_CHECK, "Example: expunge demo --data digits", demo.demo),
    (_SERVE, "Example: expunge serve --port 8000 --regime gdpr", serving.serve),
    (_SERVE, "Example: expunge worker --rabbitmq amqp://guest:guest@127.0.0.1/", serving.worker),
):
    app.command(help=_flowing(_command.__doc__), epilog=_epilog, rich_help_panel=_panel)(_command)


def _group(panel: str, name: str, about: str, *commands: tuple[Callable[..., None], str]) -> None:
    """Commands under one word, such as ``expunge ledger show``."""
    group = typer.Typer(no_args_is_help=True, add_completion=False)
    for command, example in commands:
        called = command.__name__.removesuffix("_")
        group.command(called, help=_flowing(command.__doc__), epilog=f"Example: {example}")(command)
    app.add_typer(group, name=name, help=about, rich_help_panel=panel)


_group(
    _FORGET,
    "requests",
    "Requests: see where they stand, approve, refuse, cancel, undo them.",
    (requesting.list_, "expunge requests list --overdue"),
    (requesting.show, "expunge requests show 5f1c…"),
    (requesting.approve, "expunge requests approve 5f1c…"),
    (requesting.refuse, "expunge requests refuse 5f1c… --reason unverified"),
    (requesting.cancel, "expunge requests cancel 5f1c…"),
    (requesting.undo, "expunge requests undo 5f1c…"),
    (requesting.lift, "expunge requests lift 5f1c…"),
    (requesting.extend, "expunge requests extend 5f1c…"),
    (requesting.retry, "expunge requests retry 5f1c…"),
)
_group(
    _FORGET,
    "holds",
    "Legal holds: rows that nobody may destroy for now.",
    (holding.place, "expunge holds place 'case 2026/17' --subject p-017"),
    (holding.release, "expunge holds release 7d2b…"),
    (holding.list_, "expunge holds list"),
)
_group(
    _PROVE,
    "ledger",
    "What was done, undeniably: show, prove, check and share it.",
    (ledger.show, "expunge ledger show --last 5"),
    (ledger.proof, "expunge ledger proof 17 --out 17.tlog-proof"),
    (ledger.fsck, "expunge ledger fsck exported/ --log-key 'expunge/…+…'"),
    (ledger.export, "expunge ledger export exported/"),
    (ledger.witness, "expunge ledger witness https://witness.example 'witness.example+…'"),
    (ledger.rotate, "expunge ledger rotate certificate"),
    (ledger.opening, "expunge ledger opening 5f1c… --subject p-017"),
    (ledger.shred, "expunge ledger shred --older-than 730"),
)
_group(
    _PROVE,
    "certificate",
    "Certificates of unlearning: save one, show what it says.",
    (certificates.save, "expunge certificate save 5f1c… --out ada.zip"),
    (certificates.show, "expunge certificate show ada.zip"),
)
_group(
    _SERVE,
    "keys",
    "API keys: who may ask a server for what.",
    (keys.create, "expunge keys create crm --scope unlearn:submit --scope read"),
    (keys.list_, "expunge keys list"),
    (keys.revoke, "expunge keys revoke 0d2f…"),
)
