"""What a service stands on, and every way to break it."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx
import sqlalchemy as sa

_DISK_BYTES = 24 << 20
_READY_S = 60.0
_MAIN = "from expunge.cli import app; app()"


class Broken(Protocol):
    """A broker that can be stopped, killed and started."""

    url: str

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def control(self, *command: str) -> None: ...


class Disk:
    """A small file system of its own, which can be filled to the last byte."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        size = f"size={_DISK_BYTES}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)

    def fill(self) -> None:
        """Leave no byte free."""
        with suppress(OSError), (self.folder / "filler").open("wb", buffering=0) as file:
            while True:  # until it is full
                file.write(bytes(1 << 16))

    def free(self) -> None:
        """Give the bytes back."""
        (self.folder / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount."""
        subprocess.run(["umount", "-l", self.folder], check=True)


@dataclass
class Process:
    """A server or a worker; started again after it was killed, as a supervisor would."""

    arguments: list[str]
    environment: dict[str, str]
    log: Path
    handle: subprocess.Popen[bytes] | None = None
    codes: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.handle is not None and self.handle.poll() is None:
            return
        if self.handle is not None:
            self.codes.append(self.handle.returncode)
        with self.log.open("ab") as log:
            self.handle = subprocess.Popen(
                [sys.executable, "-c", _MAIN, *self.arguments],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> int:
        """``kill -9``; the exit status."""
        assert self.handle is not None
        self.handle.send_signal(signal.SIGKILL)
        return self.handle.wait()

    def end(self) -> int:
        """Ask it to end, as an operator would; the exit status."""
        assert self.handle is not None
        self.handle.terminate()
        return self.handle.wait(timeout=60)


@dataclass
class World:
    """Servers, workers, a database, a disk and perhaps a broker."""

    folder: Path
    disk: Disk
    database: str
    servers: list[Process]
    addresses: list[str]
    workers: list[Process]
    broker: Broken | None

    def start(self) -> None:
        """Start all that does not run."""
        for process in (*self.servers, *self.workers):
            process.start()

    def wait_ready(self) -> None:
        """Return when all servers answer."""
        until = time.monotonic() + _READY_S
        for address in self.addresses:
            while True:
                assert time.monotonic() < until, f"no server is ready:\n{self.logs()}"
                self.start()
                try:
                    if httpx.get(f"{address}/health/ready", timeout=2).status_code == 200:
                        break
                except httpx.HTTPError:
                    pass
                time.sleep(0.1)

    def drop_connections(self) -> int:
        """Cut all connections to the database; how many there were."""
        url = sa.make_url(self.database)
        engine = sa.create_engine(url.set(drivername="postgresql+psycopg", database="postgres"))
        cut = sa.text(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = :name"
        )
        with engine.begin() as connection:
            count = connection.execute(cut, {"name": url.database}).scalar_one()
        engine.dispose()
        return int(count)

    def logs(self) -> str:
        """The last lines of all logs."""
        shown = []
        for process in (*self.servers, *self.workers):
            text = process.log.read_text(errors="replace") if process.log.exists() else ""
            shown.append(f"--- {process.log.name}\n" + "\n".join(text.splitlines()[-15:]))
        return "\n".join(shown)

    def close(self) -> None:
        """End all, and remove all."""
        for process in (*self.servers, *self.workers):
            if process.handle is not None and process.handle.poll() is None:
                process.kill()
        self.disk.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
