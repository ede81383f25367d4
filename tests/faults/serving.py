"""Serves predictions under leases until its standard input ends; writes when each began.

A script for a process of its own: ``serving.py <arguments of expunge.open as JSON>``.
"""

from __future__ import annotations

import json
import sys
import time
from threading import Event, Thread

import expunge
from expunge.core.errors import ModelWithdrawn
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.testing.fakes import people
from expunge.training.serving import Serving


def main() -> None:
    options = {"executor": Inline(), "progress": Silent(), "background": False}
    home = expunge.open(**json.loads(sys.argv[1]), **options)
    serving, rows, stop = Serving(home.site, seconds=1.0), people(3, seed=9), Event()

    def end() -> None:
        sys.stdin.read()
        stop.set()

    Thread(target=end, daemon=True).start()
    while not stop.is_set():
        began = time.monotonic_ns()  # one clock for all processes
        try:
            version = serving.answer("m", rows).version
        except ModelWithdrawn:
            version = ""
        sys.stdout.write(f"{began} {version}\n")
        sys.stdout.flush()
        time.sleep(0.001)
    serving.close()
    home.close()


if __name__ == "__main__":
    main()
