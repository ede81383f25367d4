"""Runtimes: what shapes bytes is in the name, and nothing else is."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from expunge.training import runtime

NAME = (
    "import json; from expunge.training import runtime;"
    "d = runtime.describe(('numpy', 'no-such-thing')); print(json.dumps([runtime.name(d), d]))"
)


def told(**environment: str) -> list:
    plain = {name: value for name, value in os.environ.items() if name not in runtime._CHOOSERS}
    done = subprocess.run(
        [sys.executable, "-c", NAME], env=plain | environment, capture_output=True, check=True
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def plain() -> list:
    return told()


def test_another_process_has_the_same_name(plain) -> None:
    assert told(PYTHONHASHSEED="7", LANG="C", HOME="/") == plain


@pytest.mark.parametrize(
    "environment",
    [{"ATEN_CPU_CAPABILITY": "default"}, {"OPENBLAS_CORETYPE": "Nehalem"}],
    ids=["instructions", "core type"],
)
def test_another_instruction_profile_has_another_name(plain, environment) -> None:
    name, description = told(**environment)
    assert name != plain[0]
    assert description["instructions"] == environment


def test_threads_and_libraries_are_in_the_name() -> None:
    names = {
        runtime.name(runtime.describe(libraries, threads))
        for libraries, threads in ((("numpy",), 1), (("numpy",), 2), (("numpy", "scipy"), 1))
    }
    assert len(names) == 3


def test_a_description_names_no_host_and_no_path(plain) -> None:
    text = json.dumps(plain[1])
    assert os.uname().nodename not in text
    assert "/" not in text.replace("/proc", "")


def test_a_library_that_is_not_installed_is_said_to_be_absent(plain) -> None:
    assert plain[1]["libraries"]["no-such-thing"] is None
