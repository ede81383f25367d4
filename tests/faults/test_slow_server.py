"""Two servers and a slow third, which stands still for longer than its lease.

A prediction that begins after ``forget`` was answered comes from a version at or past the one
that ``forget`` published: from nobody, the third included, does one come from what they kept.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import psutil
import sqlalchemy as sa

from expunge.home import Home
from expunge.testing.fakes import Tiny, people
from expunge.training import leases, sql
from expunge.training.recipe import Sharded

SCRIPT = Path(__file__).with_name("serving.py")


@dataclass
class Server:
    """A process that serves, and what it answered: (nanoseconds when it began, version)."""

    process: subprocess.Popen[str]
    answers: list[tuple[int, str]] = field(default_factory=list)

    def listen(self) -> None:
        for line in self.process.stdout:
            began, _, version = line.rstrip("\n").partition(" ")
            self.answers.append((int(began), version))

    def wait_for_answer(self) -> str:
        """The version of an answer that began after now."""
        now, until = time.monotonic_ns(), time.monotonic() + 120
        while not self.answers or self.answers[-1][0] < now:
            assert time.monotonic() < until, "it does not answer"
            assert self.process.poll() is None
            time.sleep(0.002)
        return self.answers[-1][1]

    def stood_still(self) -> int:
        """A moment at which it is stopped, in nanoseconds."""
        until = time.monotonic() + 120
        while psutil.Process(self.process.pid).status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < until
        return time.monotonic_ns()

    def signal(self, which: signal.Signals) -> None:
        os.kill(self.process.pid, which)


@contextmanager
def serving(place: dict[str, object], count: int) -> Iterator[list[Server]]:
    plain = json.dumps({name: str(value) for name, value in place.items()})
    command = [sys.executable, str(SCRIPT), plain]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    servers = [Server(subprocess.Popen(command, env=environment, **pipes)) for _ in range(count)]
    listening = [Thread(target=server.listen) for server in servers]
    for thread in listening:
        thread.start()
    try:
        yield servers
    finally:
        for server in servers:
            server.signal(signal.SIGCONT)
            server.process.stdin.close()
        ended = []
        for thread, server in zip(listening, servers, strict=True):
            thread.join()
            server.process.stdout.close()
            ended.append(server.process.wait())
        assert ended == [0] * count


@dataclass
class Watch:
    """What was forgotten: (nanoseconds when it was answered, number of the version then)."""

    home: Home
    forgotten: list[tuple[int, int]] = field(default_factory=list)

    def forget(self, sample: str) -> None:
        (change,) = self.home.forget([sample]).changes
        self.forgotten.append((time.monotonic_ns(), change.after.number))

    def late(self, server: Server) -> list[tuple[int, str]]:
        """Answers that began after a request was answered, from a version before it."""
        with self.home.site.database.reading() as transaction:
            t = sql._VERSIONS.c
            # One digest may be published again, without the samples then as well: the last counts.
            found = transaction.execute(sa.select(t.digest, t.number).order_by(t.number))
            numbers = {row.digest: row.number for row in found}
        return [
            (began, version)
            for began, version in server.answers
            if version
            and any(began > when and numbers[version] < least for when, least in self.forgotten)
        ]

    def wait_for_leases(self, number: int, count: int) -> None:
        """Until so many serve a version from what they keep, and nobody another one."""
        until, found = time.monotonic() + 120, []
        while found != [number] * count:
            assert time.monotonic() < until
            time.sleep(0.002)
            with self.home.site.database.reading() as transaction:
                found = [row.number for row in leases.read(transaction)]


def test_no_answer_is_late_when_a_third_server_misses_its_lease(place, opened):
    home = opened(**place)
    home.ingest("people", people(120), id="id", subject="who")
    home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), shards=4, slices=3))
    watch = Watch(home)
    with serving(place, 3) as servers:
        *_, slow = servers
        for round_ in range(3):
            home.recover()
            whole = home.model("m").version
            for server in servers:
                server.wait_for_answer()
            watch.wait_for_leases(whole.number, 3)
            assert [server.wait_for_answer() for server in servers] == [whole.digest] * 3
            slow.signal(signal.SIGSTOP)
            stood = slow.stood_still()
            watch.forget(f"s{40 * round_}")
            for server in servers[:2]:
                assert server.wait_for_answer() != whole.digest
            assert all(began < stood for began, _ in [*slow.answers])
            watch.forget(f"s{40 * round_ + 20}")  # its lease is over: nobody waits for it again
            slow.signal(signal.SIGCONT)
            assert slow.wait_for_answer() != whole.digest
            watch.forget(f"s{40 * round_ + 10}")

    for server in servers:
        assert watch.late(server) == []
        assert len({version for _, version in server.answers}) > 5
