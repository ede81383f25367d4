"""The command `gate`: a floor under a model's quality."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from expunge.cli.common import DEFAULT_HOME, AsJson, Files, Place, finish, opened
from expunge.cli.remote import Server, connected


def gate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Its name.")],
    floor: Annotated[
        float | None,
        typer.Option(
            "--floor", max=1, help="The least accuracy of a classification, r² of a regression."
        ),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--on", metavar="DATASET", help="Rows to measure on: not those that it learns from."
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Take the floor away.")] = False,
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Put a floor under a model: nothing rebuilt is published with which it would answer worse.

    That may delay recovery, never the moment at which it forgets: it goes on from what is clean.
    What is refused is set aside; `expunge requests retry` tries it again. Without options,
    shows the floor that there is.
    """
    if (floor is None) != (on is None) or (open_ and on is not None):
        raise typer.BadParameter("Give --floor and --on together, or --open, or none of them.")
    if server:
        found = _remote(server, model, floor, on, open_)
    else:
        found = _local(home, files, model, floor, on, open_)
    finish(as_json, {"model": model, "gate": found}, _shown(model, found))


def _remote(
    server: str, model: str, floor: float | None, on: str | None, is_open: bool
) -> dict[str, Any] | None:
    with connected(server) as client:
        if floor is not None and on is not None:
            return client.gate(model, floor, on)
        if is_open:
            client.open_gate(model)
        found: dict[str, Any] | None = client.model(model)["gate"]
        return found


def _local(
    home: str, files: Path | None, model: str, floor: float | None, on: str | None, is_open: bool
) -> dict[str, Any] | None:
    from expunge.service import catalog

    with opened(home, files) as there:
        if is_open:
            catalog.gate(there.site, model)  # that there is one
        if is_open or floor is not None:
            there.gate(model, floor, on)
        found: dict[str, Any] | None = catalog.model(there.site, model)["gate"]
        return found


def _shown(model: str, gate: dict[str, Any] | None) -> str:
    if gate is None:
        return f"No floor is under [bold]{model}[/]: whatever is rebuilt is published."
    floor = f"{gate['metric']} {gate['floor']:g} on {gate['dataset']}"
    return f"The floor under [bold]{model}[/] is {floor}."
