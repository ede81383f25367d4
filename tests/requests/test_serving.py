"""No response that began after ``forget`` returned comes from a checkpoint that saw the sample.

Two threads and a second process predict in tight loops while requests, rebuilds, appends and a
first training run. Each answer says its version; versions are lists of names; what a name saw
is noted from the plans of every moment.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import sqlalchemy as sa

from expunge.home import Home
from expunge.testing.fakes import Tiny, people
from expunge.training import plan as plans
from expunge.training import sql, versions
from expunge.training.recipe import Sharded

SCRIPT = Path(__file__).with_name("predicting.py")
Row = tuple[int, int, int]


def _script() -> Any:
    found = importlib.util.spec_from_file_location("predicting", SCRIPT)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@dataclass
class Watch:
    """What was answered, and what the names of all plans have seen.

    Attributes:
        answers: (who, nanoseconds at which it began, version).
        saw: Rows that the checkpoint of a name has seen.
        forgotten: (nanoseconds after which it must hold, rows).
    """

    home: Home
    answers: list[tuple[str, int, str]] = field(default_factory=list)
    saw: dict[str, frozenset[Row]] = field(default_factory=dict)
    forgotten: list[tuple[int, frozenset[Row]]] = field(default_factory=list)

    def note_plans(self) -> None:
        """Note what the names that can be built from now on will have seen."""
        with self.home.site.database.reading() as transaction:
            for model in self.home.site.all_models(transaction):
                ground = self.home.site.ground(transaction, model.dataset)
                for shard in versions.all_shards(model):
                    rows: frozenset[Row] = frozenset()
                    for part in plans.make(model.recipe, ground, shard).slices:
                        inside = set(range(part.start, part.stop)) - set(part.drop.tolist())
                        rows |= {(*part.key, ordinal) for ordinal in inside}
                        self.saw[part.name.hex()] = rows

    def forget(self, *samples: str) -> None:
        before = self._gone()
        self.home.forget(samples)
        returned = time.monotonic_ns()
        self.forgotten.append((returned, self._gone() - before))
        self.note_plans()

    def _gone(self) -> frozenset[Row]:
        with self.home.site.database.reading() as transaction:
            ground = self.home.site.ground(transaction, 1)
        return frozenset((*key, int(o)) for key, gone in ground.gone.items() for o in gone)

    def wait_for_answers(self) -> None:
        """Until everybody has begun to answer after now, and ended."""
        now, until = time.monotonic_ns(), time.monotonic() + 60
        while {who for who, began, _ in self.answers[-4000:] if began > now} < {"a", "b", "c"}:
            assert time.monotonic() < until, "somebody does not answer any more"
            time.sleep(0.002)

    def tainted(self) -> list[tuple[str, str]]:
        """(who, version) of answers that saw what had been forgotten before they began."""
        names = self._names()
        found = []
        for who, began, version in self.answers:
            seen = frozenset().union(*(self.saw[name] for name in names[version]))
            gone = [rows for returned, rows in self.forgotten if began > returned]
            if any(seen & rows for rows in gone):
                found.append((who, version))
        return found

    def _names(self) -> dict[str, list[str]]:
        with self.home.site.database.reading() as transaction:
            rows = transaction.execute(sa.select(sql._VERSIONS)).all()
        found: dict[str, list[str]] = {"": []}
        for version in map(sql.version_of, rows):
            found[version.digest] = [c.frame.name.hex() for c in version.constituents if c.frame]
        return found


@contextmanager
def predicting(watch: Watch, other: Home, place: dict[str, Any]) -> Iterator[None]:
    """Two threads, each with a home of its own or the same, and a second process."""
    predict, stop = _script().predict, Event()

    def note_as(who: str) -> Any:
        return lambda began, version: watch.answers.append((who, began, version))

    plain = {name: str(value) for name, value in place.items()}
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), json.dumps(plain)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )

    def listen() -> None:
        for line in process.stdout:
            began, _, version = line.rstrip("\n").partition(" ")
            watch.answers.append(("c", int(began), version))

    threads = [
        Thread(target=predict, args=(watch.home, "m", stop, note_as("a"))),
        Thread(target=predict, args=(other, "m", stop, note_as("b"))),
        Thread(target=listen),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        process.stdin.close()
        for thread in threads:
            thread.join()
        process.stdout.close()
        assert process.wait() == 0


def test_no_answer_is_tainted_while_everything_goes_on(place, opened):
    home, other = opened(**place, background=True), opened(**place)
    home.ingest("people", people(240), id="id", subject="who")
    view = home.dataset("people").view("y")
    watch = Watch(home)
    home.train("m", view, Sharded(Tiny(), shards=3, slices=4))
    watch.note_plans()
    training = Thread(
        target=other.train, args=("first", view, Sharded(Tiny(passes=40), shards=4, slices=4))
    )
    with predicting(watch, other, place):
        watch.wait_for_answers()
        training.start()
        for number in range(0, 40, 4):
            watch.forget(f"s{number}", f"s{number + 120}")
            watch.wait_for_answers()
            if number == 20:
                home.ingest("people", people(60, first=500, seed=2))
                watch.note_plans()
        training.join()
        home.train("m", view, Sharded(Tiny(), shards=3, slices=4))
        watch.forget("s501")
        home.recover()
        watch.wait_for_answers()

    assert watch.tainted() == []
    assert {who for who, *_ in watch.answers} == {"a", "b", "c"}
    assert len({version for *_, version in watch.answers}) > 5
    for model in ("m", "first"):
        assert home.verify(model).exact


def test_the_check_sees_a_tainted_answer(place, opened, monkeypatch):
    """The same watch, with a publication that forgets to withdraw."""
    home, other = opened(**place), opened(**place)
    home.ingest("people", people(60), id="id", subject="who")
    watch = Watch(home)
    home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), shards=3, slices=2))
    watch.note_plans()
    monkeypatch.setattr(versions, "withdraw", lambda *arguments: None)
    with predicting(watch, other, place):
        watch.wait_for_answers()
        watch.forget("s1")
        watch.wait_for_answers()
    assert {who for who, _ in watch.tainted()} == {"a", "b", "c"}
