"""A service that is broken at random keeps its promises; ``make chaos`` runs hundreds of seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from chaos.broker import Broker, scripts
from chaos.run import POSTGRES, REQUESTS, run

CI = os.environ.get("CI", "") not in {"", "0", "false"}


def required(reason: str) -> None:
    """Skip; on CI, fail: it has all that this needs."""
    if CI:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def disk() -> None:
    """Small file systems can be mounted, to be filled."""
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        required("only root can mount a small disk to fill")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A RabbitMQ node of our own."""
    if scripts() is None:
        required("RabbitMQ is not installed here")
    try:
        psycopg.connect(POSTGRES, connect_timeout=5).close()
    except psycopg.OperationalError:
        required("no PostgreSQL answers; name one in EXPUNGE_TEST_POSTGRES")
    node = Broker(tmp_path_factory.mktemp("broker") / "node")
    node.start()
    yield node
    node.close()


@pytest.mark.parametrize("seed", [0, 2, 4, 6])
def test_one_process_keeps_its_promises_whatever_is_killed(seed, disk, record_property):
    counts = run(seed, None)
    record_property("cases", counts["requests"])
    assert counts["requests"] == REQUESTS
    assert counts["answers"] > 0


@pytest.mark.postgres
@pytest.mark.broker
@pytest.mark.parametrize("seed", [1, 3, 5, 7, 9, 11])
def test_many_processes_keep_their_promises_whatever_is_killed(seed, disk, broker, record_property):
    counts = run(seed, broker)
    record_property("cases", counts["requests"])
    assert counts["requests"] == REQUESTS
    assert counts["answers"] > 0
