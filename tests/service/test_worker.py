"""Workers: units are built whoever dies, by one at a time, to the same bytes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from expunge.core.digest import Json
from expunge.core.errors import ClaimLost
from expunge.execution.local import Inline, Report, Workers
from expunge.execution.progress import Silent
from expunge.methods.exact.rebuild import Rebuild
from expunge.requests import claims, life, sql
from expunge.requests.claims import Claim
from expunge.requests.units import State
from expunge.service.worker import WorkerSettings
from expunge.testing.fakes import people
from expunge.training import sql as training_sql

from .conftest import FAST, Office, wait_for  # noqa: TID252 - tests are no package


class Stopped:
    """An executor that waits before it builds, as a worker does that was suspended."""

    def __init__(self) -> None:
        self.begun, self.go_on = Event(), Event()
        self._inside = Inline()

    def run(
        self, function: str, arguments: Sequence[dict[str, Json]], report: Report
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        yield from self._inside.run(function, arguments, report)
        self.begun.set()
        assert self.go_on.wait(120)

    def kill(self) -> None:
        self._inside.kill()

    def close(self) -> None:
        self._inside.close()


class Sleeper:
    """An executor whose child process sleeps in place of building, until it is killed."""

    def __init__(self) -> None:
        self.workers = Workers(1)
        self.kills = 0

    def run(
        self, function: str, arguments: Sequence[dict[str, Json]], report: Report
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        return self.workers.run("slow:sleep", [{} for _ in arguments], report)

    def kill(self) -> None:
        self.kills += 1
        self.workers.kill()

    def close(self) -> None:
        self.workers.close()


@pytest.fixture
def sleeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sleeper]:
    (tmp_path / "slow.py").write_text(
        "import time\n\ndef sleep(argument, report):\n    time.sleep(1000)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    executor = Sleeper()
    yield executor
    executor.close()


def test_requests_are_rebuilt_and_destroyed_without_anybody_waiting(office: Office) -> None:
    office.worker().start()
    office.forget(*office.rows(4))
    wait_for(lambda: all(str(r.state) == "done" for r in office.home.requests()))
    assert office.unfinished() == []
    office.check_exact()


def test_a_message_wakes_a_worker_long_before_it_would_look(office: Office) -> None:
    worker = office.worker(settings=WorkerSettings(sweep_s=1000.0))
    worker.start()
    wait_for(lambda: office.queue.depth().consumers == 1)
    office.forget("s0")
    office.queue.publish([unit.id for unit in office.unfinished()])
    wait_for(lambda: not office.unfinished())


def test_a_unit_whose_message_was_lost_is_found(office: Office) -> None:
    office.worker().start()
    office.forget("s0")
    wait_for(lambda: not office.unfinished())


def test_messages_of_units_that_are_done_or_never_were_do_nothing(office: Office) -> None:
    (unit,) = office.want(0)
    worker = office.worker()
    assert worker.step((unit,))
    before = office.rebuilt()
    assert not worker.step((unit, unit, 10_000))
    assert office.rebuilt() == before


def test_appended_rows_are_trained_without_a_request(office: Office) -> None:
    office.home.ingest("people", people(20, first=60, seed=1), id="id", subject="who")
    office.worker().start()

    def is_whole() -> bool:
        with office.site.database.reading() as transaction:
            version = training_sql.current(transaction, office.model().id)
        return version is not None and version.whole and version.batches == 2

    wait_for(is_whole)
    wait_for(lambda: not office.unfinished())
    assert office.home.verify("m").exact


def test_a_worker_that_was_suspended_changes_nothing_when_another_has_its_unit(
    office: Office,
) -> None:
    office.forget("s0")
    (unit,) = office.unfinished()
    late = Stopped()
    # Its heart stood still with it: no beat comes, and it takes the lease for its own.
    worker = office.worker(late, WorkerSettings(lease_s=1000.0, beat_s=1000.0, limit_s=1000.0))
    thread = Thread(target=worker.step)
    thread.start()
    assert late.begun.wait(120)
    office.end_leases()
    assert office.worker().step()
    done, facts = office.unit(unit.id), office.home.facts()
    assert (done.state, done.fence) == (State.DONE, 2)
    late.go_on.set()
    thread.join(120)
    assert office.unit(unit.id) == done
    assert office.home.facts() == facts


def test_publishing_checks_the_fence_in_its_own_transaction(office: Office) -> None:
    office.forget("s0")
    database = office.site.database
    old = claims.claim(database, "old", -1.0)
    assert old is not None
    taken = claims.claim(database, "new", 60.0)
    assert taken is not None
    facts = office.home.facts()
    with pytest.raises(ClaimLost):
        build(office, old)
    assert office.home.facts() == facts
    build(office, taken)
    assert office.unfinished() == []


def build(office: Office, claim: Claim) -> None:
    Rebuild().build(office.site, office.model(), claim.shard, Inline(), Silent(), claim)


def test_a_claimed_unit_is_done_though_newer_requests_came_while_it_was_built(
    office: Office,
) -> None:
    first = office.forget("s0")
    (unit,) = office.unfinished()
    slow = Stopped()
    worker = office.worker(slow)
    thread = Thread(target=worker.step)
    thread.start()
    assert slow.begun.wait(120)
    second = office.forget("s1")  # the same person: the same shard
    slow.go_on.set()
    thread.join(120)
    assert office.unit(unit.id).state == State.DONE
    with office.site.database.reading() as transaction:
        rebuilt = [one.id for one in sql.rebuilt(transaction, office.model().dataset)]
    assert rebuilt == first
    assert second != first
    (other,) = office.unfinished()
    assert other.shard == unit.shard
    assert office.worker().step()
    life.tend(office.site)
    office.check_exact()


def test_whoever_makes_a_shard_whole_ends_its_units(office: Office) -> None:
    office.forget(*office.rows(1))
    assert office.unfinished()
    Rebuild().run(office.site, office.model(), Inline(), Silent())
    assert office.unfinished() == []


def test_a_killed_child_costs_an_attempt_and_another_ends_its_unit(office: Office) -> None:
    office.forget("s0")
    (unit,) = office.unfinished()
    executor = Workers(1)
    executor.start()
    pid = executor._idle[0]._process.pid
    os.kill(pid, signal.SIGKILL)
    try:
        assert office.worker(executor).step()
        failed = office.unit(unit.id)
        assert (failed.state, failed.error) == (State.OPEN, "worker-failed")
        wait_for(lambda: office.worker(executor).step())
    finally:
        executor.close()
    assert office.unit(unit.id).state == State.DONE


def test_a_child_that_takes_too_long_is_killed(office: Office, sleeper: Sleeper) -> None:
    office.want(0)
    worker = office.worker(sleeper, WorkerSettings(limit_s=0.5))
    assert worker.step()
    (unit,) = office.unfinished()
    assert (unit.state, unit.error) == (State.OPEN, "time-limit")
    assert sleeper.kills


def test_a_child_is_killed_when_the_claim_is_lost(office: Office, sleeper: Sleeper) -> None:
    office.want(0)
    thread = Thread(target=office.worker(sleeper).step)
    thread.start()
    wait_for(lambda: [u.state for u in office.unfinished()] == [State.RUNNING])
    taken = None
    while taken is None:
        office.end_leases()
        taken = claims.claim(office.site.database, "other", 60.0)
    thread.join(120)
    assert not thread.is_alive()
    (unit,) = office.unfinished()
    assert (unit.holder, unit.fence, unit.error) == ("other", taken.fence, None)


def test_stopping_kills_the_child_and_gives_the_unit_back(office: Office, sleeper: Sleeper) -> None:
    office.want(0)
    worker = office.worker(sleeper)
    worker.start()
    wait_for(lambda: [u.state for u in office.unfinished()] == [State.RUNNING])
    worker.stop()
    assert worker.join(120)
    (unit,) = office.unfinished()
    assert (unit.state, unit.attempt, unit.error) == (State.OPEN, 0, None)
    assert office.worker().step()
    assert office.unfinished() == []


def test_a_beating_heart_keeps_a_long_unit(office: Office) -> None:
    (unit,) = office.want(0)
    slow = Stopped()
    thread = Thread(target=office.worker(slow, WorkerSettings(lease_s=60.0, beat_s=0.1)).step)
    thread.start()
    assert slow.begun.wait(120)
    for _ in range(5):
        until = office.unit(unit).until
        wait_for(lambda until=until: office.unit(unit).until > until)
        taken = claims.claim(office.site.database, "other", 60.0, clock=lambda _, at=until: at)
        assert taken is None
    slow.go_on.set()
    thread.join(120)
    assert office.unfinished() == []


def test_a_poison_unit_is_set_aside_with_its_error_and_holds_up_nobody(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.forget("s0")
    (poison,) = office.unfinished()
    (path,) = office.model().folder.glob(f"{poison.shard:05d}.*.pack")
    kept = path.read_bytes()
    path.write_bytes(b"not a pack, but a secret" * 10)
    office.want((poison.shard + 1) % 3, request="other")
    with caplog.at_level(logging.WARNING):
        office.worker().start()
        wait_for(lambda: [u.state for u in office.unfinished()] == [State.ASIDE])
    (unit,) = office.unfinished()
    assert (unit.id, unit.error, unit.attempt) == (poison.id, "format-unsupported", 3)
    assert "secret" not in caplog.text
    path.write_bytes(kept)
    office.want(unit.shard, request="later")
    wait_for(lambda: not office.unfinished())
    wait_for(lambda: all(str(r.state) == "done" for r in office.home.requests()))


def test_a_unit_that_killed_all_who_had_it_is_set_aside(office: Office) -> None:
    office.want(0)
    for n in range(FAST.attempts):
        assert claims.claim(office.site.database, f"dead {n}", -1.0)
    assert office.worker().step()
    (unit,) = office.unfinished()
    assert (unit.state, unit.error) == (State.ASIDE, "worker-lost")


def test_what_others_errors_say_is_kept_nowhere(
    office: Office,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "poison.py").write_text(
        "def run(argument, report):\n    raise ZeroDivisionError('p-1734 is ill')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("expunge.methods.exact.rebuild._RUN", "poison:run")
    for executor in (Inline(), workers := Workers(1)):
        office.want(0)
        with caplog.at_level(logging.INFO):
            assert office.worker(executor, WorkerSettings(attempts=1)).step()
        (unit,) = office.unfinished()
        assert unit.error == "ZeroDivisionError"
    workers.close()
    assert "p-1734" not in caplog.text


def test_a_worker_outlives_a_round_that_fails(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    with office.site.database.transaction() as transaction:
        transaction.exec_driver_sql("ALTER TABLE unit RENAME TO away")
    office.worker().start()
    wait_for(lambda: "round failed" in caplog.text)
    with office.site.database.transaction() as transaction:
        transaction.exec_driver_sql("ALTER TABLE away RENAME TO unit")
    office.forget("s0")
    wait_for(lambda: not office.unfinished())


WORKER = """
import sys, time
from expunge import open as open_
from expunge.execution.local import Workers
from expunge.service.inprocess import InProcessQueue
from expunge.service.worker import Worker, WorkerSettings

