"""Commands that run until they are stopped: a server, and workers."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expunge.cli.asking import span_s
from expunge.cli.common import DEFAULT_HOME, AsJson, Files, Place, check_there, count, out, whole
from expunge.cli.endings import Unavailable

if TYPE_CHECKING:
    from expunge.home import Home
    from expunge.service.settings import Settings

RabbitMQ = Annotated[
    str | None,
    typer.Option(
        "--rabbitmq",
        envvar="EXPUNGE_RABBITMQ",
        metavar="URL",
        help="Broker that wakes the workers: amqp://user:password@host:5672/%2F.",
    ),
]
Journal = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        envvar="EXPUNGE_JOURNAL",
        metavar="DIR",
        help="Folder of the journal of accepted requests; best on another disk.",
    ),
]


def serve(
    host: Annotated[
        str | None,
        typer.Option(
            "--host", metavar="ADDRESS", help="Where to listen; by default this machine only."
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65_535, help="By default 8080; 0 takes a free one."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=0, help="Shards that are rebuilt at once, without a broker."),
    ] = None,
    rabbitmq: RabbitMQ = None,
    approval: Annotated[
        bool | None,
        typer.Option(
            "--approval/--no-approval", help="Whether requests wait for a second person's key."
        ),
    ] = None,
    regime: Annotated[
        str | None,
        typer.Option("--regime", metavar="NAME", help="Deadlines of requests that name no other."),
    ] = None,
    undo: Annotated[
        str | None,
        typer.Option("--undo", metavar="SPAN", help="Requests can be undone for so long: 24h …"),
    ] = None,
    journal: Journal = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Serve a home over REST: requests, predictions, certificates. Ctrl-C stops it cleanly.

    Alone, with SQLite and a worker of its own, or with a PostgreSQL home, RabbitMQ and any number
    of `expunge worker`; any number of servers may share such a home. Further settings are
    variables: docs/how-to/run-the-service.md lists them. It speaks HTTP: put a proxy
    that speaks TLS before it. Clients need keys: `expunge keys create`.
    """
    check_there(home)
    given = {
        "home": home,
        "files": files,
        "journal": journal,
        "host": host,
        "port": port,
        "workers": workers,
        "rabbitmq": rabbitmq,
        "approval": approval,
        "regime": regime,
        "undo_s": span_s(undo),
    }
    settings = _settings({name: value for name, value in given.items() if value is not None})
    if settings.regime is not None:
        from expunge.requests import deadlines

        deadlines.named(settings.regime)
    _log(settings)
    from expunge.api import server

    try:
        server.run(settings, lambda port: _listening(settings, port, as_json))
    except SystemExit as end:  # uvicorn's way to say that it cannot listen
        if end.code:
            where = f"{settings.host}:{settings.port}"
            raise Unavailable(f"Cannot listen on {where}. Choose another --port.") from None


def worker(
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Shards that are rebuilt at once.")
    ] = 1,
    rabbitmq: RabbitMQ = None,
    journal: Journal = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild what servers have accepted. Ctrl-C gives back what is being built.

    Any number may run, on any machine that reaches the home's database and files. Each rebuild
    runs in a process of its own; whatever dies, another worker goes on after half a minute.
    Without a broker, a worker looks into the database every few seconds.
    """
    check_there(home)
    given = {"home": home, "files": files, "journal": journal, "rabbitmq": rabbitmq}
    settings = _settings({name: value for name, value in given.items() if value is not None})
    _work(settings, workers, as_json)


def _work(settings: Settings, workers: int, as_json: bool) -> None:
    from expunge.service.engine import opened

    _log(settings)
    with opened(settings) as home:
        _until_stopped(home, settings, workers, as_json)


def _until_stopped(home: Home, settings: Settings, workers: int, as_json: bool) -> None:
    from expunge.execution.local import Workers
    from expunge.service.engine import queue_of, worker_settings
    from expunge.service.worker import Worker

    how = worker_settings(settings)
    stopping = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    queues = [queue_of(home, settings.rabbitmq) for _ in range(workers)]
    executors = [Workers(1) for _ in range(workers)]
    running = [
        Worker(home.site, executor, queue, how)
        for executor, queue in zip(executors, queues, strict=True)
    ]
    for one in running:
        one.start()
    _working(running, settings, as_json)
    stopping.wait()
    for one in running:
        one.stop()
    for queue in queues:
        queue.close()
    for executor in executors:
        executor.close()
    for one in running:
        one.join()


def _settings(given: dict[str, Any]) -> Settings:
    from pydantic import ValidationError

    from expunge.service.settings import Settings

    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = "_".join(map(str, first["loc"]))
        raise typer.BadParameter(f"EXPUNGE_{name.upper()} or --{name}: {first['msg']}.") from None


def _log(settings: Settings) -> None:
    """JSON lines, unless somebody reads them on a terminal."""
    from expunge.service import logs

    logs.configure(as_json=settings.log_json and not sys.stderr.isatty())
    logs.tell_failures()


def _listening(settings: Settings, port: int, as_json: bool) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{port}"
    if as_json:
        typer.echo(json.dumps({"url": url, "home": _shown(settings.home)}))
        return
    console = out()
    console.print(f"[bold green]Serving[/] {_shown(settings.home)} at [bold]{url}[/]")
    if settings.rabbitmq:
        console.print("Rebuilds are for `expunge worker`; the broker wakes them.")
    elif settings.workers:
        console.print(f"Rebuilds run here, {settings.workers} at a time.")
    else:
        console.print("[yellow]No rebuilds run here[/]: start `expunge worker` beside it.")
    shown = "…" if "://" in settings.home else shlex.quote(settings.home)
    place = "" if settings.home == DEFAULT_HOME else f" --home {shown}"
    console.print("[dim]A key for a client:[/]")
    console.print(whole(f"  expunge keys create NAME --scope unlearn:submit --scope read{place}"))


def _working(running: list[Any], settings: Settings, as_json: bool) -> None:
    if as_json:
        names = [one.holder for one in running]
        typer.echo(json.dumps({"workers": names, "home": _shown(settings.home)}))
        return
    woken = "woken by the broker" if settings.rabbitmq else "looking every few seconds"
    out().print(
        f"[bold green]Working[/] on {_shown(settings.home)}: "
        f"{count(len(running), 'worker')}, {woken}. Ctrl-C stops."
    )


def _shown(home: str) -> str:
    """A home's place without a password."""
    scheme, separator, rest = home.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator else home
