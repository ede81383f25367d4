"""What the ledger, the vault and the journal add to one ``forget``, on a home of its own.

Requests alternate between the real thing and one in which these three do nothing; the figure is
the difference of the 95th percentiles, on the same home and the same rows, in one run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import expunge
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.home import Home
from expunge.ledger import vault
from expunge.ledger.vault import Sealed
from expunge.requests import entering, entries
from expunge.storage import facts
from expunge.storage.journal import Journal
from expunge.testing.fakes import Tiny, people

ROWS, SHARDS, SLICES = 10_000, 20, 10


@contextmanager
def without_ledger() -> Iterator[None]:
    """Facts, commitments, roots and the journal do nothing."""
    nothing: dict[Any, dict[str, Any]] = {
        facts: {"record": _none, "enter": _none, "leaf": lambda *_: b""},
        entries: {"rows_roots": lambda _, groups: [None] * len(groups)},
        entering: {"_records": lambda *_: []},
        vault: {"add_all": lambda _, named: dict.fromkeys(named, Sealed(0, b""))},
        Journal: {"append": _none},
    }
    with ExitStack() as stack:
        for where, replaced in nothing.items():
            for name, function in replaced.items():
                stack.enter_context(mock.patch.object(where, name, function))
        yield


def overhead(requests: int) -> dict[str, float]:
    """Milliseconds of ``requests`` single requests each way, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        home = expunge.open(
            Path(folder) / "home", executor=Inline(), progress=Silent(), background=False
        )
        with home:
            home.ingest("people", people(ROWS), id="id", subject="who")
            recipe = expunge.Sharded(Tiny(), shards=SHARDS, slices=SLICES)
            home.train("model", home.dataset("people").view("y"), recipe)
            order = np.random.default_rng(7).permutation(ROWS)
            real, bare = _in_turns(home, [f"s{i}" for i in order[: 2 * requests + 20].tolist()])
    p95 = [float(np.percentile(times, 95)) for times in (real, bare)]
    return {
        "forget_overhead_ms_p95": p95[0] - p95[1],
        "forget_overhead_ms_p50": float(np.median(real) - np.median(bare)),
        "forget_ms_p50": float(np.median(real)),
        "forget_ms_p95": p95[0],
        "forget_without_ledger_ms_p95": p95[1],
    }


def _in_turns(home: Home, samples: list[str]) -> tuple[list[float], list[float]]:
    def ask(sample: str) -> float:
        return home.forget([sample]).seconds * 1e3

    def bare(sample: str) -> float:
        with without_ledger():
            return ask(sample)

    ways: tuple[Callable[[str], float], ...] = (ask, bare)
    times = [ways[index % 2](sample) for index, sample in enumerate(samples)][20:]  # warm by then
    return times[::2], times[1::2]


def _none(*_: object) -> None:
    return None
