"""Around every request: its id, the headers that every response has, and errors as problems."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable
from typing import Final, TypeAlias

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from expunge.api import problems
from expunge.service import logs

_LOG: Final = logging.getLogger(__name__)
_ID_BYTES: Final = 16
_AT_ONCE: Final = 64

Count: TypeAlias = Callable[[str, str, int, float], None]

_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("X-Frame-Options", "DENY"),
)


class Guard:
    """The outermost layer of the application.

    It answers HEAD as GET without the body, gives each call a random id (``X-Request-Id``), adds
    security headers, and turns whatever is raised into a problem. Nothing that was sent is
    ever part of a header.

    Args:
        count: Called with the method, the route, the status and the seconds of each call.
    """

    def __init__(self, app: ASGIApp, count: Count) -> None:
        self._app, self._count, self._ids = app, count, _Ids()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = _Call(self._ids.new(), send, is_head=scope["method"] == "HEAD")
        scope.setdefault("state", {})["call"] = call.id
        if call.is_head:
            scope = {**scope, "method": "GET"}
        began = time.perf_counter()
        try:
            with logs.calling(call.id):
                await self._answer(scope, receive, call)
        finally:
            self._count(*_route(scope), call.status, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, call: _Call) -> None:
        try:
            await self._app(scope, receive, call.send)
        except Exception as error:  # noqa: BLE001 - told by its class, as a problem
            problem = problems.of_error(error)
            if problem.cause:
                _LOG.error("Call %s ended in %s (%s)", call.id, problem.cause, problem.code)
            if call.started:
                raise problem from None  # the connection is cut: what was begun is not whole
            await problems.response(problem, call.id)(scope, receive, call.send)


def _route(scope: Scope) -> tuple[str, str]:
    """Method and pattern of the route that answered; nothing that a client made up."""
    route = scope.get("route")
    if route is None:
        return "other", "none"
    # A route with this path may answer 405 to a word that a client made up.
    return scope["method"] if scope["method"] in route.methods else "other", route.path


class _Ids:
    """Random UUIDs, drawn many at a time: a call of the system for each costs more than the rest."""

    def __init__(self) -> None:
        self._drawn = b""

    def new(self) -> str:
        if not self._drawn:
            self._drawn = os.urandom(_ID_BYTES * _AT_ONCE)
        one, self._drawn = self._drawn[:_ID_BYTES], self._drawn[_ID_BYTES:]
        return str(uuid.UUID(bytes=one, version=4))


class _Call:
    """One call: what is sent in answer to it."""

    def __init__(self, id_: str, send: Send, *, is_head: bool) -> None:
        self.id, self._send, self.is_head, self.status = id_, send, is_head, 0

    @property
    def started(self) -> bool:
        """Whether the client was sent something."""
        return self.status > 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._add_headers(message)
        elif self.is_head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)

    def _add_headers(self, message: Message) -> None:
        headers = MutableHeaders(raw=message["headers"])
        for name, value in _HEADERS:
            headers.setdefault(name, value)  # a page of ours says what it needs itself
        headers.setdefault("Cache-Control", "no-store")
        headers["X-Request-Id"] = self.id
