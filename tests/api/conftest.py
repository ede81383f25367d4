"""An application over a small home, called in this process."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import expunge
from expunge.api.app import create_app
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.home import Home
from expunge.service import keys
from expunge.service.service import Service
from expunge.service.settings import Settings
from expunge.testing.fakes import Tiny, people

SCRIPT = Path(__file__).parent / "served.py"
ROWS = 120
RECIPE = expunge.Sharded(Tiny(), shards=2, slices=2)


class Server:
    """A served home, and a client that calls it with a key that may do everything."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.home, self.settings, self._closed = home, settings, False
        self._runner = asyncio.Runner()
        self.service = self._runner.run(self._made())
        self.app = create_app(self.service, settings)
        transport = httpx.ASGITransport(self.app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://server")
        self.token = self.key("admin")

    async def _made(self) -> Service:
        return Service(self.home, self.settings)

    def key(self, *scopes: str, **options: Any) -> str:
        return keys.create(self.home.site, "test", scopes, **options)[1]

    def run(self, work: Any) -> Any:
        return self._runner.run(work)

    async def call(
        self, method: str, path: str, *, token: str | None = "", **options: Any
    ) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers.setdefault("Authorization", f"Bearer {token or self.token}")
        return await self.http.request(method, path, headers=headers, **options)

    def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._runner.run(self.call(method, path, **options))

    def unlearn(self, body: Any, **options: Any) -> httpx.Response:
        return self("POST", "/unlearn", json=body, **options)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._runner.run(self.http.aclose())
        self.service.close()
        self.home.close()
        self._runner.close()


Serve = Callable[..., Server]


@contextmanager
def serving(folder: Path) -> Iterator[Serve]:
    """Serves homes; by default one in ``folder``, with one dataset and one model."""
    servers: list[Server] = []

    def serve_(place: Any = None, files: Any = None, **options: Any) -> Server:
        place = place or folder / "home"
        home = expunge.open(
            place, files=files, executor=Inline(), progress=Silent(), background=False
        )
        if not home.datasets():
            home.ingest("people", people(ROWS, each=2), id="id", subject="who")
            home.train("wide", home.dataset("people").view("y", purpose="care"), RECIPE)
        servers.append(Server(home, Settings(**options)))
        return servers[-1]

    yield serve_
    for server in servers:
        server.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serves a home; options are settings."""
    with serving(tmp_path) as serve_:
        yield serve_


@pytest.fixture
def server(serve: Serve) -> Server:
    """A server as it is by default."""
    return serve()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same, for tests that change nothing."""
    with serving(tmp_path_factory.mktemp("shared")) as serve_:
        yield serve_()


class Running:
    """A server process on a home of 400 rows, and its key."""

    def __init__(self, place: Any, files: Any, **settings: Any) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`
        with expunge.open(
            place, files=files, executor=Inline(), progress=Silent(), background=False
        ) as home:
            home.ingest("people", people(400, each=2), id="id", subject="who")
            recipe = expunge.Sharded(Tiny(), shards=2, slices=2)
            home.train("wide", home.dataset("people").view("y"), recipe)
            self.token = keys.create(home.site, "test", ["admin"])[1]
        said = {f"EXPUNGE_{name.upper()}": str(value) for name, value in settings.items()}
        where = {"EXPUNGE_HOME": str(place), "EXPUNGE_PORT": "0"}
        where |= {"EXPUNGE_FILES": str(files)} if files else {}
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | where | said,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=120,
        )

    @property
    def log(self) -> str:
        """What it has written to standard error."""
        self._log.seek(0)
        return self._log.read().decode()

    def raw(self, data: bytes = b"", timeout: float = 120.0) -> bytes:
        """What the server sends to these bytes, until it closes or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
            connection.sendall(data)
            received = b""
            while part := connection.recv(65_536):
                received += part
            return received

    def head(self, length: int) -> bytes:
        """Of a request with a body of that length."""
        return (
            f"POST /unlearn HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    def stop(self) -> None:
        """Have it end, as an operator does."""
        self.http.close()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(120)
        assert self.process.stdout
        self.process.stdout.close()
        self._log.close()


@contextmanager
def running(folder: Path) -> Iterator[Callable[..., Running]]:
    """Runs servers; by default on a home in ``folder``."""
    servers: list[Running] = []

    def run_(place: Any = None, files: Any = None, **settings: Any) -> Running:
        servers.append(Running(place or folder / "home", files, **settings))
        return servers[-1]

    yield run_
    for server in servers:
        server.stop()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Runs servers; options are settings."""
    with running(tmp_path) as run_:
        yield run_


@pytest.fixture(scope="module")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """The same, for servers that the tests of a module share."""
    with running(tmp_path_factory.mktemp("running")) as run_:
        yield run_
