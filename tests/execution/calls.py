"""What worker processes are asked to do in tests; they import it by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from expunge.core.errors import DuplicateSamples, PlanStale

Report = Callable[[dict[str, Any]], None]


def double(argument: dict[str, Any], report: Report) -> dict[str, Any]:
    report({"seen": argument["number"]})
    sys.stdout.write("models print things\n")
    return {"number": 2 * argument["number"], "pid": os.getpid()}


def die(argument: dict[str, Any], report: Report) -> dict[str, Any]:
    if argument["die"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def duplicate(argument: dict[str, Any], report: Report) -> dict[str, Any]:
    raise DuplicateSamples([5, 3], in_dataset=True)


def stale(argument: dict[str, Any], report: Report) -> dict[str, Any]:
    raise PlanStale


def foreign(argument: dict[str, Any], report: Report) -> dict[str, Any]:
    raise ZeroDivisionError("by nothing")


def tick(argument: dict[str, Any], report: Report) -> dict[str, Any]:
    """Write to a file, again and again."""
    path = Path(argument["path"])
    path.write_text(str(os.getpid()))
    for beat in range(20_000):
        report({"beat": beat})
        time.sleep(0.01)
    return {}


def environment(argument: dict[str, Any], report: Report) -> dict[str, Any]:
    return {name: os.environ.get(name) for name in argument["names"]}
