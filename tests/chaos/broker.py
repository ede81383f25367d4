"""A RabbitMQ node of our own, to be stopped and killed without harming anybody else's."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import psutil

from chaos.world import free_port

_LIBRARY = Path("/usr/lib/rabbitmq/lib")
_START_S = 60.0


def scripts() -> Path | None:
    """Folder of the server's own scripts, which run as whoever calls them; None without one."""
    return next(iter(sorted(_LIBRARY.glob("rabbitmq_server-*/sbin"))), None)


class Broker:
    """A node with its own name, port, cookie and folder."""

    def __init__(self, folder: Path) -> None:
        found = scripts()
        assert found is not None, "RabbitMQ is not installed"
        self._scripts, self.folder = found, folder
        folder.mkdir(parents=True)
        (folder / "plugins").write_text("[].\n")
        self.port, distribution = free_port(), free_port()
        self.name = f"chaos{self.port}@localhost"
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"
        self._environment = os.environ | {
            "HOME": str(folder),  # of the cookie, which server and tools share
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the node; returns when it takes connections."""
        self._process = subprocess.Popen(
            [self._scripts / "rabbitmq-server"],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.monotonic() + _START_S
        while not self.answers():
            assert time.monotonic() < until, "the broker did not start"
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def control(self, *command: str) -> None:
        """Run ``rabbitmqctl``."""
        subprocess.run(
            [self._scripts / "rabbitmqctl", "-q", "-n", self.name, *command],
            env=self._environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """``kill -9`` to the server itself, which a script started."""
        assert self._process is not None
        family = psutil.Process(self._process.pid).children(recursive=True)
        erlang = next(one for one in family if one.name() == "beam.smp")
        erlang.kill()
        self._process.wait()

    def close(self) -> None:
        """End it, and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
