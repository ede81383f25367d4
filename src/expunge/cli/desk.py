"""One desk for commands on requests: a home, or a server. Both answer the same JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from expunge.cli.common import opened, operator
from expunge.cli.remote import connected

if TYPE_CHECKING:
    from expunge.client import Client
    from expunge.home import Home

Json: TypeAlias = dict[str, Any]

MOVES: Final = ("approve", "cancel", "undo", "lift", "extend", "retry")
_PAGE: Final = 100


class Desk(Protocol):
    """Where requests are looked at, and moved."""

    def request(self, request: str) -> Json:
        """A request, with its units and its story."""
        ...

    def requests(self, where: Mapping[str, str]) -> Iterator[Json]:
        """Requests, newest first."""
        ...

    def move(self, request: str, word: str) -> None:
        """Do one of :data:`MOVES` to a request."""
        ...

    def refuse(self, request: str, reason: str) -> None:
        """Refuse a request."""
        ...


@contextmanager
def at(home: str, files: Path | None, server: str | None) -> Iterator[Desk]:
    """The desk of a server where one is named, else of a home."""
    if server:
        with connected(server) as client:
            yield _Remote(client)
    else:
        with opened(home, files) as there:
            yield _Local(there)


class _Remote:
    def __init__(self, client: Client) -> None:
        self._client = client

    def request(self, request: str) -> Json:
        return self._client.request(request)

    def requests(self, where: Mapping[str, str]) -> Iterator[Json]:
        return self._client.requests(where)

    def move(self, request: str, word: str) -> None:
        getattr(self._client, word)(request)

    def refuse(self, request: str, reason: str) -> None:
        self._client.refuse(request, reason)


class _Local:
    def __init__(self, home: Home) -> None:
        self._home = home

    def request(self, request: str) -> Json:
        from expunge.service import views

        return views.one(self._home.site, request)

    def requests(self, where: Mapping[str, str]) -> Iterator[Json]:
        from expunge.requests.states import State
        from expunge.service import views

        wanted = views.Filter(
            State(where["state"]) if "state" in where else None,
            where.get("dataset"),
            where.get("kind"),
            where.get("overdue") == "true" or None,
        )
        while True:
            page, after = views.many(self._home.site, wanted, _PAGE)
            yield from page
            if after is None:
                return
            wanted = replace(wanted, after=after)

    def move(self, request: str, word: str) -> None:
        from expunge.service import views

        if word == "approve":
            self._home.approve(request, operator())
        elif word == "retry":
            views.retry(self._home, request)
        else:
            getattr(self._home, word)(request)

    def refuse(self, request: str, reason: str) -> None:
        self._home.refuse(request, reason)


def first(found: Iterator[Json], most: int) -> list[Json]:
    """At most so many."""
    return list(islice(found, most))
