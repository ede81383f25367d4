"""Run a server: a home, an application over it, and uvicorn around it."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI

from expunge.api.app import create_app
from expunge.api.protocol import limited
from expunge.home import Home
from expunge.service import logs
from expunge.service.engine import Engine, opened
from expunge.service.service import Service
from expunge.service.settings import Settings

_KEEP_ALIVE_S: Final = 5
_BACKLOG: Final = 2_048
_SWITCH_S: Final = 0.001
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run(settings: Settings, started: Callable[[int], None] | None = None) -> None:
    """Serve until a signal says to stop; then end what was begun.

    On SIGTERM or SIGINT the server is not ready any more and takes no new connection, answers
    what it has accepted, and gives back its leases and what it is rebuilding.

    Args:
        settings: How.
        started: Called with the port once it answers.
    """
    with opened(settings) as home:
        # The thread that accepts keeps the interpreter busy; the loop needs it often, and briefly.
        sys.setswitchinterval(_SWITCH_S)
        loop = uvicorn.Config("").get_loop_factory()  # uvloop where there is one
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(_serve(home, settings, started))


async def _serve(home: Home, settings: Settings, started: Callable[[int], None] | None) -> None:
    logs.tell_loop_failures(asyncio.get_running_loop())
    engine = Engine(home, settings)
    service = Service(home, settings, engine.wake, engine.queue)
    app = create_app(service, settings)
    server = _Server(_config(app, settings), service, started)
    engine.start(service.telemetry)
    try:
        await server.serve()
    finally:
        await asyncio.to_thread(service.close)
        await asyncio.to_thread(engine.close)


class _Server(uvicorn.Server):
    """Says when it has started, and tells the service at once when it is to stop."""

    def __init__(
        self, config: uvicorn.Config, service: Service, started: Callable[[int], None] | None
    ) -> None:
        super().__init__(config)
        self._service, self._started = service, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._started and self.servers:
            self._started(self.servers[0].sockets[0].getsockname()[1])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.stop()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but that the signal is not raised again: there is more to end than it."""
        before = {sig: signal.signal(sig, self.handle_exit) for sig in _SIGNALS}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def _config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=limited(settings.header_bytes, settings.head_timeout_s),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,  # paths and addresses are nobody's business
        server_header=False,
        proxy_headers=False,
        limit_concurrency=settings.connections,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.stop_timeout_s),
    )
