"""Commands on API keys: who may ask a server for what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.table import Table

from expunge.cli.common import DEFAULT_HOME, AsJson, Files, Place, finish, opened, whole
from expunge.core.errors import InputError

_SCOPES = "unlearn:submit, unlearn:approve, read, audit, admin"


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it, such as 'crm'.")],
    scope: Annotated[
        list[str],
        typer.Option("--scope", metavar="SCOPE", help=f"What it may do: {_SCOPES}."),
    ],
    days: Annotated[
        float | None,
        typer.Option("--days", metavar="N", help="It works for so long; else until revoked."),
    ] = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Make a key for a client of the server. It is shown once: only its hash is kept.

    A person or program that submits and one that approves need keys of their own: nobody
    approves what they submitted. Keys that hold `admin` may do everything.
    """
    from expunge.service import keys

    if days is not None and days <= 0:
        raise InputError("--days must be positive.")
    until = datetime.now(UTC) + timedelta(days=days) if days else None
    with opened(home, files) as there:
        id_, token = keys.create(there.site, name, scope, until)
    body = {"id": id_, "name": name, "scopes": sorted(scope), "expires": _text(until), "key": token}
    finish(
        as_json,
        body,
        f"Key [bold]{id_}[/] for {name!r}: {', '.join(sorted(scope))}. Shown this once:",
        whole(f"  export EXPUNGE_API_KEY={token}"),
    )


def list_(
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Show all keys: names, scopes, and whether they still work. No key itself."""
    from expunge.service import keys
    from expunge.storage.database import now

    with opened(home, files) as there:
        found = keys.all_of(there.site)
    moment = now()
    body = [
        {
            "id": key.id,
            "name": key.name,
            "scopes": sorted(key.scopes),
            "created": key.created,
            "expires": key.expires,
            "revoked": key.revoked,
            "works": key.works_at(moment),
        }
        for key in found
    ]
    finish(as_json, {"keys": body}, _table(body) if body else "No keys yet: expunge keys create")


def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it.")],
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Let a key work no more. Servers that run notice within two seconds.

    To rotate a key, create its successor, change over, then revoke the old one.
    """
    from expunge.service import keys

    with opened(home, files) as there:
        keys.revoke(there.site, key)
    finish(as_json, {"id": key, "revoked": True}, f"Key {key} works no more.")


def _table(body: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for title in ("key", "name", "scopes", "made", "state"):
        table.add_column(title)
    for key in body:
        table.add_row(
            key["id"], key["name"], ", ".join(key["scopes"]), key["created"][:10], _state(key)
        )
    return table


def _state(key: dict[str, Any]) -> str:
    if key["revoked"]:
        return f"[red]revoked[/] {key['revoked'][:10]}"
    if not key["works"]:
        return f"[red]expired[/] {key['expires'][:10]}"
    return f"works until {key['expires'][:10]}" if key["expires"] else "[green]works[/]"


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None
