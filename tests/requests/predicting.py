"""Predicts in a tight loop until its standard input ends; writes when each answer began.

A script for a second process of a home: ``predicting.py <arguments of expunge.open as JSON>``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from threading import Event, Thread

import expunge
from expunge.core.errors import ModelWithdrawn
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.home import Home
from expunge.testing.fakes import people


def predict(home: Home, model: str, stop: Event, note: Callable[[int, str], None]) -> None:
    """Note when each answer began, system-wide, and the version that it came from."""
    rows, asked = people(3, seed=9), home.model(model)
    while not stop.is_set():
        began = time.monotonic_ns()
        try:
            version = asked.answer(rows).version
        except ModelWithdrawn:
            version = ""
        note(began, version)


def main() -> None:
    options = {"executor": Inline(), "progress": Silent(), "background": False}
    home = expunge.open(**json.loads(sys.argv[1]), **options)
    stop = Event()

    def end() -> None:
        sys.stdin.read()
        stop.set()

    Thread(target=end, daemon=True).start()

    def note(began: int, version: str) -> None:
        sys.stdout.write(f"{began} {version}\n")
        sys.stdout.flush()

    predict(home, "m", stop, note)
    home.close()


if __name__ == "__main__":
    main()
