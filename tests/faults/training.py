"""Trains model ``m`` of a home; tells and waits, or dies, after some slices.

A script for processes that are killed: ``training.py <arguments as JSON>``, which are ``home``,
``workers`` (0: inline), ``learner`` (as JSON), ``after`` (slices), ``die`` (by SIGKILL).
"""

from __future__ import annotations

import json
import os
import signal
import sys

import psutil

import expunge
from expunge import learners
from expunge.execution.local import Inline, Workers
from expunge.execution.progress import Silent
from expunge.training.recipe import Sharded

SHARDS, SLICES = 2, 4


class Telling(Silent):
    """Says that the n-th slice is done, with the process ids of all workers, and waits; or dies."""

    def __init__(self, after: int, die: bool) -> None:
        self.left, self.die = after, die

    def advance(self, _index: int, slices: int, _samples: int) -> None:
        self.left -= slices
        if slices and self.left == 0:
            sys.stdout.write(
                json.dumps([child.pid for child in psutil.Process().children()]) + "\n"
            )
            sys.stdout.flush()
            if self.die:
                os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()  # publishes nothing, however late the signal comes


def main() -> None:
    wanted = json.loads(sys.argv[1])
    executor = Workers(wanted["workers"]) if wanted["workers"] else Inline()
    progress = Telling(wanted["after"], wanted["die"])
    with expunge.open(
        wanted["home"], executor=executor, progress=progress, background=False
    ) as home:
        view = home.dataset("people").view("y")
        recipe = Sharded(learners.from_json(wanted["learner"]), shards=SHARDS, slices=SLICES)
        home.train("m", view, recipe)


if __name__ == "__main__":
    main()
