"""The page on running the service: its shell blocks run as printed, on free ports."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from .conftest import people, write  # noqa: TID252 - tests are no package
from .running import clean  # noqa: TID252

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/run-the-service.md"
PRODUCTION = "## PostgreSQL, RabbitMQ, and workers of their own"
POSTGRESQL = "postgresql://expunge:secret@127.0.0.1:5432/expunge"

pytestmark = pytest.mark.skipif(
    not (shutil.which("jq") and shutil.which("curl")), reason="jq or curl is not installed"
)


def parts() -> tuple[str, str]:
    """The story on SQLite, and the one on servers."""
    first, _, second = PAGE.read_text(encoding="utf-8").partition(PRODUCTION)
    return first, second


def shell(text: str) -> str:
    """All shell blocks of a text, one after the other; on ports that are free here."""
    script = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    for port in ("8000", "8001"):
        script = script.replace(port, str(free_port()))
    return f"trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n{script}"


def free_port() -> int:
    """One that the system gives to nobody who does not ask for this very one."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as listening, suppress(OSError):
            listening.bind(("127.0.0.1", port))
            return port


def run(folder: Path, script: str, **env: str) -> str:
    command = folder / "bin" / "expunge"
    command.parent.mkdir()
    code = "from expunge.cli import app; app(prog_name='expunge')"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}"
    table = people(240)
    table[18][0] = "UUID-1234"
    write(folder / "people.csv", table)
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=clean(PATH=path + os.environ["PATH"], COLUMNS="100", **env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=280)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        pytest.fail(said)
    assert process.returncode == 0, said
    return said


def test_the_story_on_one_machine(tmp_path: Path) -> None:
    first, _ = parts()
    said = run(tmp_path, shell(first))
    assert "they are back" in said
    assert "Verified." in said
    assert "yes: byte for byte" in said


@pytest.mark.postgres
@pytest.mark.broker
def test_the_story_on_postgresql_and_rabbitmq(tmp_path: Path, postgres_url: str) -> None:
    _, second = parts()
    assert POSTGRESQL in second
    said = run(tmp_path, shell(second.replace(POSTGRESQL, postgres_url)))
    assert "Forgot 1 sample" in said
    assert (tmp_path / "predicted.csv").exists()


def test_the_python_on_the_page_is_python() -> None:
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        compile(block, "page", "exec")
