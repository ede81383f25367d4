"""The service: durable requests a second, bulk ids, status polls, and what batching saves.

    python benchmarks/service.py [--quick]

One server process, started as an operator would; the load comes from this process, on the same
machine. Every request is on the disk, in the database and in the journal before it is answered.
Requests of one round are of 64 connections, one after the other on each. Rounds before the first
that counts are not measured. Figures are medians over the rounds; beside them stand the smallest
and the largest, and the server's own CPU time, which other work on the machine changes least.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import load
import numpy as np
import psycopg
import report
from load import Load

import expunge
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.home import Home
from expunge.service import keys
from expunge.testing.fakes import Tiny, people

POSTGRES: Final = os.environ.get(
    "EXPUNGE_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres"
)
SHARDS, SLICES = 20, 5
MANY_SHARDS = 100
CONNECTIONS = 64
SEED = 7
_TICK: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sizes:
    """How much is asked.

    Attributes:
        singles: Requests of one round.
        polls: Status polls of one round.
        bulk: Ids of one upload.
        rounds: That are measured.
        rows: Of the model of many shards.
        batched: Requests that are spread over it.
        passes: Of its learner over the samples; what one rebuild costs.
        window_s: How long its units wait for more requests.
    """

    singles: int
    polls: int
    bulk: int
    rounds: int
    rows: int
    batched: int
    passes: int
    window_s: int


QUICK: Final = Sizes(400, 400, 5_000, 2, 20_000, 500, 1, 4)
FULL: Final = Sizes(3_000, 3_000, 100_000, 5, 400_000, 10_000, 4, 60)


@dataclass(frozen=True)
class Place:
    """Where a home is.

    Attributes:
        home: A folder, or the URL of a database.
        files: Folder of its files.
    """

    home: str
    files: Path


def open_(place: Place) -> Home:
    """The home, in this process."""
    return expunge.open(
        place.home, files=place.files, executor=Inline(), progress=Silent(), background=False
    )


@contextmanager
def sqlite() -> Iterator[Place]:
    """A home in a folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield Place(f"{folder}/home", Path(folder) / "home")


@contextmanager
def postgresql() -> Iterator[Place]:
    """A home in a database of its own."""
    name = f"bench_{uuid4().hex}"
    with (
        tempfile.TemporaryDirectory() as folder,
        psycopg.connect(POSTGRES, autocommit=True) as connection,
    ):
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield Place(f"{POSTGRES.rpartition('/')[0]}/{name}", Path(folder) / "home")
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


PLACES: Final[dict[str, Callable[[], AbstractContextManager[Place]]]] = {
    "sqlite": sqlite,
    "postgresql": postgresql,
}


def prepare(place: Place, rows: int, shards: int, slices: int, passes: int = 1) -> str:
    """Train a model of so many rows; a key that may do all."""
    with open_(place) as home:
        home.ingest("people", people(rows), id="id", subject="who")
        recipe = expunge.Sharded(Tiny(passes=passes), shards=shards, slices=slices)
        home.train("model", home.dataset("people").view("y"), recipe)
        _, token = keys.create(home.site, "bench", ["admin", "read", "unlearn:submit"])
    return token


@dataclass(frozen=True)
class Server:
    """One server process.

    Attributes:
        pid: Of the process.
    """

    pid: int
    port: int
    token: str

    def cpu_s(self) -> float:
        """CPU time that it has taken, without the processes that rebuild."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def send(self, requests: Sequence[bytes], wanted: int, connections: int = CONNECTIONS) -> Round:
        """One round: all of these requests, which must all be answered as wanted."""
        before = self.cpu_s()
        started = time.perf_counter()
        found = load.run(self.port, requests, connections, wanted)
        seconds = time.perf_counter() - started
        if found.statuses != {wanted: len(requests)}:
            raise SystemExit(f"answers by status: {found.statuses}; all were to be {wanted}")
        return Round(found, seconds, self.cpu_s() - before, len(requests))


@dataclass(frozen=True)
class Round:
    """What one round took.

    Attributes:
        cpu_s: Of the server.
    """

    load: Load
    seconds: float
    cpu_s: float
    count: int


@contextmanager
def server(place: Place, token: str, **settings: object) -> Iterator[Server]:
    """A server process, until the block ends."""
    plain = {"home": place.home, "files": place.files, "port": 0, "workers": 0}
    plain |= {"rate": "1000000/second"} | settings
    given = {f"EXPUNGE_{key.upper()}": str(value) for key, value in plain.items()}
    with subprocess.Popen(
        [Path(sys.executable).parent / "expunge", "serve", "--json"],
        env=os.environ | given,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Server(process.pid, _port(process), token)
        finally:
            process.terminate()


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if "url" in (said := json.loads(line)):
            return int(said["url"].rpartition(":")[2])
    raise SystemExit("the server ended before it listened")


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """A figure's median, and how far it went."""
    return {name: statistics.median(values), f"{name}_min": min(values), f"{name}_max": max(values)}


def rates(name: str, rounds: Sequence[Round]) -> dict[str, float]:
    """Of rounds of small requests: how many a second, how long each took, and what they cost."""
    return {
        **spread(f"{name}_per_s", [one.count / one.seconds for one in rounds]),
        f"{name}_ms_p50": statistics.median(one.load.p50_ms for one in rounds),
        f"{name}_ms_p99": statistics.median(one.load.p99_ms for one in rounds),
        f"{name}_server_cpu_us": 1e6 * sum(r.cpu_s for r in rounds) / sum(r.count for r in rounds),
    }


