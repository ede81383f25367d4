"""Servers and workers as processes of their own, as people start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-c", "from expunge.cli import app; app(prog_name='expunge')"]


def clean(**more: str) -> dict[str, str]:
    """This environment without our own variables, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EXPUNGE_")}
    return kept | more


def run(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a command that must succeed; its answer."""
    done = subprocess.run(
        [*COMMAND, *arguments, "--json"],
        cwd=folder,
        env=clean(**(env or {})),
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    return value


@dataclass(frozen=True)
class Running:
    """A process that has said that it runs."""

    process: subprocess.Popen[str]
    said: dict[str, Any]

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """End it as a terminal or an init system does; its exit code."""
        self.process.send_signal(by)
        return self.process.wait(timeout=200)


@contextmanager
def started(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Start `expunge serve` or `expunge worker`; returns once it runs."""
    with (folder / f"{arguments[0]}.log").open("a") as log:
        process = subprocess.Popen(
            [*COMMAND, *arguments, "--json"],
            cwd=folder,
            env=clean(**(env or {})),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (folder / f"{arguments[0]}.log").read_text()
            yield Running(process, json.loads(line))
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
