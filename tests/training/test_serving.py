"""Leases on versions: what is served under them, and how long a request waits for them."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from threading import Event, Thread

import pytest
import sqlalchemy as sa

from expunge.core.errors import ModelWithdrawn, UnknownName
from expunge.home import Home
from expunge.testing.fakes import Tiny, people
from expunge.training import leases, serving, sql
from expunge.training.recipe import Sharded
from expunge.training.serving import Serving

ROWS = people(3, seed=9)
NEVER = 3600.0


@dataclass
class Clock:
    """A clock that only goes on when it is told to; `at` runs something when it is read."""

    now: float = 1000.0
    reads: int = 0
    at: dict = field(default_factory=dict)

    def __call__(self) -> float:
        self.reads += 1
        self.at.pop(self.reads, lambda: None)()
        return self.now


@pytest.fixture
def homes(place, opened) -> tuple[Home, Home]:
    """One place, opened twice: as by two processes. It has a model of four shards, ``m``."""
    home = opened(**place)
    home.ingest("people", people(60), id="id", subject="who")
    home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), shards=4, slices=2))
    return home, opened(**place)


@pytest.fixture
def served():
    """Makes servings whose thread does nothing for an hour, unless told; closes them."""
    made = []

    def serve(home: Home, **options) -> Serving:
        made.append(Serving(home.site, **({"poll_s": NEVER} | options)))
        return made[-1]

    yield serve
    for one in made:
        one.close()


def rows(home: Home) -> list[leases.Row]:
    with home.site.database.reading() as transaction:
        return leases.read(transaction)


def number(home: Home) -> int:
    return home.model("m").version.number


def digest(home: Home) -> str:
    return home.model("m").version.digest


def ask(serving: Serving) -> str:
    """The version that answers, its lease renewed if that is due."""
    serving.poll()
    return serving.answer("m", ROWS).version


class Statements:
    """Counts what is sent to a database."""

    def __init__(self, home: Home) -> None:
        self.sent: Counter[str] = Counter()
        engine = home.site.database._engine
        sa.event.listen(engine, "before_cursor_execute", self._hear)

    def _hear(self, _at: object, _cursor: object, statement: str, *_: object) -> None:
        self.sent[statement.split()[0]] += 1


# What is answered -------------------------------------------------------------------------------


def test_under_a_lease_nothing_is_asked_of_the_database(homes, served):
    home, _ = homes
    one = served(home, seconds=NEVER)
    assert one.answer("m", ROWS).version == digest(home)
    assert ask(one) == digest(home)
    statements = Statements(home)
    answers = [one.answer("m", ROWS) for _ in range(5)]
    assert statements.sent == Counter()
    plain = home.model("m").answer(ROWS)
    for answer in answers:
        assert answer.version == plain.version
        assert answer.classes == plain.classes
        assert answer.outputs.tobytes() == plain.outputs.tobytes()


def test_without_a_lease_the_database_is_asked_each_time(homes, served):
    home, other = homes
    one = served(home)
    for sample in ("s1", "s2", "s3"):
        other.forget([sample])
        assert one.answer("m", ROWS).version == digest(other)
    assert rows(home) == []


def test_what_is_not_asked_is_not_renewed_and_costs_no_transaction(homes, served):
    home, _ = homes
    clock = Clock()
    one = served(home, seconds=2.0, clocks=(clock,))
    one.answer("m", ROWS)
    ask(one)
    (first,) = rows(home)
    one.poll()
    clock.now += 10
    one.poll()  # asked since the lease was written: once more
    statements = Statements(home)
    clock.now += 10
    one.poll()
    one.poll()
    assert set(statements.sent) <= {"SELECT", "BEGIN"}
    (last,) = rows(home)
    assert first.until < last.until
    assert (first.model, first.number) == (last.model, last.number)


def test_either_clock_ends_a_lease(homes, served):
    home, other = homes
    for ended in (0, 1):
        home.recover()
        clocks = (Clock(), Clock())
        one = served(home, seconds=2.0, clocks=clocks)
        one.answer("m", ROWS)
        old = ask(one)
        # Behind the waiting that a request does: as if it had waited, and its clock said so.
        with home.site.database.transaction() as transaction:
            leases.give_back(transaction, one.holder)
        clocks[ended].now += 1.9
        assert one.answer("m", ROWS).version == old
        other.forget([f"s{ended + 7}"])
        clocks[ended].now += 0.01
        assert one.answer("m", ROWS).version == digest(other) != old


def test_a_process_that_stood_still_computes_its_answer_anew(homes, served):
    """Its lease was valid when it began; before it ended, it was suspended for an hour."""
    home, other = homes
    clock = Clock()
    one = served(home, seconds=2.0, clocks=(clock,))
    one.answer("m", ROWS)
    old = ask(one)

    def stand_still() -> None:
        with home.site.database.transaction() as transaction:
            leases.clear(transaction, time.time() + NEVER)  # it ran out while nobody renewed it
        other.forget(["s1"])
        clock.now += NEVER

    clock.at[clock.reads + 2] = stand_still  # read once at the beginning, once at the end
    assert one.answer("m", ROWS).version == digest(other) != old


def test_an_answer_on_the_way_is_computed_anew_when_there_is_a_newer_version(homes, served):
    home, _ = homes
    clock = Clock()
    one = served(home, clocks=(clock,))
    one.answer("m", ROWS)
    old = ask(one)
    clock.at[clock.reads + 1] = lambda: home.forget(["s1"])
    # The lease is seen to have ended at the latest at the end.
    assert one.answer("m", ROWS).version == digest(home) != old


def test_a_slow_answer_ends_in_a_stream_of_requests(homes, served):
    home, _ = homes
    clock = Clock()
    one = served(home, clocks=(clock,))
    one.answer("m", ROWS)
    ask(one)
    for read, sample in zip(range(2, 20), count(1), strict=False):
        clock.at[clock.reads + read] = lambda sample=sample: home.forget([f"s{sample}"])
    before = number(home)
    one.answer("m", ROWS)
    assert number(home) < before + 10


def test_errors_are_those_of_the_library(homes, served):
    home, _ = homes
    one = served(home)
    with pytest.raises(UnknownName):
        one.answer("nobody", ROWS)
    one.answer("m", ROWS)
    ask(one)
    home.forget([f"s{n}" for n in range(60)])
    with pytest.raises(ModelWithdrawn):
        one.answer("m", ROWS)
    one.poll()
    assert rows(home) == []


def test_nothing_is_said_of_a_database_but_its_error(homes, served, caplog, monkeypatch):
    home, _ = homes
    tries, due = [], Serving._due

    def always_due(self, numbers):
        for each in self._served.values():
            each.asked = True
            tries.append(each)
        return due(self, numbers)

    monkeypatch.setattr(Serving, "_due", always_due)
    one = served(home, seconds=0.1, poll_s=0.005)
    with home.site.database.transaction() as transaction:
        leases._SERVING.drop(transaction)
    until = time.monotonic() + 60
    while (not caplog.records or len(tries) < 10) and time.monotonic() < until:
        assert one.answer("m", ROWS).version == digest(home)
    one.answer("m", ROWS)
    one.close()
    told = [record.getMessage() for record in caplog.records]
    assert "Leases cannot be renewed" in told[0]
    assert "Leases could not be given back" in told[-1]
    assert len(told) == 2  # not at every try
    assert not any("serving" in one.casefold() for one in told)


# How long a request waits -----------------------------------------------------------------------


def test_where_nobody_serves_waiting_is_one_query(homes):
    home, _ = homes
    statements = Statements(home)
    serving.wait(home.site, {1: 99})
    assert statements.sent["SELECT"] == 1
    assert set(statements.sent) <= {"SELECT", "BEGIN"}


def test_what_this_process_serves_moves_on_at_once(homes, served):
    home, _ = homes
    one = served(home, seconds=NEVER)
    one.answer("m", ROWS)
    old = ask(one)
    statements = Statements(home)
    home.forget(["s1"])
    assert not any("DELETE FROM serving" in sent for sent in statements.sent)
    assert one.answer("m", ROWS).version == digest(home) != old


def forgetting(home: Home, sample: str) -> Thread:
    thread = Thread(target=home.forget, args=([sample],), daemon=True)
    thread.start()
    return thread


def wait_for(what) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until
        time.sleep(0.002)


def test_a_request_waits_until_others_have_moved_on(homes, served):
    home, other = homes
    one = served(other, seconds=NEVER)
    one.answer("m", ROWS)
    old, before = ask(one), number(home)
    thread = forgetting(home, "s1")
    wait_for(lambda: number(home) > before)
    thread.join(0.1)
    assert thread.is_alive()
    assert one.answer("m", ROWS).version == old  # its lease is valid: nobody was answered yet
    one.poll()
    thread.join()
    assert one.answer("m", ROWS).version == digest(home) != old


@pytest.mark.parametrize("set_back_s", [0.0, NEVER], ids=["clock-goes-on", "clock-is-set-back"])
def test_a_request_waits_for_a_killed_holder_until_its_lease_ends(homes, set_back_s):
    """Even where the database's clock was set back an hour meanwhile."""
    home, _ = homes
    with home.site.database.transaction() as transaction:
        until = serving.shared_clock(transaction) + 0.3
        row = leases.Row("k" * 32, 1, number(home), until + set_back_s, 0.3)
        leases.write(transaction, row.holder, [row])
    began = time.monotonic()
    thread = forgetting(home, "s1")
    thread.join(120)
    assert not thread.is_alive()
    assert time.monotonic() - began > 0.3 if set_back_s else time.time() >= until