class Slow(Workers):
    def run(self, *call):
        time.sleep(0.3)
        yield from super().run(*call)
        time.sleep(float(sys.argv[3]))

if __name__ == "__main__":
    home = open_(sys.argv[1], files=sys.argv[2] or None, background=False)
    settings = WorkerSettings(lease_s=60.0, beat_s=0.2, sweep_s=0.2)
    Worker(home.site, Slow(1), InProcessQueue(), settings).run_forever()
"""


def test_workers_that_are_killed_any_time_leave_the_same_bytes(
    office: Office, place: dict[str, Any], tmp_path: Path
) -> None:
    script = tmp_path / "work.py"
    script.write_text(WORKER)
    command = [sys.executable, str(script), str(place["place"]), str(place.get("files", ""))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    office.forget("s0", "s8", "s20")
    for delay_s in (0.0, 0.25, 0.45):
        process = subprocess.Popen([*command, "1000"], env=environment)  # never publishes
        wait_for(lambda: any(u.until > time.time() for u in office.unfinished()))
        time.sleep(delay_s)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        office.end_leases()
    assert office.unfinished()
    process = subprocess.Popen([*command, "0.3"], env=environment)
    wait_for(lambda: all(str(r.state) == "done" for r in office.home.requests()))
    process.kill()
    process.wait()
    assert office.unfinished() == []
    office.check_exact()
