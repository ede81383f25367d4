"""Kill a scenario at every moment, finish it in a new process, compare. Prints one line of JSON.

A script, so that the process that forks has one thread:
``exhaust.py <scenario> <empty folder> <n>``, which tries every n-th moment.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

import expunge
from expunge.data import appending, stones
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.home import Home
from expunge.ledger.sql import VAULT
from expunge.testing import faults
from expunge.testing import state as states
from expunge.testing.fakes import Tiny, people
from expunge.training import sql

ROWS = 60
COLUMNS = {"id": "id", "subject": "who"}


@dataclass(frozen=True)
class Scenario:
    """What is killed.

    Attributes:
        act: The whole work.
        has_begun: Whether the home knows that it was asked for the work.
        finish: The rest of the work, after that.
    """

    act: Callable[[Home], object]
    has_begun: Callable[[Home], bool]
    finish: Callable[[Home], object]


def was_requested(home: Home) -> bool:
    return len(home.requests()) == 1


def first_rows() -> dict[str, Any]:
    return people(ROWS, each=2)


def fresh_rows() -> dict[str, Any]:
    return people(12, first=ROWS, seed=1, each=2)


def corrected_rows() -> dict[str, Any]:
    rows = {name: cells[9:11].copy() for name, cells in first_rows().items()}
    rows["x1"] += 1.0
    return rows


def train(home: Home) -> None:
    view = home.dataset("people").view("y")
    home.train("wide", view, expunge.Sharded(Tiny(), shards=2, slices=3))
    home.train("plain", home.dataset("people").view("x1"), Tiny())


SCENARIOS = {
    "forget": Scenario(
        lambda home: home.forget(["s3"], subjects=["p7"]).wait(), was_requested, Home.recover
    ),
    "append": Scenario(
        lambda home: home.ingest("people", fresh_rows()),
        lambda home: home.dataset("people").batches == 2,
        train,
    ),
    "correct": Scenario(
        lambda home: home.correct(corrected_rows()).wait(), was_requested, Home.recover
    ),
    "first": Scenario(train, lambda home: len(home.models()) == 2, train),
}


def opened(folder: Path) -> Home:
    return expunge.open(folder, executor=Inline(), progress=Silent(), background=False)


def prepare(folder: Path, name: str) -> None:
    with opened(folder) as home:
        home.ingest("people", first_rows(), **COLUMNS)
        if name != "first":
            train(home)


def state(home: Home) -> dict[str, Any]:
    """All that must be the same in the end, whatever happened on the way."""
    found: dict[str, Any] = {"rows": rows(home), "files": files(home.site.root)}
    found["requests"] = [(one.kind, one.state, one.samples) for one in home.requests()]
    found["said"] = said(home)
    with home.site.database.reading() as transaction:
        found["held"] = len(stones.of(transaction, 1, [one.id for one in home.requests()]))
        for model in home.site.all_models(transaction):
            version = sql.current(transaction, model.id)
            chains = [chain.to_json() for chain in states.read(model, version)]
            found[model.name] = {"version": version.digest, "chains": chains}
    return json.loads(json.dumps(found))


def said(home: Home) -> dict[str, Any]:
    """What journal, vault and facts say about the requests that there are, each once."""
    requests = [one.id for one in home.requests()]
    kept = {record.request: len(record.rows) for record in home.site.journal.read()}
    kinds = Counter(fact.kind for fact in home.facts() if fact.request in requests)
    with home.site.database.reading() as transaction:
        keys = transaction.scalar(sa.select(sa.func.count()).select_from(VAULT))
    return {
        "journal": [kept.pop(request, None) for request in requests],
        "strangers": len(kept),
        "facts": kinds,
        "vault": keys,
    }


def rows(home: Home) -> dict[str, list[Any]]:
    """Remaining rows by batch and place, and whether the others are destroyed."""
    with home.site.database.reading() as transaction:
        ground = home.site.ground(transaction, home.site.dataset(transaction, "people").id)
    found = {}
    for key, batch in ground.batches.items():
        cells = batch.read(["id", "who", "x0", "x1", "y"], 0, batch.rows)
        gone = ground.is_gone(key, np.arange(batch.rows))
        erased = batch.erased(0, batch.rows)
        found[str(key)] = [
            [str(cell[i]) for cell in cells.values()] if not gone[i] else ["gone", bool(erased[i])]
            for i in range(batch.rows)
        ]
    return found


# Marks a batch as unfinished until the next append.
PASSING = ("pending",)


def files(root: Path) -> list[str]:
    """What rests in a home, by names that do not differ between runs."""
    found = []
    for path in sorted(root.rglob("*")):
        # A description of a runtime that was not renamed is a leftover that holds nothing.
        passing = path.suffix in (".lock", ".part")
        kind, *inside = path.relative_to(root).parts
        is_ours = kind in ("data", "models")  # the others have tests of their own
        if path.is_file() and is_ours and not passing and path.name not in PASSING:
            folder, *rest = inside
            found.append(
                "/".join([kind, folder if kind == "data" else folder.split("-")[1], *rest])
            )
    return found


def check_begun(home: Home, name: str, begun: bool, whole: dict[str, Any]) -> None:
    """What holds right after the death: all or nothing, and no served checkpoint is tainted."""
    found, _ = json.loads(json.dumps(rows(home))), home.requests()
    if name in ("append", "correct"):
        assert len(found) == 1 + begun, "half a batch"
    if name in ("forget", "correct"):
        gone = sum(row[0] == "gone" for row in found["(0, 0)"])
        assert gone == (whole["requests"][0][2] if begun else 0), "half a request"
    if begun and name in ("forget", "correct"):
        clean = {
            c[0] for m in ("wide", "plain") for ch in whole[m]["chains"] for c in ch["checkpoints"]
        }
        for model in ("wide", "plain"):
            served = home.model(model).version.constituents
            names = {c.frame.name.hex() for c in served if c.frame}
            assert names <= clean, "a tainted checkpoint is served"


def finish(folder: Path, name: str, whole: dict[str, Any] | None) -> bytes:
    scenario = SCENARIOS[name]
    with opened(folder) as home:
        begun = scenario.has_begun(home)
        if whole is not None:
            check_begun(home, name, begun, whole)
        (scenario.finish if begun else scenario.act)(home)
        scenario.finish(home)
        return json.dumps([begun, state(home)]).encode()


def warm_up(folder: Path, name: str) -> None:
    """Import here, once, all that every child would import."""
    prepare(folder, name)
    finish(folder, name, None)


def main(name: str, place: Path, every: int) -> None:
    prepared, folder = place / "prepared", place / "trial"
    warm_up(place / "warm", name)
    prepare(prepared, name)

    def act() -> None:
        with opened(folder) as home:
            SCENARIOS[name].act(home)

    shutil.copytree(prepared, folder)
    kinds = faults.points(act)
    _, whole = json.loads(faults.in_child(lambda: finish(folder, name, None)))
    failures, begun_at = [], []
    moments = faults.moments(kinds)[::every]
    for n, torn in moments:
        shutil.rmtree(folder)
        shutil.copytree(prepared, folder)
        where = f"{'in' if torn else 'before'} change {n} of {len(kinds)}, a {kinds[n - 1]}"
        if not faults.kill_at(act, n, torn=torn):
            failures.append(f"not killed {where}")
            continue
        try:
            begun, found = json.loads(faults.in_child(lambda: finish(folder, name, whole)))
        except faults.ScenarioFailed:
            failures.append(f"not finished after death {where}; see standard error")
            continue
        begun_at.append(begun)
        if found != whole:
            parts = [part for part in whole if whole[part] != found[part]]
            failures.append(f"{parts} differ after death {where}")
    answer = {
        "points": len(moments),
        "kinds": Counter(kinds),
        "begun": sum(begun_at),
        "once_begun_always": begun_at == sorted(begun_at),
        "failures": failures,
    }
    sys.stdout.write(json.dumps(answer) + "\n")


def fix_chance() -> None:
    """Salts and secret are the same in every trial, so that names can be compared."""
    os.urandom = lambda count: np.random.default_rng(count).bytes(count)
    appending.secrets.token_bytes = lambda count: bytes([2]) * count  # no slice is empty


if __name__ == "__main__":
    warnings.simplefilter("ignore", UserWarning)  # "one subject has more than half a slice"
    fix_chance()
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
