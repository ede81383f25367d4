"""One seeded run: a service under a stream of requests, broken at random, then judged.

    python -m chaos.run [--runs 200] [--first 0]     from tests/

Even seeds run on SQLite alone, with everything in one server process; odd ones on PostgreSQL and
RabbitMQ, with two servers and two workers.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

import httpx
import psycopg

import expunge
from chaos.broker import Broker
from chaos.judge import judge
from chaos.storm import Storm
from chaos.stream import Stream
from chaos.world import Disk, Process, World, free_port
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.service import keys
from expunge.testing.fakes import Tiny, people

POSTGRES = os.environ.get("EXPUNGE_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
ROWS, SHARDS, SLICES = 400, 4, 3
REQUESTS, BLOWS = 24, 4
DONE_S = 120.0
_SETTINGS = {
    "EXPUNGE_LEASE_S": "1.5",
    "EXPUNGE_SERVING_LEASE_S": "1",
    "EXPUNGE_RATE": "100000/second",
    "EXPUNGE_RESERVE_S": "2",  # keys that a killed server held are free again after that
    "OMP_NUM_THREADS": "1",
}


def run(seed: int, broker: Broker | None) -> Counter[str]:
    """One run; how often what was broken. Raises where a promise was not kept."""
    chance = random.Random(seed)
    folder = Path(mkdtemp(prefix=f"expunge-chaos-{seed}-"))
    disk = Disk(folder / "disk")
    with _database(disk, broker) as place:
        files = disk.folder / "home"
        token = _prepare(place, files)
        world = _world(folder, disk, place, files, broker)
        try:
            return _storm(world, place, files, token, chance, seed)
        except BaseException:
            sys.stderr.write(f"seed {seed}\n{world.logs()}\n")
            raise
        finally:
            world.close()


def _storm(
    world: World, place: str, files: Path, token: str, chance: random.Random, seed: int
) -> Counter[str]:
    world.start()
    world.wait_ready()
    samples = [f"s{number}" for number in chance.sample(range(ROWS), 2 * REQUESTS)]
    wanted = [tuple(samples[2 * i : 2 * i + 1 + i % 2]) for i in range(REQUESTS)]
    headers = {"Authorization": f"Bearer {token}"}
    row = {"x0": 0.5, "x1": -1.0, "x2": 0.1, "job": "cook"}
    stream = Stream(lambda: world.addresses, headers, wanted, row, seed)
    storm = Storm(world, seed)
    stream.start()
    try:
        storm.rage(BLOWS, lambda: not stream.sent())
        world.wait_ready()
        _wait(lambda: stream.sent(), "the requests to be accepted", world)
        assert stream.refused == []
        _wait(lambda: _all_done(world, headers, stream), "the requests to be done", world)
    finally:
        stream.stop()
    for process in (*world.servers, *world.workers):
        assert process.end() == 0, f"{process.log.name} ended badly"
    judge(place, files, wanted, stream.accepted, stream.answered)
    storm.counts.update(requests=len(wanted), answers=len(stream.answered), retries=stream.retries)
    return storm.counts


def _all_done(world: World, headers: dict[str, str], stream: Stream) -> bool:
    for one in stream.accepted:
        try:
            answer = httpx.get(
                f"{world.addresses[0]}/requests/{one.request}", headers=headers, timeout=10
            )
        except httpx.HTTPError:
            world.start()
            return False
        if answer.status_code != httpx.codes.OK or answer.json()["state"] != "done":
            return False
    return True


def _wait(over: Callable[[], bool], what: str, world: World) -> None:
    until = time.monotonic() + DONE_S
    while not over():
        assert time.monotonic() < until, f"waited too long for {what}"
        world.start()
        time.sleep(0.2)


@contextmanager
def _database(disk: Disk, broker: Broker | None) -> Iterator[str]:
    """A folder, or an empty database; removed at the end."""
    if broker is None:
        yield str(disk.folder / "home")
        return
    name = f"chaos_{uuid4().hex}"
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield f"{POSTGRES.rpartition('/')[0]}/{name}"
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _prepare(place: str, files: Path) -> str:
    options = {"executor": Inline(), "progress": Silent(), "background": False}
    with expunge.open(place, files=files, **options) as home:
        home.ingest("people", people(ROWS), id="id", subject="who")
        recipe = expunge.Sharded(Tiny(passes=20), shards=SHARDS, slices=SLICES)
        home.train("m", home.dataset("people").view("y"), recipe)
        _, token = keys.create(home.site, "chaos", ["admin", "read", "unlearn:submit"])
    return token


def _world(folder: Path, disk: Disk, place: str, files: Path, broker: Broker | None) -> World:
    environment = os.environ | _SETTINGS | {"EXPUNGE_HOME": place, "EXPUNGE_FILES": str(files)}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path)}
    if broker is not None:
        environment |= {"EXPUNGE_RABBITMQ": broker.url}
    ports = [free_port() for _ in range(1 if broker is None else 2)]
    at = ["--home", place, "--files", str(files)]
    servers = [
        Process(["serve", "--port", str(port), *at], environment, folder / f"server{port}.log")
        for port in ports
    ]
    workers = [
        Process(["worker", *at], environment, folder / f"worker{number}.log")
        for number in range(0 if broker is None else 2)
    ]
    addresses = [f"http://127.0.0.1:{port}" for port in ports]
    return World(folder, disk, place, servers, addresses, workers, broker)


def say(line: str) -> None:
    """Tell a person how it goes."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run many; print what was broken how often, and what failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first run")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    failed: list[int] = []
    broker = Broker(Path(mkdtemp(prefix="expunge-broker-")) / "node")
    broker.start()
    try:
        for seed in range(options.first, options.first + options.runs):
            started = time.monotonic()
            try:
                counts += run(seed, broker if seed % 2 else None)
            except Exception:  # noqa: BLE001 - told below, and counted
                traceback.print_exc()
                failed.append(seed)
            took = time.monotonic() - started
            say(f"seed {seed}: {took:.1f} s, {dict(counts)}")
            if not broker.answers():
                broker.start()
    finally:
        broker.close()
    for kind, count in sorted(counts.items()):
        say(f"{count:>8,}  {kind}")
    say(f"{options.runs} runs, {len(failed)} failed: {failed}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
