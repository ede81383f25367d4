"""A home that is opened goes on where it was left; closing one ends what goes on in it."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread

import psutil
import pytest
import sqlalchemy as sa

from expunge.core.errors import DataCorrupt, WorkerFailed
from expunge.execution.local import Workers
from expunge.home import background as backgrounds
from expunge.home.background import Background
from expunge.requests import destroy
from expunge.testing.fakes import Tiny, people
from expunge.training.recipe import Sharded

RECIPE = Sharded(Tiny(), shards=2, slices=2)
TICKING_S = 200.0

sys.path.insert(0, str(Path(__file__).parents[1] / "execution"))  # workers import `calls`


class Ticking:
    """Runs no unit: what each worker does instead takes 200 s."""

    def __init__(self, path: Path) -> None:
        self.workers, self.path = Workers(1), path

    def run(self, function, arguments, report):
        ticks = [{"path": str(self.path)}] * len(arguments)
        return self.workers.run("calls:tick", ticks, lambda *_: None)

    def close(self) -> None:
        self.workers.close()

    def pid(self) -> int:
        wait_for(lambda: self.path.exists() and self.path.read_text())
        return int(self.path.read_text())


def wait_for(what: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def states(home):
    return [str(request.state) for request in home.requests()]


@pytest.fixture
def left(tmp_path, opened):
    """A home, closed, in which a request waits for the rebuild."""
    with opened(tmp_path / "home") as home:
        home.ingest("people", people(60), id="id", subject="who")
        home.train("m", home.dataset("people").view("y"), RECIPE)
        home.forget(["s1"])
    return tmp_path / "home"


def test_opening_resumes_a_request(left, opened):
    home = opened(left, background=True)
    wait_for(lambda: states(home) == ["done"])
    assert home.model("m").version.whole


def test_opening_resumes_a_destruction(left, opened, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(destroy, "destroy", lambda *_: 0)
        with opened(left) as home:
            home.recover()
            assert home.model("m").version.whole
    home = opened(left, background=True)
    wait_for(lambda: states(home) == ["done"])


def test_opening_resumes_a_model_that_is_behind(left, opened):
    with opened(left) as home:
        home.recover()
        home.ingest("people", people(30, first=60))
    home = opened(left, background=True)
    wait_for(lambda: home.model("m").version.batches == 2)


def test_opening_without_background_or_without_need_does_nothing(left, opened):
    with opened(left) as home:
        assert (home._rebuilding, home._writing) == (None, None)
        assert states(home) == ["forgotten"]
        home.recover()
    assert opened(left, background=True)._rebuilding._thread is None


def test_a_damaged_home_opens_and_the_log_tells(left, opened, caplog):
    with opened(left) as home:
        home.recover()
        (meta,) = home.site.data.glob("*/*/meta.json")
    meta.unlink()
    with opened(left, background=True) as home:
        assert home.models() == ["m"]
        wait_for(lambda: caplog.messages)
    assert "FileNotFoundError" in caplog.text
    assert str(left) not in caplog.text


def test_closing_ends_a_rebuild_silently_and_opening_resumes_it(left, opened, tmp_path, caplog):
    executor = Ticking(tmp_path / "pid")
    home = opened(left, background=True, executor=executor)
    pid = executor.pid()
    started = time.monotonic()
    home.close()
    assert time.monotonic() - started < TICKING_S / 2
    assert not psutil.pid_exists(pid)
    assert not home._rebuilding._thread.is_alive()
    assert not home._writing._thread.is_alive()
    assert caplog.messages == []
    again = opened(left, background=True)
    wait_for(lambda: states(again) == ["done"])
    assert again.verify("m").exact


def test_who_waits_for_a_request_is_told_that_the_home_was_closed(left, opened, tmp_path):
    executor = Ticking(tmp_path / "pid")
    home = opened(left, executor=executor)
    told: list[BaseException] = []

    def wait() -> None:
        with pytest.raises(WorkerFailed) as caught:
            home.recover()
        told.append(caught.value)

    waiting = Thread(target=wait)
    waiting.start()
    executor.pid()
    home.close()
    waiting.join(TICKING_S / 2)
    assert [type(one) for one in told] == [WorkerFailed]


class Slow(Thread):
    """Takes long to be made, so that whoever does not wait for it makes another."""

    made = 0

    def __init__(self, **options) -> None:
        time.sleep(0.05)
        Slow.made += 1
        super().__init__(**options)


def test_several_that_wake_at_once_start_one_thread(monkeypatch):
    monkeypatch.setattr(backgrounds, "Thread", Slow)
    monkeypatch.setattr(Slow, "made", 0)
    barrier, background = Barrier(8), Background(lambda: None, "failed")

    def wake() -> None:
        barrier.wait()
        background.wake()

    waking = [Thread(target=wake) for _ in range(8)]
    for thread in waking:
        thread.start()
    for thread in waking:
        thread.join()
    background.stop()
    background.join()
    assert Slow.made == 1


def test_nothing_wakes_what_was_stopped():
    background = Background(lambda: None, "failed")
    background.stop()
    background.wake()
    assert background._thread is None


FOREIGN = sa.exc.IntegrityError(
    "INSERT …", {"name": "ada@example.org"}, Exception("Key (name)=(ada@example.org) exists.")
)


@pytest.mark.parametrize(
    ("error", "told"), [(FOREIGN, "IntegrityError"), (DataCorrupt("A pack"), "A pack does not")]
)
def test_the_log_tells_our_own_words_and_nobody_elses(caplog, error, told):
    def fail() -> None:
        raise error

    background = Background(fail, "failed")
    background.wake()
    wait_for(lambda: caplog.messages)
    background.stop()
    background.join()
    assert told in caplog.text
    assert "ada" not in caplog.text
    assert "INSERT" not in caplog.text


@pytest.mark.parametrize("closing", [False, True])
def test_a_failure_of_a_worker_is_told_unless_closing_did_it(caplog, closing):
    def fail() -> None:
        if closing:
            background.stop()
        raise WorkerFailed("exit code -9")

    background = Background(fail, "failed")
    background.wake()
    wait_for(lambda: closing or caplog.messages)
    background.stop()
    background.join()
    assert bool(caplog.messages) is not closing


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("is_there", [False, True])
def test_nobody_else_can_read_a_home(tmp_path, opened, umask, is_there):
    place = tmp_path / "home"
    if is_there:
        place.mkdir(mode=0o755)
    home = opened(place)
    home.ingest("people", people(60), id="id", subject="who")
    home.train("m", home.dataset("people").view("y"), RECIPE)
    home.ledger.sync(wait=True)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()}
    folders = ("data", "models", "journal", "keys", "ledger", "certificates")
    assert {name: modes.pop(name) for name in folders} == dict.fromkeys(folders, 0o700)
    assert {"expunge.sqlite", "expunge.sqlite-wal", "expunge.sqlite-shm"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(place.stat().st_mode) == (0o755 if is_there else 0o700)
