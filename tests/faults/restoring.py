"""Kill the opening of a restored home at every moment, open it again, compare. Prints JSON.

A script, so that the process that forks has one thread: ``restoring.py <what> <empty folder> <n>``,
where ``what`` was restored: ``database``, or ``everything`` but journal and ledger; it tries every
n-th moment.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import exhaust
from exhaust import COLUMNS, opened, said

from expunge.home import Home
from expunge.testing import faults
from expunge.testing import state as states
from expunge.testing.fakes import people
from expunge.training import plan as plans
from expunge.training import sql


def prepare(folder: Path, what: str) -> None:
    """A home that was restored from a backup: requests, a correction and a batch came since."""
    with opened(folder) as home:
        home.ingest("people", exhaust.first_rows(), **COLUMNS)
        exhaust.train(home)
        home.forget(["s1"]).wait()
        waits = home.forget(["s50"], approval=True).request
        mistaken = home.forget(["s51"], undo_s=3600.0).request
    saved = folder.with_name("saved")
    shutil.copytree(folder, saved)
    with opened(folder) as home:
        home.forget(["s3"], subjects=["p7"])
        home.ingest("people", people(12, first=60, seed=1, each=2))
        home.recover()
        home.correct(exhaust.corrected_rows())
        home.forget(["s61", "s20"])
        home.forget(["s1", "s30"])
        home.recover()
        home.forget(["s40"])
        home.cancel(waits)
        home.undo(mistaken)
        home.undo(home.forget(["s44"], undo_s=3600.0).request)
        home.forget(["s45"], approval=True)
        home.forget(["s46"], kind="object", models=home.models()[:1])
    for old in folder.glob("expunge.sqlite*"):
        old.unlink()
    shutil.copy(saved / "expunge.sqlite", folder)
    for name in ("data", "models") if what == "everything" else ():
        shutil.rmtree(folder / name)
        shutil.copytree(saved / name, folder / name)
    shutil.rmtree(saved)


def state(home: Home) -> dict[str, Any]:
    """All that must be the same in the end; strings that depend on the moment left out."""
    found: dict[str, Any] = {"rows": exhaust.rows(home), "said": said(home)}
    found["requests"] = [(r.id, r.kind, r.state, r.samples, r.accepted) for r in home.requests()]
    found["facts"] = sorted(
        (fact.kind, fact.request or "")
        for fact in home.facts()
        if fact.request or fact.kind == "home.restored"
    )
    found["gone"] = gone(home)
    with home.site.database.reading() as transaction:
        for model in home.site.all_models(transaction):
            version = sql.current(transaction, model.id)
            chains = [chain.to_json() for chain in states.read(model, version)]
            found[model.name] = {"version": version.digest, "chains": chains}
    return json.loads(json.dumps(found))


def gone(home: Home) -> dict[str, list[int]]:
    with home.site.database.reading() as transaction:
        ground = home.site.ground(transaction, home.site.dataset(transaction, "people").id)
    return {str(key): ordinals.tolist() for key, ordinals in ground.gone.items()}


def check_served(home: Home) -> None:
    """What is served is what builds without the forgotten rows make on their way."""
    with home.site.database.reading() as transaction:
        ground = home.site.ground(transaction, home.site.dataset(transaction, "people").id)
        for model in home.site.all_models(transaction):
            for constituent in sql.current(transaction, model.id).constituents:
                names = plans.make(model.recipe, ground, constituent.shard).names
                frame = constituent.frame
                assert frame is None or frame.name in names, "a tainted checkpoint is served"


def finish(folder: Path, whole: dict[str, Any] | None) -> bytes:
    with opened(folder) as home:
        if whole is not None:  # before the first prediction, and before anything is rebuilt
            assert gone(home) == whole["gone"], "a request was undone"
            check_served(home)
        restored = home.restored
        home.recover()
        return json.dumps([str(restored or ""), state(home)]).encode()


def try_moments(
    prepared: Path, folder: Path, kinds: list[str], end: tuple[str, Any], every: int
) -> Any:
    """Kill at each moment; (whether it was done before the death, what is wrong) of each."""
    told, whole = end
    for n, torn in faults.moments(kinds)[::every]:
        shutil.rmtree(folder)
        shutil.copytree(prepared, folder)
        where = f"{'in' if torn else 'before'} change {n} of {len(kinds)}, a {kinds[n - 1]}"
        assert faults.kill_at(lambda: opened(folder).close(), n, torn=torn), f"lives {where}"
        try:
            again, found = json.loads(faults.in_child(lambda: finish(folder, whole)))
        except faults.ScenarioFailed:
            yield False, f"not finished after death {where}; see standard error"
            continue
        parts = [part for part in whole if whole[part] != found[part]]
        is_right = again in ("", told) and not parts
        yield not again, "" if is_right else f"{parts} differ after death {where}: {again}"


def main(what: str, place: Path, every: int) -> None:
    prepared, folder = place / "prepared", place / "trial"
    prepare(prepared, what)
    shutil.copytree(prepared, folder)
    end = json.loads(faults.in_child(lambda: finish(folder, None)))
    shutil.rmtree(folder)
    shutil.copytree(prepared, folder)
    kinds = faults.points(lambda: opened(folder).close())
    tried = list(try_moments(prepared, folder, kinds, tuple(end), every))
    done = [before for before, _ in tried]
    answer = {
        "points": len(tried),
        "kinds": Counter(kinds),
        "told": end[0],
        "done_before_death": sum(done),
        "once_done_always": done == sorted(done),
        "failures": [wrong for _, wrong in tried if wrong],
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore", UserWarning)  # "one subject has more than half a slice"
    logging.disable()
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
