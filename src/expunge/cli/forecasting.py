"""The command `forecast`: what a request would cost, before it is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from expunge.cli import asking
from expunge.cli.asking import Named, Terms
from expunge.cli.common import (
    DEFAULT_HOME,
    AsJson,
    Files,
    OfDataset,
    Place,
    count,
    finish,
    only_dataset,
    opened,
    seconds,
)
from expunge.cli.remote import Server, connected


def forecast(
    samples: asking.Samples = None,
    subject: asking.Subject = None,
    file: asking.File = None,
    subject_file: asking.SubjectFile = None,
    column: asking.Column = None,
    missing: asking.AboutMissing = asking.Missing.RAISE,
    kind: asking.OfKind = asking.Kind.ERASE,
    model: asking.OfModel = None,
    purpose: asking.ForPurpose = None,
    method: asking.Method = "declared",
    regime: asking.Regime = None,
    received: asking.Received = None,
    effective: asking.Effective = None,
    undo: asking.Undo = None,
    dataset: OfDataset = None,
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Tell what `forget` with the same options would cost, and when it would be done.

    Shards, checkpoints and samples are counted exactly; times are estimated from how long
    rebuilds of the same model took, and left out where none was measured. Changes and records
    nothing.
    """
    named = Named(samples or (), subject or (), file, subject_file, column)
    terms = asking.terms(kind, model, purpose, method, regime, received, effective, undo, missing)
    who = next(named.chunks())
    if server:
        body = _remote(server, who, terms, dataset)
    else:
        body = _local(home, files, who, terms, dataset)
    finish(as_json, body, *_shown(body))


def _remote(
    server: str, who: tuple[list[str], list[str]], terms: Terms, dataset: str | None
) -> dict[str, Any]:
    from expunge.cli.remote_forgetting import client_terms

    with connected(server) as client:
        return client.forecast(who[0], subjects=who[1], terms=client_terms(terms, dataset))


def _local(
    home: str,
    files: Path | None,
    who: tuple[list[str], list[str]],
    terms: Terms,
    dataset: str | None,
) -> dict[str, Any]:
    from expunge.home.home import exact_methods
    from expunge.requests import forecast as forecasts
    from expunge.requests import terms as request_terms
    from expunge.requests.finding import Wanted
    from expunge.requests.kinds import Kind
    from expunge.service import catalog

    asked = request_terms.Terms(
        kind=Kind(terms.kind.value),
        models=terms.models,
        purpose=terms.purpose,
        method=terms.method,
        regime=terms.regime,
        received=terms.received,
        effective=terms.effective,
        undo_s=terms.undo_s or 0.0,
    )
    with opened(home, files) as there:
        wanted = Wanted(tuple(who[0]), tuple(who[1]), terms.missing.value)
        of = only_dataset(there, dataset)
        found = forecasts.forecast(there.site, of, wanted, asked, possible=exact_methods())
    return catalog.forecast(found)


def _shown(body: dict[str, Any]) -> list[RenderableType]:
    already = f", {count(body['already'], 'row')} forgotten already" if body["already"] else ""
    lines: list[RenderableType] = [
        f"It would forget [bold]{count(body['samples'], 'sample')}[/]{already}."
    ]
    if body["models"]:
        lines.append(_models(body))
    else:
        lines.append("No model has seen them: nothing is to be rebuilt.")
    lines.append(_moments(body))
    if body["late"]:
        lines.append("[bold red]late[/]   It would be done behind its deadline.")
    return [*lines, "[dim]Nothing was changed. Next: expunge forget, with the same options[/]"]


def _models(body: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("model")
    for title in ("shards", "checkpoints", "samples to visit", "time"):
        table.add_column(title, justify="right")
    table.add_column("")
    for one in body["models"]:
        table.add_row(
            one["model"],
            f"{len(one['shards']):,}",
            f"{one['slices']:,}",
            f"{one['samples']:,}",
            _took(one["seconds"]),
            _notes(one),
        )
    return table


def _notes(model: dict[str, Any]) -> str:
    notes = []
    if model["withdrawn"]:
        notes.append("[yellow]cannot answer until rebuilt[/]")
    if model["joins"]:
        notes.append(f"joins {count(model['joins'], 'rebuild')} that waits already")
    return "; ".join(notes)


def _moments(body: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    table.add_row("in effect", _time(body["effective_at"]))
    if body["ahead"]:
        ahead = f"{count(body['ahead'], 'rebuild')} of others"
        table.add_row("before it", f"{ahead}, {_took(body['ahead_s'])}")
    if body["batch_starts_at"]:
        table.add_row("joins", f"the batch that starts at {_time(body['batch_starts_at'])}")
    table.add_row("models whole", _time(body["rebuilt_at"]) or "[dim]not measured yet[/]")
    table.add_row("done", _time(body["done_at"]) or "[dim]not measured yet[/]")
    if body["confirm_by"]:
        table.add_row("confirm by", _time(body["confirm_by"]))
    if body["deadline"]:
        table.add_row("due", _time(body["deadline"]))
    return table


def _took(duration: float | None) -> str:
    return "[dim]not measured[/]" if duration is None else seconds(duration)


def _time(moment: str | None) -> str:
    return f"{moment[:19].replace('T', ' ')} UTC" if moment else ""
