"""Kill a writer of the ledger at every moment, start again, compare. Prints one line of JSON.

A script, so that the process that forks has one thread:
``kill_append.py <scenario> <folder> <n>``, which tries every n-th moment.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from expunge.core import merkle
from expunge.ledger import lease as leases
from expunge.ledger import note
from expunge.ledger.fsck import fsck
from expunge.ledger.log import Ledger
from expunge.ledger.note import Checkpoint
from expunge.storage import facts
from expunge.storage.database import Database, sqlite_url
from expunge.storage.facts import FACTS, Fact
from expunge.testing import faults

BEFORE = {"open": -1, "append": 4, "fill": 254, "rotate": 4, "recover": 4, "bulk": 4}
BEFORE["certificate"] = 4
MORE = {"recover": 300}
FRESH = {"bulk": 2100}


class Desk:
    """A home's database and ledger; closed at the end."""

    def __init__(self, folder: Path, late_s: float = 0.0) -> None:
        self.database = Database(sqlite_url(folder / "home.sqlite"))
        self.database.create()
        # Who comes after a death comes when the lease has run out.
        self.ledger = Ledger(
            self.database, folder, "expunge/test", clock=lambda t: leases.shared_clock(t) + late_s
        )

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    def record(self, first: int, count: int) -> None:
        with self.database.transaction() as transaction:
            for number in range(first, first + count):
                facts.record(transaction, Fact("salt.destroyed", {"count": number}))

    def rows(self) -> list[tuple[int | None, bytes]]:
        wanted = sa.select(FACTS.c.entry, FACTS.c.leaf).order_by(FACTS.c.number)
        with self.database.reading() as transaction:
            return [(entry, bytes(leaf)) for entry, leaf in transaction.execute(wanted)]


def prepare(folder: Path, name: str) -> None:
    """What there is before: some entries, and what the scenario needs."""
    folder.mkdir()
    with Desk(folder) as desk:
        if BEFORE[name] >= 0:
            desk.record(0, BEFORE[name])
            desk.ledger.sync()
    if name == "recover":
        shutil.copy(folder / "home.sqlite", folder / "backup.sqlite")
        with Desk(folder) as desk:
            desk.record(BEFORE[name], MORE[name])
            desk.ledger.sync()
        for path in folder.glob("home.sqlite*"):
            path.unlink()
        (folder / "backup.sqlite").rename(folder / "home.sqlite")


def act(folder: Path, name: str) -> None:
    """The whole work that is cut short."""
    with Desk(folder) as desk:
        if name == "rotate":
            desk.ledger.rotate("log")
        elif name == "certificate":
            desk.ledger.rotate("certificate")
        else:
            desk.record(1000, FRESH.get(name, 3))
            desk.ledger.sync()


def check(folder: Path, name: str, checkpoint: bytes | None) -> bytes:
    """In the process that comes after: what is there is right, and all gets its place."""
    last = folder / "ledger" / "checkpoint"
    published = last.read_bytes() if last.exists() else None
    with Desk(folder, late_s=1000) as desk:
        size = desk.ledger.sync()
        rows, leaves = desk.rows(), desk.ledger.entries()
        report = desk.ledger.fsck(earlier=checkpoint)
        assert report.is_clean, report.problems
        for earlier in (checkpoint, published):
            if earlier is not None:
                assert desk.ledger.fsck(earlier=earlier).is_clean
                goes_on(desk.ledger, earlier)
        # Nothing is lost, doubled or out of order.
        assert sorted(entry for entry, _ in rows if entry is not None) == list(range(size))
        assert None not in [entry for entry, _ in rows]
        counts = [said(leaf)["count"] for leaf in leaves if b"salt.destroyed" in leaf]
        begun = [*range(max(0, BEFORE[name]) + MORE.get(name, 0))]
        recorded = len(counts) > len(begun)
        assert counts == [*begun, *range(1000, 1000 + FRESH.get(name, 3) * recorded)]
        rotated = sum(b"key.rotated" in leaf for leaf in leaves)
        # The log goes on, with the keys that are in force.
        desk.record(2000, 1)
        assert desk.ledger.sync() == size + 1
        _ = desk.ledger.certificate_key
        desk.ledger.rotate("log")
        assert desk.ledger.fsck().is_clean
        first = said(leaves[0])["log_key"]
        assert not fsck(folder / "ledger", first).problems
        leftovers = [p for p in folder.rglob("*") if p.suffix == ".part" and "ledger" in p.parts]
        assert leftovers == []
        return json.dumps([recorded, rotated]).encode()


def said(leaf: bytes) -> dict[str, object]:
    body: dict[str, object] = json.loads(leaf)["body"]
    return body


def goes_on(ledger: Ledger, earlier: bytes) -> None:
    """The published tree goes on from an earlier one, as any client would ask."""
    old, new = (Checkpoint.parse(note.parse(data).text) for data in (earlier, ledger.checkpoint))
    path = ledger.consistency(old.size)
    assert merkle.check_consistency(old.size, old.root, new.size, new.root, path)


def main(name: str, place: Path, every: int) -> None:
    prepared, folder = place / "prepared", place / "trial"
    prepare(prepared, name)
    known = prepared / "ledger" / "checkpoint"
    checkpoint = known.read_bytes() if known.exists() else None
    tried: Callable[[], None] = lambda: act(folder, name)  # noqa: E731
    shutil.copytree(prepared, folder)
    kinds = faults.points(tried)
    whole = json.loads(faults.in_child(lambda: check(folder, name, checkpoint)))
    failures, states = [], []
    for n, torn in faults.moments(kinds)[::every]:
        shutil.rmtree(folder)
        shutil.copytree(prepared, folder)
        where = f"{'in' if torn else 'before'} change {n} of {len(kinds)}, a {kinds[n - 1]}"
        if not faults.kill_at(tried, n, torn=torn):
            failures.append(f"not killed {where}")
            continue
        try:
            states.append(json.loads(faults.in_child(lambda: check(folder, name, checkpoint))))
        except faults.ScenarioFailed:
            failures.append(f"not right after death {where}; see standard error")
    answer = {
        "points": len(states),
        "kinds": Counter(kinds),
        "begun": sum(state == whole for state in states),
        "once_begun_always": states == sorted(states),
        "failures": failures,
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
