"""Workers, parents and people with Ctrl-C end a training at any time; going on gives the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from expunge import learners
from expunge.core.errors import WorkerFailed
from expunge.data import appending
from expunge.execution.local import Workers
from expunge.execution.progress import Silent
from expunge.testing import state
from expunge.testing.fakes import Tiny, people
from expunge.training.recipe import Sharded

SCRIPT = Path(__file__).with_name("training.py")
SLOW = Tiny(passes=4000)
PROFILE = {"ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Nehalem"}


@pytest.fixture
def untrained(tmp_path: Path, opened: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with rows and no model, to be copied."""
    with monkeypatch.context() as patch:
        patch.setattr(appending.secrets, "token_bytes", lambda count: bytes([3]) * count)
        home = opened(tmp_path / "home")
        home.ingest("people", people(60), id="id", subject="who")
    home.close()  # copying an open database would let go of its locks
    return tmp_path / "home"


def copied(untrained: Path, name: str) -> Path:
    return shutil.copytree(untrained, untrained.with_name(name))


def train(home, learner=SLOW):
    recipe = Sharded(learner, shards=2, slices=4)
    return home.train("m", home.dataset("people").view("y"), recipe)


def chains(home):
    model = home.model("m")
    return state.read(model._row, model.version)


def frames(folder: Path) -> int:
    return sum(path.stat().st_size > 8 for path in folder.glob("models/*/*.pack"))


@contextmanager
def training(home: Path, environment: dict[str, str] | None = None, **options: Any) -> Iterator:
    wanted = {"home": str(home), "workers": 2, "after": 2, "die": False}
    wanted |= {"learner": learners.to_json(SLOW)} | options
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), json.dumps(wanted)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | (environment or {}),
    )
    with process:
        yield process


def workers() -> set[psutil.Process]:
    """Those of this process, whoever started them."""
    children = psutil.Process().children()
    return {one for one in children if "expunge.execution.worker" in one.cmdline()}


class Killing(Silent):
    """Kills one of the workers that are yet to be started, after some slices."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.others = workers()  # kept warm by earlier tests

    def advance(self, _index: int, slices: int, _samples: int) -> None:
        self.left -= slices
        if self.left == 0:
            (workers() - self.others).pop().kill()


def test_a_worker_that_is_killed_is_told_and_going_on_gives_the_same(untrained, opened):
    whole = opened(copied(untrained, "whole"))
    train(whole)
    home = opened(untrained, executor=Workers(2), progress=Killing(2))
    with pytest.raises(WorkerFailed, match="Run the command again"):
        train(home)
    assert frames(untrained) > 0
    train(home)
    assert chains(home) == chains(whole)


def gone(pids: list[int]) -> bool:
    until = time.monotonic() + 120
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(psutil.pid_exists, pids))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_training_that_is_ended_leaves_no_worker_and_goes_on(untrained, opened, how):
    whole = opened(copied(untrained, "whole"))
    train(whole)
    with training(untrained) as process:
        workers = json.loads(process.stdout.readline())
        process.send_signal(how)
        _, errors = process.communicate()
    assert process.returncode != 0
    assert ("KeyboardInterrupt" in errors) == (how is signal.SIGINT)
    assert len(workers) == 2
    home = opened(untrained)
    assert home.model("m").version is None, "the training had ended before"
    train(home)  # waits for a worker that still writes
    assert chains(home) == chains(whole)
    assert gone(workers)


def test_a_model_half_built_under_another_instruction_profile(untrained, opened):
    pytest.importorskip("torch")
    from expunge.learners.torch import Torch

    learner = Torch(module="mlp", epochs=4, batch=16)
    told = learners.to_json(learner)
    fresh = copied(untrained, "fresh")
    with training(untrained, PROFILE, learner=told, workers=0, after=6, die=True) as process:
        assert process.wait() == -signal.SIGKILL, process.stderr.read()
    (first,) = {path.name.split(".")[1] for path in untrained.glob("models/*/*.pack")}
    assert frames(untrained) == 2  # one shard whole, the other half built
    for folder in (untrained, fresh):
        with training(folder, learner=told, workers=0, after=0) as process:
            assert process.wait() == 0, process.stderr.read()

    homes = [opened(untrained), opened(fresh)]
    for home in homes:
        assert home.model("m").version.whole
    found, expected = map(chains, homes)
    assert first not in {runtime for chain in found for runtime in chain.runtimes}
    state.compare(found, expected)
    assert homes[0].verify("m").exact
