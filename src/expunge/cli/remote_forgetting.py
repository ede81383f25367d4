"""The command `forget`, asked of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import RenderableType
from rich.table import Table

from expunge.cli import standing
from expunge.cli.asking import Missing, Named, Terms
from expunge.cli.common import count, finish
from expunge.cli.endings import keeps
from expunge.cli.remote import connected
from expunge.core.errors import InputError

if TYPE_CHECKING:
    from expunge.client import Client
    from expunge.client import Terms as ClientTerms

_AT_ONCE: Final = 10_000
"""Ids in one body; more are uploaded."""

_SETTLED: Final = frozenset({"submitted", "scheduled", "held"})
"""Where a request stays until a person or a moment moves it."""


def run(
    server: str,
    named: Named,
    terms: Terms,
    every: int,
    dataset: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Send requests; then wait until they are done, if so wished, and show how they stand."""
    said = client_terms(terms, dataset)
    with connected(server) as client:
        kept = "Requests that were accepted stand, and the server goes on with them."
        with keeps(kept):
            accepted = [_submit(client, *wanted, said) for wanted in named.chunks(every)]
            after = [_settled(client, one, wait) for one in accepted]
    body: dict[str, Any] = {
        "requests": [one["request"] for one in accepted],
        "samples": _summed(accepted),
        "accepted": accepted,
        "status": after,
    }
    finish(as_json, body, *_shown(body))


def client_terms(terms: Terms, dataset: str | None) -> ClientTerms:
    """Terms, as a client sends them."""
    from expunge.client import Terms as ClientTerms

    return ClientTerms(
        dataset=dataset,
        kind=terms.kind.value,
        models=terms.models,
        purpose=terms.purpose,
        method=terms.method,
        regime=terms.regime,
        received=terms.received,
        effective=terms.effective,
        undo_s=terms.undo_s,
        missing="ignore" if terms.missing is Missing.IGNORE else None,
    )


def _submit(
    client: Client, samples: list[str], subjects: list[str], terms: ClientTerms
) -> dict[str, Any]:
    if max(len(samples), len(subjects)) <= _AT_ONCE:
        return client.unlearn(samples, subjects=subjects, terms=terms)
    if samples and subjects:
        raise InputError("Send many samples and many subjects as requests of their own.")
    return client.bulk(samples or subjects, of="sample" if samples else "subject", terms=terms)


def _settled(client: Client, accepted: dict[str, Any], wait: bool) -> dict[str, Any]:
    if not wait:
        return client.request(accepted["request"])
    return client.wait(accepted["request"], until=_SETTLED)


def _summed(accepted: list[dict[str, Any]]) -> int | None:
    counts = [one["samples"] for one in accepted]
    return None if None in counts else sum(counts)


def _shown(body: dict[str, Any]) -> list[RenderableType]:
    lines: list[RenderableType] = [_headline(body), _models(body["accepted"])]
    if len(body["requests"]) == 1:
        return [*lines, "", *standing.shown(body["status"][0])]
    states = {one["state"] for one in body["status"]}
    lines.append(f"{count(len(body['requests']), 'request')}: {', '.join(sorted(states))}.")
    return [*lines, "[dim]Next: expunge requests list[/]"]


def _headline(body: dict[str, Any]) -> str:
    waits = {one["state"] for one in body["accepted"]} & {"submitted", "scheduled"}
    if waits:
        return f"[bold]Accepted[/], and not in effect yet: {', '.join(sorted(waits))}."
    if body["samples"] is None:
        return "[bold green]Accepted[/]: no answer comes from a model that saw them."
    return (
        f"[bold green]Forgot {count(body['samples'], 'sample')}[/]: no answer comes from a model "
        f"that saw {'it' if body['samples'] == 1 else 'them'}."
    )


def _models(accepted: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
    last = {model["name"]: model for one in accepted for model in one["models"]}
    for name, model in last.items():
        version = (model["version"] or "none")[:12]
        now = "[yellow]withdrawn[/] until it is rebuilt" if model["withdrawn"] else "answers"
        table.add_row(f"  {name}", f"{now}, version {version}")
    return table
