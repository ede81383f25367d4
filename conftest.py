"""What all tests share: hypothesis profiles, the count of proof cases, servers that answer."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

# Before anything imports NumPy or PyTorch: equal names promise equal bytes on one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

CI = os.environ.get("CI", "") not in {"", "0", "false"}

_slow_machines = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", print_blob=True, **_slow_machines)  # type: ignore[arg-type]
settings.register_profile("ci", derandomize=True, print_blob=True, **_slow_machines)  # type: ignore[arg-type]
settings.load_profile(os.environ.get("EXPUNGE_PROFILE", "ci" if CI else "dev"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note how many examples hypothesis ran, where the test has not said it itself."""
    report = yield
    # What hypothesis' plugin leaves behind for --hypothesis-show-statistics.
    statistics = getattr(item, "hypothesis_statistics", "")
    found = re.findall(r"(\d+) passing, ", statistics)
    if found and report.when == "call" and "cases" not in dict(report.user_properties):
        report.user_properties.append(("cases", sum(map(int, found))))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """In a proving run, say how many cases each test ran.

    A test without hypothesis says so itself: ``record_property("cases", n)``.
    """
    if "EXPUNGE_EXAMPLES" not in os.environ:
        return
    counts = {
        report.nodeid: int(str(dict(report.user_properties).get("cases", 1)))
        for report in terminalreporter.stats.get("passed", ())
        if report.when == "call"
    }
    terminalreporter.section("cases")
    for test, cases in sorted(counts.items()):
        terminalreporter.write_line(f"{cases:>8,}  {test}")
    terminalreporter.write_line(f"{sum(counts.values()):>8,}  cases ran in {len(counts)} tests")


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """An empty PostgreSQL database of the test's own.

    Where no server answers, the test is skipped; with CI set, it fails.
    """
    import psycopg

    server = os.environ.get(
        "EXPUNGE_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres"
    )
    try:
        connection = psycopg.connect(server, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError:
        if CI:
            raise
        pytest.skip("no PostgreSQL answers; name one in EXPUNGE_TEST_POSTGRES")
    name = f"expunge_{uuid4().hex}"
    with connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield f"{server.rpartition('/')[0]}/{name}"
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@contextmanager
def _locked(name: str, how: int) -> Iterator[None]:
    with (Path(tempfile.gettempdir()) / f"expunge-test-{name}.lock").open("w") as file:
        fcntl.flock(file, how)
        yield


@pytest.fixture
def broker_url() -> Iterator[str]:
    """A RabbitMQ server, for this test and others. Name queues of your own, and delete them.

    Where no server answers, the test is skipped; with CI set, it fails.
    """
    with ExitStack() as shared:
        # Whoever wants the server alone holds the door, and waits for the room to be empty.
        with _locked("broker-door", fcntl.LOCK_EX):
            shared.enter_context(_locked("broker-room", fcntl.LOCK_SH))
        yield _answering_broker()


@pytest.fixture
def broker_alone() -> Iterator[str]:
    """A RabbitMQ server that this test may stop and start: no other test uses it meanwhile."""
    with _locked("broker-door", fcntl.LOCK_EX), _locked("broker-room", fcntl.LOCK_EX):
        url = _answering_broker()
        if shutil.which("rabbitmqctl") is None or "@127.0.0.1:" not in url:
            pytest.skip("the RabbitMQ server is not on this machine")
        yield url


def _answering_broker() -> str:
    import pika
    from pika.exceptions import AMQPError

    url = os.environ.get("EXPUNGE_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672/%2F")
    try:
        pika.BlockingConnection(pika.URLParameters(url)).close()
    except (AMQPError, OSError):
        if CI:
            raise
        pytest.skip("no RabbitMQ answers; name one in EXPUNGE_TEST_RABBITMQ")
    return url
