"""Commands on requests: look at them, and move them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from expunge.cli import desk, standing
from expunge.cli.asking import Kind
from expunge.cli.common import DEFAULT_HOME, AsJson, Files, Place, finish
from expunge.cli.remote import Server

Id = Annotated[str, typer.Argument(metavar="REQUEST", help="Its id.")]


class State(StrEnum):
    """Where a request stands; as ``requests.states``, which would load the database's library."""

    SUBMITTED = "submitted"
    SCHEDULED = "scheduled"
    FORGOTTEN = "forgotten"
    HELD = "held"
    DONE = "done"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    UNDONE = "undone"


class Reason(StrEnum):
    """Why a request is refused: the ledger keeps one word, because it names nobody."""

    UNVERIFIED = "unverified"
    EXEMPT = "exempt"
    DUPLICATE = "duplicate"
    MISTAKEN = "mistaken"
    OTHER = "other"


def list_(
    state: Annotated[
        State | None, typer.Option("--state", help="Only those in this state.")
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option("--kind", help="Only those that ask for this.")
    ] = None,
    overdue: Annotated[
        bool, typer.Option("--overdue", help="Only those that are late: the deadline has passed.")
    ] = False,
    last: Annotated[int, typer.Option("--last", min=1, help="So many, the newest.")] = 20,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Only those about this dataset.")
    ] = None,
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Show requests, newest first: where they stand, and when they are due."""
    given = {"state": state, "kind": kind, "dataset": dataset, "overdue": "true" if overdue else ""}
    where = {name: str(value) for name, value in given.items() if value}
    with desk.at(home, files, server) as there:
        found = desk.first(there.requests(where), last)
    finish(as_json, {"requests": found}, standing.listed(found) if found else "No such requests.")


def show(
    request: Id,
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Show one request: where it stands, what it waits for, and what happened when."""
    with desk.at(home, files, server) as there:
        body = there.request(request)
    finish(as_json, body, *standing.shown(body))


def approve(
    request: Id,
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Approve a request that waits for a second person. Takes effect at once, or at its moment.

    On a server, the key must be another than the one that submitted it.
    """
    _move(request, "approve", server, home, files, as_json)


def cancel(
    request: Id,
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw a request that is not in effect yet: submitted or scheduled."""
    _move(request, "cancel", server, home, files, as_json)


def undo(
    request: Id,
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Take a mistaken request back within its undo window: rows and models return as they were."""
    _move(request, "undo", server, home, files, as_json)


def lift(
    request: Id,
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Lift a restriction: models learn from its rows again."""
    _move(request, "lift", server, home, files, as_json)


def extend(
    request: Id,
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Extend a deadline, once, by what its regime allows. Tell the person: the law wants it."""
    _move(request, "extend", server, home, files, as_json)


def retry(
    request: Id,
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Try again what was set aside of a request because it failed too often."""
    _move(request, "retry", server, home, files, as_json)


def refuse(
    request: Id,
    reason: Annotated[Reason, typer.Option("--reason", help="In one word, for the ledger.")],
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a request that is not in effect yet, with a reason that the ledger keeps."""
    with desk.at(home, files, server) as there:
        there.refuse(request, reason.value)
        body = there.request(request)
    finish(as_json, body, *standing.shown(body))


def _move(
    request: str, word: str, server: str | None, home: str, files: Path | None, as_json: bool
) -> None:
    with desk.at(home, files, server) as there:
        there.move(request, word)
        body = there.request(request)
    finish(as_json, body, *standing.shown(body))
