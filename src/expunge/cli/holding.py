"""Commands on legal holds, and on taking models out of service."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from expunge.cli import asking
from expunge.cli.asking import Named
from expunge.cli.common import (
    DEFAULT_HOME,
    AsJson,
    Files,
    OfDataset,
    Place,
    count,
    finish,
    opened,
)
from expunge.cli.remote import Server, connected


def place(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Such as a case number; names nobody.")
    ],
    samples: asking.Samples = None,
    subject: asking.Subject = None,
    file: asking.File = None,
    subject_file: asking.SubjectFile = None,
    column: asking.Column = None,
    dataset: OfDataset = None,
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Keep rows from being destroyed, whoever asks for it, until the hold is released.

    Requests that name them take effect all the same: models forget them, and nobody reads the
    rows. Only their destruction waits.
    """
    who, subjects = next(Named(samples or (), subject or (), file, subject_file, column).chunks())
    if server:
        with connected(server) as client:
            body = client.hold(name, who, subjects=subjects, dataset=dataset)
    else:
        from expunge.service import catalog

        with opened(home, files) as there:
            body = catalog.hold(there.hold(name, who, subjects=subjects, dataset=dataset))
    said = f"Hold [bold]{name}[/] keeps {count(body['rows'], 'row')} of {body['dataset']}."
    finish(as_json, body, said, f"[dim]Next, some day: expunge holds release {body['id']}[/]")


def release(
    hold: Annotated[str, typer.Argument(metavar="HOLD", help="Its id, as `holds list` shows it.")],
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Release a hold. Rows that only waited for that are destroyed: by the server, or `recover`."""
    if server:
        with connected(server) as client:
            client.release(hold)
        after = "The server destroys what only waited for it."
    else:
        with opened(home, files) as there:
            there.release(hold)
        after = "[dim]Next: expunge recover[/], which destroys what only waited for it."
    finish(as_json, {"hold": hold, "released": True}, f"Hold {hold} is released.", after)


def list_(
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Show all holds: their names, and how many rows they keep."""
    if server:
        with connected(server) as client:
            found = list(client.holds())
    else:
        from expunge.service import catalog

        with opened(home, files) as there:
            found = [catalog.hold(hold) for hold in there.holds()]
    finish(as_json, {"holds": found}, _table(found) if found else "No holds.")


def retire(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Its name.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether you mean it.")] = False,
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Take a model, and all that was made from it, out of service for good.

    It answers no more, and its checkpoints are destroyed. The dataset and other models stay.
    """
    if not (yes or as_json):
        typer.confirm(f"Destroy all checkpoints of model {model!r}?", abort=True)
    if server:
        with connected(server) as client:
            client.retire(model)
    else:
        with opened(home, files) as there:
            there.retire(model)
    finish(as_json, {"model": model, "retired": True}, f"Model [bold]{model}[/] is retired.")


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for title in ("hold", "name", "dataset", "rows", "placed"):
        table.add_column(title, no_wrap=title == "hold")
    for hold in found:
        rows, placed = f"{hold['rows']:,}", hold["placed"][:16].replace("T", " ")
        table.add_row(hold["id"], hold["name"], hold["dataset"], rows, placed)
    return table