def serving(place: Place, sizes: Sizes) -> dict[str, float]:
    """Single requests, status polls, and uploads, of a server without a worker."""
    rounds = sizes.rounds + 1
    single, bulk = rounds * sizes.singles, rounds * sizes.bulk
    token = prepare(place, single + bulk, SHARDS, SLICES)
    order = np.random.default_rng(SEED).permutation(single + bulk).tolist()
    ids = [f"s{number}" for number in order]
    with server(place, token) as running:
        bodies = [f'{{"sample_id":"{one}"}}'.encode() for one in ids[:single]]
        requests = [load.post("/unlearn", token, body) for body in bodies]
        accepted = [
            running.send(requests[at : at + sizes.singles], 202)
            for at in range(0, single, sizes.singles)
        ]
        report.say(f"single: {[f'{one.load.per_s:.0f}' for one in accepted]} a second")
        with open_(place) as home:
            known = [request.id for request in home.requests()][:200]
        polls = [load.get(f"/requests/{known[i % 200]}", token) for i in range(sizes.polls)]
        polled = [running.send(polls, 200) for _ in range(rounds)]
        report.say(f"polls: {[f'{one.load.per_s:.0f}' for one in polled]} a second")
        files = [
            "\n".join(["id", *ids[at : at + sizes.bulk]])
            for at in range(single, len(ids), sizes.bulk)
        ]
        uploads = [load.post("/unlearn/bulk", token, file.encode(), "text/csv") for file in files]
        taken = [running.send([upload], 202, connections=1) for upload in uploads]
        report.say(f"bulk: {[f'{sizes.bulk / one.seconds:,.0f}' for one in taken]} ids a second")
    cpu_s = sum(one.cpu_s for one in taken[1:])
    return {
        **rates("requests", accepted[1:]),
        **rates("status_polls", polled[1:]),
        **spread("bulk_ids_per_s", [sizes.bulk / one.seconds for one in taken[1:]]),
        "bulk_id_server_cpu_us": 1e6 * cpu_s / (sizes.bulk * sizes.rounds),
    }


def batching(place: Place, sizes: Sizes) -> dict[str, float]:
    """Many requests over many shards, how many rebuilds they cost, and one full retraining.

    Both are of the same recipe on the same rows, by as many workers: two.
    """
    token = prepare(place, sizes.rows, MANY_SHARDS, SLICES, sizes.passes)
    order = np.random.default_rng(SEED).permutation(sizes.rows)[: sizes.batched].tolist()
    bodies = [f'{{"sample_id":"s{one}","models":["model"]}}'.encode() for one in order]
    requests = [load.post("/unlearn", token, body) for body in bodies]
    before = _rebuilt(place)
    with server(place, token, workers=2, coalesce_s=sizes.window_s) as running:
        started = time.perf_counter()
        taken = running.send(requests, 202)
        report.say(f"batching: accepted in {taken.seconds:.1f} s")
        finished_s = _finished_s(place, started)
    rebuilds = _rebuilt(place) - before
    retrain_s = _retrain_s(place, sizes)
    return {
        "batched_requests": taken.count,
        "batched_shards": MANY_SHARDS,
        "batched_window_s": sizes.window_s,
        "batched_accepted_s": taken.seconds,
        "batched_rebuilds": rebuilds,
        "batched_finished_s": finished_s,
        "batched_rebuilding_s": finished_s - max(taken.seconds, sizes.window_s),
        "full_retrain_s": retrain_s,
        "batched_finished_to_full_retrain": finished_s / retrain_s,
    }


def _finished_s(place: Place, started: float) -> float:
    with open_(place) as home:
        while any(not request.done for request in home.requests()):
            time.sleep(1.0)
    return time.perf_counter() - started


def _rebuilt(place: Place) -> int:
    with open_(place) as home:
        return sum(fact.kind == "unit.rebuilt" for fact in home.facts())


def _retrain_s(place: Place, sizes: Sizes) -> float:
    """Seconds to train the same model from nothing, by two workers."""
    from expunge.execution.local import Workers

    executor = Workers(2)
    with expunge.open(
        place.home, files=place.files, executor=executor, progress=Silent(), background=False
    ) as home:
        recipe = expunge.Sharded(Tiny(passes=sizes.passes), shards=MANY_SHARDS, slices=SLICES)
        started = time.perf_counter()
        home.train("again", home.dataset("people").view("y"), recipe)
        seconds = time.perf_counter() - started
    executor.close()
    return seconds


def main() -> None:
    """Run all, and publish."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller, to see that it runs")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    figures: dict[str, Any] = {}
    for name, place in PLACES.items():
        report.say(f"{name}:")
        with place() as there:
            figures |= {f"{name}_{key}": value for key, value in serving(there, sizes).items()}
    for name in ("bulk_ids_per_s", "status_polls_per_s"):
        figures[name] = min(figures[f"{place}_{name}"] for place in PLACES)
    with postgresql() as there:
        figures |= batching(there, sizes)
    if options.quick:
        print(json.dumps(figures, indent=2))
    else:
        report.publish("service", figures)


if __name__ == "__main__":
    main()
