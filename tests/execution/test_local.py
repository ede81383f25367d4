"""Executors: calls and errors cross the pipe, and nothing outlives who asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

import expunge
from expunge.core.errors import DuplicateSamples, PlanStale, WorkerFailed
from expunge.execution.local import Executor, Inline, Workers
from expunge.execution.progress import Silent
from expunge.testing.builder import Lent
from expunge.testing.fakes import Tiny, people
from expunge.training import versions
from expunge.training.recipe import Sharded

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    executor = Workers(2)
    yield executor
    executor.close()


@pytest.fixture(params=["inline", "workers"])
def executor(request: pytest.FixtureRequest, workers: Workers) -> Executor:
    return Inline() if request.param == "inline" else workers


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for(what, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_results_and_reports_come_with_their_index(executor: Executor) -> None:
    reports = []
    arguments = [{"number": n} for n in range(7)]
    found = dict(executor.run("calls:double", arguments, lambda *what: reports.append(what)))
    assert {index: result["number"] for index, result in found.items()} == {
        n: 2 * n for n in range(7)
    }
    assert sorted((index, body["seen"]) for index, body in reports) == [(n, n) for n in range(7)]


def test_nothing_to_do_is_done(executor: Executor) -> None:
    assert list(executor.run("calls:double", [], lambda *_: None)) == []


def test_workers_are_other_processes_and_stay_warm(workers: Workers) -> None:
    pids = set()
    for _ in range(3):
        found = workers.run("calls:double", [{"number": 1}] * 2, lambda *_: None)
        pids |= {result["pid"] for _, result in found}
    assert os.getpid() not in pids
    assert len(pids) <= 2


def test_a_worker_has_one_thread_and_what_it_was_given() -> None:
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ATEN_CPU_CAPABILITY"]
    executor = Workers(1, environment={"ATEN_CPU_CAPABILITY": "default"})
    try:
        ((_, found),) = executor.run("calls:environment", [{"names": names}], lambda *_: None)
    finally:
        executor.close()
    assert list(found.values()) == ["1", "1", "default"]


def test_our_errors_cross_as_themselves_with_their_attributes(executor: Executor) -> None:
    with pytest.raises(DuplicateSamples, match="rows 3, 5") as caught:
        list(executor.run("calls:duplicate", [{}], lambda *_: None))
    assert caught.value.rows == [3, 5]
    assert caught.value.in_dataset is True
    assert caught.value.code == "duplicate-samples"
    with pytest.raises(PlanStale):
        list(executor.run("calls:stale", [{}], lambda *_: None))


def test_foreign_errors_say_what_they_were(workers: Workers) -> None:
    with pytest.raises(WorkerFailed, match=r"ZeroDivisionError in calls\.py"):
        list(workers.run("calls:foreign", [{}], lambda *_: None))


def test_a_worker_that_dies_is_told_and_replaced() -> None:
    executor = Workers(2)
    try:
        with pytest.raises(WorkerFailed, match="exit code -9"):
            list(executor.run("calls:die", [{"die": True}], lambda *_: None))
        arguments = [{"die": False}] * 3
        assert len(list(executor.run("calls:die", arguments, lambda *_: None))) == 3
    finally:
        executor.close()


def test_what_runs_beside_a_failure_is_finished_and_given() -> None:
    executor, found = Workers(2), []
    calls = executor.run("calls:die", [{"die": n == 1} for n in range(2)], lambda *_: None)
    try:
        with pytest.raises(WorkerFailed):
            found.extend(calls)
    finally:
        executor.close()
    assert found == [(0, {})]


def test_an_abandoned_call_is_killed(tmp_path: Path) -> None:
    executor = Workers(1)

    def give_up(index: int, body: object) -> None:
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            list(executor.run("calls:tick", [{"path": str(tmp_path / "pid")}], give_up))
    finally:
        executor.close()
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_closing_kills_what_runs_in_another_thread(tmp_path: Path) -> None:
    executor, path = Workers(1), tmp_path / "pid"
    told: list[WorkerFailed] = []

    def ask() -> None:
        with pytest.raises(WorkerFailed) as caught:
            list(executor.run("calls:tick", [{"path": str(path)}] * 2, lambda *_: None))
        told.append(caught.value)

    asking = Thread(target=ask)
    asking.start()
    wait_for(lambda: path.exists() and path.read_text())
    executor.close()
    assert not is_alive(int(path.read_text()))
    asking.join(120)
    assert len(told) == 1


def test_what_was_closed_starts_no_process() -> None:
    executor = Workers(1)
    executor.close()
    with pytest.raises(WorkerFailed, match="closed"):
        list(executor.run("calls:double", [{"number": 1}], lambda *_: None))
    with pytest.raises(WorkerFailed, match="closed"):
        executor.start()


ASKS = """
import sys; sys.path.insert(0, {folder!r})
from expunge.execution.local import Workers
if __name__ == "__main__":
    list(Workers(1).run("calls:tick", [{{"path": {path!r}}}], lambda *_: None))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_workers_end_with_who_asked(tmp_path: Path, how: signal.Signals) -> None:
    path = tmp_path / "pid"
    script = tmp_path / "asks.py"
    script.write_text(ASKS.format(folder=str(Path(__file__).parent), path=str(path)))
    asker = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    wait_for(lambda: path.exists() and path.read_text())
    worker = int(path.read_text())
    assert is_alive(worker)
    asker.send_signal(how)
    asker.wait(timeout=120)
    assert asker.returncode != 0
    wait_for(lambda: not is_alive(worker))


def test_inline_and_workers_build_the_same(tmp_path: Path, workers: Workers) -> None:
    place = tmp_path / "home"
    options = {"background": False, "progress": Silent()}
    with expunge.open(place, executor=Inline(), **options) as home:
        home.ingest("people", people(60), id="id", subject="who")
        view = home.dataset("people").view("y")
        home.train("m", view, Sharded(Tiny(), shards=3, slices=2))
        with home.site.database.reading() as transaction:
            model = home.site.model(transaction, "m")
        here = {path.name: path.read_bytes() for path in model.folder.glob("*.pack")}
        for path in model.folder.glob("*.pack"):
            path.unlink()
    shards = range(3)
    with expunge.open(place, executor=Lent(workers), **options) as home:
        with home.site.database.transaction() as transaction:
            ground = home.site.locked_ground(transaction, model.dataset)
            versions.publish(transaction, model, ground, shards)
        home.recover()
        there = {path.name: path.read_bytes() for path in model.folder.glob("*.pack")}
    assert len(here) == 3
    assert here == there


def test_what_runs_can_be_killed_and_later_calls_work(tmp_path: Path) -> None:
    executor, failures = Workers(1), []

    def call() -> None:
        try:
            list(executor.run("calls:tick", [{"path": str(tmp_path / "pid")}], lambda *_: None))
        except WorkerFailed as error:
            failures.append(error)

    try:
        executor.kill()  # nothing runs
        thread = Thread(target=call)
        thread.start()
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        executor.kill()
        thread.join(120)
        assert len(failures) == 1
        assert not is_alive(int((tmp_path / "pid").read_text()))
        ((_, found),) = executor.run("calls:double", [{"number": 4}], lambda *_: None)
        assert found["number"] == 8
    finally:
        executor.close()
