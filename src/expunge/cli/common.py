"""What commands share: their common options, the home, and where words go."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from expunge.core.errors import InputError

if TYPE_CHECKING:
    from expunge.execution.local import Executor
    from expunge.home import Home

DEFAULT_HOME: Final = "expunge-home"
_WIDTH_ELSEWHERE: Final = 100


Place = Annotated[
    str,
    typer.Option(
        "--home",
        envvar="EXPUNGE_HOME",
        metavar="DIR",
        help="Folder that holds data and models; or a PostgreSQL URL.",
    ),
]
Files = Annotated[
    Path | None,
    typer.Option(
        "--files",
        envvar="EXPUNGE_FILES",
        metavar="DIR",
        help="Folder of data and models, where --home is a URL.",
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on standard output, nothing else."),
]
Workers = Annotated[
    int,
    typer.Option("--workers", min=0, help="Worker processes; 0: one per core.", show_default=False),
]
OfDataset = Annotated[
    str | None,
    typer.Option("--dataset", metavar="NAME", help="May be left out where there is only one."),
]


def executor(workers: int) -> Executor:
    """Where training runs. Tests put another one in its place."""
    from expunge.execution import local

    return local.Workers(workers)


@contextmanager
def opened(
    place: str, files: Path | None, *, make: bool = False, workers: int = 0
) -> Iterator[Home]:
    """The home at ``place``.

    Raises:
        InputError: There is none, and it is not to be made.
    """
    from expunge import home as homes

    if not make:
        check_there(place)
    with homes.open(place, files=files, executor=executor(workers), background=False) as home:
        yield home


def check_there(place: str) -> None:
    """See that there is a home at ``place``; a server of databases is asked later.

    Raises:
        InputError: There is none.
    """
    if "://" not in place and not (Path(place) / "expunge.sqlite").exists():
        raise InputError(
            f"There is no home at {place!r}. Name it with --home or EXPUNGE_HOME, or begin one "
            f"with `expunge ingest`."
        )


def finish(as_json: bool, body: Mapping[str, Any], *shown: RenderableType) -> None:
    """Print the answer: ``body`` as JSON, or what is ``shown`` to people."""
    if as_json:
        typer.echo(json.dumps(body, ensure_ascii=False))
        return
    console = out()
    for renderable in shown:
        console.print(renderable, soft_wrap=isinstance(renderable, Text))


def out() -> Console:
    """Standard output, for people."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_ELSEWHERE
    return console


def whole(line: str) -> Text:
    """A line to be copied: never broken, however long."""
    return Text(line, no_wrap=True, overflow="ignore")


def only_dataset(home: Home, name: str | None) -> str:
    """``name``, or the one dataset that there is."""
    if name is not None:
        return name
    names = home.datasets()
    if len(names) != 1:
        raise InputError(
            f"Say --dataset: this home has {len(names)} datasets"
            f"{': ' if names else ''}{', '.join(map(repr, names))}."
        )
    return names[0]


def operator() -> str:
    """Who sits at this machine, as the ledger of a home may name them: by a role."""
    return "operator"


def timed(work: Callable[[], Any]) -> float:
    """Seconds that ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def seconds(duration: float) -> str:
    """A duration for people, with its unit.

    >>> seconds(0.00412), seconds(0.25), seconds(3.14159), seconds(75)
    ('4.1 ms', '250 ms', '3.1 s', '1 min 15 s')
    """
    if duration < 0.0995:
        return f"{duration * 1e3:.1f} ms"
    if duration < 0.995:
        return f"{duration * 1e3:.0f} ms"
    if duration < 60:
        return f"{duration:.1f} s"
    return f"{duration // 60:.0f} min {duration % 60:.0f} s"


def count(number: int, word: str, plural: str = "") -> str:
    """A number with its word.

    >>> count(1, "row"), count(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{number:,} {word if number == 1 else plural or word + 's'}"
