"""What all tests share: hypothesis profiles, the count of proof cases, an empty PostgreSQL."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """In a proving run, say how many cases each test ran.

    A test without hypothesis says so itself: ``record_property("cases", n)``.
    """
    if "EXPUNGE_EXAMPLES" not in os.environ:
        return
    counts = {
        report.nodeid: _cases(report)
        for report in terminalreporter.stats.get("passed", ())
        if report.when == "call"
    }
    terminalreporter.section("cases")
    for test, cases in sorted(counts.items()):
        terminalreporter.write_line(f"{cases:>8,}  {test}")
    terminalreporter.write_line(f"{sum(counts.values()):>8,}  cases ran in {len(counts)} tests")


def _cases(report: pytest.TestReport) -> int:
    for name, value in report.user_properties:
        if name == "cases":
            return int(str(value))
    # Where hypothesis' plugin leaves what --hypothesis-show-statistics prints.
    statistics = str(report.__dict__.get("_hypothesis_stats", ""))
    found = re.findall(r"(\d+) passing examples", statistics)
    return sum(map(int, found)) if found else 1


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