def test_a_newer_version_or_another_model_is_not_waited_for(homes):
    home, _ = homes
    with home.site.database.transaction() as transaction:
        until = serving.shared_clock(transaction) + NEVER
        leases.write(transaction, "k" * 32, [leases.Row("k" * 32, 1, 5, until, NEVER)])
    serving.wait(home.site, {1: 5, 2: 9})
    serving.wait(home.site, {})


def test_a_closed_holder_is_not_waited_for(homes, served):
    home, other = homes
    one = served(other, seconds=NEVER)
    one.answer("m", ROWS)
    ask(one)
    assert len(rows(home)) == 1
    one.close()
    assert rows(home) == []
    home.forget(["s1"])
    assert one.answer("m", ROWS).version == digest(home)


def test_rows_of_holders_long_gone_are_removed(homes, served):
    home, _ = homes
    with home.site.database.transaction() as transaction:
        leases.write(transaction, "k" * 32, [leases.Row("k" * 32, 1, 1, time.time() - 7200, 2.0)])
    served(home)
    assert rows(home) == []


# A version that stops being current while its lease is written ---------------------------------


class Stepping(Serving):
    """Runs something before the so-many-th of its transactions from now."""

    def step(self, which: int, action) -> None:
        self.poll_steps, self.which, self.action = count(1), which, action

    def _look(self):
        self._begin()
        return super()._look()

    def _write(self, due):
        self._begin()
        super()._write(due)

    def _begin(self) -> None:
        if next(self.poll_steps) == self.which:
            self.action()


