"""Commands on the ledger: look at it, prove entries of it, check it, have it cosigned."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table

from expunge.cli.common import DEFAULT_HOME, AsJson, Files, Place, count, finish, opened, whole
from expunge.cli.endings import Exit
from expunge.core.errors import InputError
from expunge.storage import disk

if TYPE_CHECKING:
    from expunge.ledger.fsck import Report

_SHOWN: Final = 20
_ABOUT: Final = 34  # letters, so that a line fits where terminals are narrow

OfRequest = Annotated[str | None, typer.Option("--request", metavar="ID", help="Of one request.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")]


class Key(StrEnum):
    """Which of the two keys of a home."""

    LOG = "log"
    CERTIFICATE = "certificate"


def show(
    request: OfRequest = None,
    last: Annotated[int, typer.Option("--last", min=1, help="At most so many entries.")] = _SHOWN,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest entries, the size and root of the tree, and the log's public key.

    Give the public key to those who shall check certificates: it is what they trust.
    """
    with opened(home, files) as there:
        ledger = there.ledger
        ledger.sync(wait=True)
        found = ledger.find(request) if request else ledger.newest(last)
        body: dict[str, Any] = {
            "origin": ledger.origin,
            "size": ledger.size,
            "key": ledger.vkey,
            "checkpoint": ledger.checkpoint.decode(),
            "entries": [{"index": index, **entry} for index, entry in found[-last:]],
        }
    finish(as_json, body, *_shown(body))


def proof(
    index: Annotated[int, typer.Argument(metavar="INDEX", min=0, help="Of the entry.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there.")
    ] = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Prove that an entry is in the tree: a file of its own, which needs nothing else.

    The format is c2sp.org/tlog-proof@v1; without --out it goes to standard output. Any tool of
    that format checks it against the log's public key.
    """
    with opened(home, files) as there:
        there.ledger.sync(wait=True)
        made = there.ledger.proof(index).to_bytes()
    if out is not None:
        disk.write_file(out, made)
        finish(as_json, {"index": index, "out": str(out)}, f"Proof of entry {index:,}: {out}")
    elif as_json:
        finish(as_json, {"index": index, "proof": made.decode()})
    else:
        sys.stdout.write(made.decode())


def fsck(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="An exported ledger; by default that of the home."),
    ] = None,
    log_key: Annotated[
        str | None, typer.Option("--log-key", metavar="KEY", help="Its public key, with a folder.")
    ] = None,
    earlier: Annotated[
        Path | None,
        typer.Option(
            "--earlier", metavar="FILE", help="A checkpoint kept from before: is it a beginning?"
        ),
    ] = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Derive every hash of the ledger again, and compare every byte of every file.

    Exit code 1 where anything differs, with the file and the place. Of a home, its database is
    compared as well. With --earlier it also shows that history was only added to.
    """
    from expunge.ledger import fsck as checks

    kept = earlier.read_bytes() if earlier else None
    if folder is not None:
        if log_key is None:
            raise InputError("Say --log-key: an exported ledger is checked against its key.")
        report = checks.fsck(folder, log_key, earlier=kept)
    else:
        with opened(home, files) as there:
            report = there.ledger.fsck(earlier=kept)
    finish(as_json, _report(report), *_told(report))
    if report.problems:
        raise typer.Exit(int(Exit.NO))


def export(
    folder: Folder,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Copy the ledger's static files, for any web server to serve or anybody to check."""
    with opened(home, files) as there:
        there.ledger.sync(wait=True)
        there.ledger.export(folder)
        size, key = there.ledger.size, there.ledger.vkey
    finish(
        as_json,
        {"out": str(folder), "size": size, "key": key},
        f"{count(size, 'entry', 'entries')} in {folder}. Check them with",
        whole(f"  expunge ledger fsck {folder} --log-key '{key}'"),
    )


def witness(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where it takes add-checkpoint.")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its public key: name+id+base64.")],
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Have a witness cosign the tree as it is now.

    A witness remembers the last tree that it saw and signs only what continues it, so nobody can
    be shown another history. It sees hashes, never an entry.
    """
    with opened(home, files) as there:
        there.ledger.sync(wait=True)
        there.ledger.witness(url, key)
        size, name = there.ledger.size, key.partition("+")[0]
    said = f"Cosigned by {name}: {count(size, 'entry', 'entries')}."
    finish(as_json, {"witness": name, "size": size}, said)


def rotate(
    which: Annotated[Key, typer.Argument(metavar="[log|certificate]", help="Which key.")],
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Make a new signing key; that it took the old one's place is an entry of the ledger.

    Publish the new public key of the log: from now on it signs. What the old one signed stays
    as good as it was.
    """
    with opened(home, files) as there:
        there.ledger.rotate(which.value)
        body = {"rotated": which.value, "key": there.ledger.vkey}
    finish(
        as_json,
        body,
        f"The new {which.value} key signs from now on. Key of the log:",
        whole(body["key"]),
    )


def opening(
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="Its id.")],
    sample: Annotated[str, typer.Option("--sample", metavar="ID", help="One that it named.")] = "",
    subject: Annotated[
        str, typer.Option("--subject", metavar="ID", help="A person that it named.")
    ] = "",
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Show that a request named somebody, for that person alone.

    The ledger holds a commitment to each id that a request names. This is the key that opens one,
    with its path to the root that stands in the entry `request.received`. Give it to the person.
    """
    with opened(home, files) as there:
        found = there.opening(request, sample=sample, subject=subject).to_json()
    finish(as_json, found, *(whole(f"{name}  {value}") for name, value in found.items()))


def shred(
    request: Annotated[
        str | None, typer.Argument(metavar="[REQUEST]", help="Its id; or --older-than.")
    ] = None,
    older_than: Annotated[
        int | None,
        typer.Option("--older-than", metavar="DAYS", min=0, help="All requests as old as that."),
    ] = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Destroy the keys of a request's commitments: nobody can open them any more.

    The ledger keeps that there was a request, when, and what was done; not even the person can
    show any more that it named them. That is an entry, too. Whoever has the dataset's secret
    (the home, a package) can still recognise the keyed hash of a forgotten id.
    """
    if (request is None) == (older_than is None):
        raise InputError("Name one request, or say --older-than.")
    with opened(home, files) as there:
        if request is not None:
            requests = int(there.shred(request) > 0)
        else:
            requests = there.shred_older_than(older_than or 0)
    said = f"The keys of {count(requests, 'request')} are destroyed."
    finish(as_json, {"requests": requests}, said)


