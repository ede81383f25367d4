"""Commands on certificates: save one, show what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from expunge.cli.common import DEFAULT_HOME, AsJson, Files, Place, count, finish, whole
from expunge.cli.common import opened as opened_home
from expunge.cli.remote import Server, connected
from expunge.core.errors import InputError
from expunge.storage import disk


def save(
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="Its id, as `forget` said it.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="By default <request>.zip here."),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            "--witness", metavar="'URL KEY'", help="Have the tree cosigned that proves it."
        ),
    ] = None,
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Write the certificate of a request that is done: one zip file for a stranger to check.

    It holds what was done to every model, proofs, signatures, and a page for people. It names
    nobody. Asked for again, it is the same file.
    """
    from expunge.ledger import certificate as archives
    from expunge.ledger import opened

    to = out or Path(f"{request}.zip")
    pairs = [one.split() for one in witness or ()]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError("A --witness is a URL and a key, with a blank between: 'URL KEY'.")
    data = _fetched(server, request, pairs) if server else _issued(home, files, request, pairs)
    disk.write_file(to, data)
    # The one that signed; another may have taken its place since.
    key = opened.read(archives.unpack(data)).claims.log.key
    finish(
        as_json,
        {"request": request, "out": str(to), "bytes": len(data), "log_key": key},
        f"{to}: {count(len(data), 'byte')}. Open certificate.html in it; check it with",
        whole(f"  expunge verify {to} --log-key '{key}'"),
    )


def _issued(home: str, files: Path | None, request: str, witnesses: list[list[str]]) -> bytes:
    from expunge.requests.certify import Witness

    asked = [Witness(url, key) for url, key in witnesses]
    with opened_home(home, files) as there:
        return there.certificate(request, asked).data


def _fetched(server: str, request: str, witnesses: list[list[str]]) -> bytes:
    if witnesses:
        raise InputError("A server chooses its witnesses itself: leave --witness out.")
    with connected(server) as client:
        return client.certificate(request)


def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate.")],
    as_json: AsJson = False,
) -> None:
    """Show what a certificate says. Believes it: `expunge verify` checks it."""
    from expunge.ledger import certificate, opened

    said = json.loads(opened.read(certificate.unpack(file.read_bytes())).payload)
    finish(as_json, said, _table(said), "[dim]Said, not checked: expunge verify FILE[/]")


def _table(statement: dict[str, Any]) -> Table:
    said = statement["predicate"]
    request, standing = said["request"], said["evidence"]
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
    table.add_row("request", f"{request['id']}, {request['kind']}")
    table.add_row("received", request["received"][:19].replace("T", " ") + " UTC")
    table.add_row("forgotten", count(request["samples"], "sample"))
    for model in said["models"]:
        promise = model["promise"]
        said_of = f"{model['name']}: {promise['guarantee']}, by {promise['method']}"
        table.add_row("model", Text(said_of, overflow="fold"))
    level = standing["level"]
    table.add_row("evidence", f"level {level} of 8, {standing['levels'][level - 1]['name']}")
    for limit in said["limitations"]:
        table.add_row("limit", Text(limit["text"]))
    return table