@pytest.mark.parametrize("whose", ["another's", "our-own"])
@pytest.mark.parametrize("which", [1, 2, 3])
def test_a_request_between_the_steps_of_a_renewal(homes, served, which, whose):
    """1: before the holder looks, 2: before its row is there, 3: when it is, before it looks again.

    In each case the request finds either no row or one that it waits for, and the holder ends
    with the new version or without a lease.
    """
    home, other = homes
    one = Stepping(other.site, seconds=0.3, poll_s=NEVER)
    one.answer("m", ROWS)
    old = digest(home)
    one.step(which, lambda: (home if whose == "another's" else other).forget(["s1"]))
    one.poll()
    assert one.answer("m", ROWS).version == digest(home) != old
    assert all(row.number == number(home) for row in rows(home))
    assert ask(one) == digest(home)
    one.close()


# Everything at once -----------------------------------------------------------------------------


@dataclass
class Watch:
    """Who answered what, and what was forgotten when.

    Attributes:
        answers: (when it began, version).
        forgotten: (when the request was answered, lowest number of a version from then on).
    """

    answers: list[tuple[float, str]] = field(default_factory=list)
    forgotten: list[tuple[float, int]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    stop: Event = field(default_factory=Event)

    def predict(self, one: Serving) -> None:
        while not self.stop.is_set():
            began = time.monotonic()
            with suppress(ModelWithdrawn):
                self.answers.append((began, one.answer("m", ROWS).version))

    def forget(self, home: Home, samples: range) -> None:
        for sample in samples:
            (change,) = home.forget([f"s{sample}"]).changes
            self.forgotten.append((time.monotonic(), change.after.number))
            if sample % 6 == 0:
                home.recover()

    def thread(self, function, *arguments) -> Thread:
        def run() -> None:
            try:
                function(*arguments)
            except BaseException as error:
                self.failures.append(error)
                raise

        started = Thread(target=run)
        started.start()
        return started

    def late(self, home: Home) -> list[tuple[float, str]]:
        """Answers that began after a request was answered, from a version before it."""
        with home.site.database.reading() as transaction:
            t = sql._VERSIONS.c
            # One digest may be published again, without the samples then as well: the last counts.
            found = transaction.execute(sa.select(t.digest, t.number).order_by(t.number))
            numbers = {row.digest: row.number for row in found}
        return [
            (began, version)
            for began, version in self.answers
            if any(began > when and numbers[version] < least for when, least in self.forgotten)
        ]


def test_no_answer_that_began_after_a_request_is_from_before_it(homes, served):
    """Five threads predict, by servings of two homes, while two forget and rebuild."""
    home, other = homes
    servings = [served(home, seconds=0.5, poll_s=0.005), served(other, seconds=0.5, poll_s=0.005)]
    watch = Watch()
    predicting = [watch.thread(watch.predict, servings[n % 2]) for n in range(5)]
    asking = [
        watch.thread(watch.forget, home, range(0, 30, 2)),
        watch.thread(watch.forget, other, range(30, 60, 3)),
    ]
    for thread in asking:
        thread.join()
    enough = len(watch.answers) + 50
    wait_for(lambda: len(watch.answers) > enough or watch.failures)
    watch.stop.set()
    for thread in predicting:
        thread.join()

    assert watch.failures == []
    assert watch.late(home) == []
    assert len({version for _, version in watch.answers}) > 10
    end = max(when for when, _ in watch.forgotten)
    assert {began > end for began, _ in watch.answers} == {True, False}