def _shown(body: dict[str, Any]) -> list[Any]:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("entry", "time", "kind", "request", "about"):
        table.add_column(column, justify="right" if column == "entry" else "left")
    for entry in body["entries"]:
        about = ", ".join(f"{k} {_brief(v)}" for k, v in entry["body"].items() if _brief(v))
        about = about if len(about) <= _ABOUT else f"{about[: _ABOUT - 1]}…"
        request = str(entry.get("request", ""))[:8]
        moment = entry["at"][:19].replace("T", " ")
        table.add_row(f"{entry['index']:,}", moment, entry["kind"], request, about)
    return [
        table,
        f"[bold]{count(body['size'], 'entry', 'entries')}[/] in the log {body['origin']}. "
        f"Public key, for those who check:",
        whole(body["key"]),
    ]


def _brief(value: Any) -> str:  # noqa: ANN401 - a field of an entry
    """A field in a few letters; nothing where it is not for the eye."""
    if isinstance(value, bool) or value is None or isinstance(value, list | dict):
        return ""
    text = str(value)
    return text if len(text) <= 12 else f"{text[:8]}…"


def _report(report: Report) -> dict[str, Any]:
    return {
        "entries": report.entries,
        "files": report.files,
        "problems": [{"file": p.file, "where": p.where, "what": p.what} for p in report.problems],
    }


def _told(report: Report) -> list[str]:
    looked = f"{count(report.entries, 'entry', 'entries')}, {count(report.files, 'file')}"
    if not report.problems:
        return [f"[bold green]whole[/]: {looked}, every hash derived again."]
    lines = [f"  {p.file}, {p.where}: {p.what}" for p in report.problems]
    return [f"[bold red]{count(len(lines), 'problem')}[/] in {looked}:", *lines]
