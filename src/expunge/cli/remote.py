"""Commands that ask a server instead of a home."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli.endings import Unavailable
from expunge.core.errors import InputError

if TYPE_CHECKING:
    from expunge.client import Client

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="EXPUNGE_SERVER",
        metavar="URL",
        help="Ask a server instead of a home, with the key in EXPUNGE_API_KEY.",
    ),
]


@contextmanager
def connected(server: str) -> Iterator[Client]:
    """A client of ``server``, with the key in the environment: shells keep a history.

    Raises:
        InputError: There is no key.
        Unavailable: httpx is not installed.
    """
    key = os.environ.get("EXPUNGE_API_KEY", "")
    if not key:
        raise InputError(
            "Put an API key into the variable EXPUNGE_API_KEY; `expunge keys create` makes one."
        )
    try:
        from expunge.client import Client
    except ModuleNotFoundError:
        raise Unavailable("Talking to a server needs httpx: pip install httpx.") from None
    with Client(server, key) as client:
        yield client
