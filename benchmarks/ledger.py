"""The ledger: appending, publishing, proving, checking, at a million entries.

    python benchmarks/ledger.py [--entries 1000000] [--quick] [--folder DIR]

Every commit waits for the disk, so the disk's own speed is measured beside it (``disk_sync_us``:
4 KiB appended and synced); figures named ``_ram_`` are of the same work in memory (/dev/shm),
where nothing is waited for. One process, one thread, SQLite; publishing writes with 8 threads.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import ledger_forget
import numpy as np
import report

from expunge.core import merkle
from expunge.ledger import lease as leases
from expunge.ledger import note, proof, publish, sequencer
from expunge.ledger.fsck import fsck
from expunge.ledger.log import Ledger
from expunge.ledger.note import Checkpoint, Verifier
from expunge.storage import facts
from expunge.storage.database import Database, now, sqlite_url
from expunge.storage.facts import FACTS, Fact

RAM = Path("/dev/shm")  # noqa: S108 - there on purpose: it never waits
SEED = 7

# As large as entries come: some of them name a hundred checkpoints, most of them none.
FACT = Fact(
    "request.received",
    {
        "dataset": "5f" * 8,
        "kind": "forget",
        "samples": 3,
        "already": 0,
        "identifiers": {"count": 2, "root": "1b" * 32},
        "rows": "e4" * 32,
    },
    "6f1c7d3e-3b7c-4f5e-9a53-0d7b4f6f2a11",
)

Figures: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """A ledger under test.

    Attributes:
        entries: How large it grows.
        repeats: Of what is done many times.
    """

    database: Database
    folder: Path
    ledger: Ledger
    entries: int
    repeats: int


def opened(folder: Path, entries: int, repeats: int) -> Bench:
    database = Database(sqlite_url(folder / "home.sqlite"))
    database.create()
    ledger = Ledger(database, folder, "expunge/benchmark")
    ledger.sync()
    return Bench(database, folder, ledger, entries, repeats)


def record_many(bench: Bench, count: int) -> None:
    """Facts that wait, inserted at once."""
    row = {"kind": FACT.kind, "request": FACT.request, "leaf": facts.leaf(FACT, now())}
    for start in range(0, count, 10_000):
        with bench.database.transaction() as transaction:
            transaction.execute(FACTS.insert(), [row] * min(10_000, count - start))


def median_us(work: Callable[[Any], object], arguments: Sequence[Any]) -> float:
    """Median time of a call. Unit: microseconds."""
    times = []
    for argument in arguments:
        begun = time.perf_counter()
        work(argument)
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e6


# The parts. Each returns figures; they run in this order on one growing ledger.


def disk_sync(folder: Path) -> Figures:
    """What a commit cannot be faster than."""
    path = folder / "probe"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)

    def write(number: int) -> None:
        os.pwrite(descriptor, bytes(4096), 4096 * number)
        os.fdatasync(descriptor)

    figures = {"disk_sync_us": median_us(write, range(200))}
    os.close(descriptor)
    path.unlink()
    return figures


def append_single(bench: Bench) -> float:
    """Facts recorded one by one, each in a durable commit of its own. Unit: 1/s."""
    begun = time.perf_counter()
    for _ in range(bench.repeats):
        with bench.database.transaction() as transaction:
            facts.record(transaction, FACT)
    return bench.repeats / (time.perf_counter() - begun)


def append_batches(bench: Bench, most: int, batches: int) -> float:
    """Facts that waited, sequenced and signed ``most`` to a transaction. Unit: 1/s."""
    bench.ledger.sync()
    record_many(bench, most * batches)
    lease = leases.take(bench.database, "ledger", "benchmark", 3600)
    signer, taken = bench.ledger.keys.log(), 0
    begun = time.perf_counter()
    for _ in range(batches):
        with bench.database.transaction() as transaction:
            taken += sequencer.sequence(transaction, lease, signer, most)
    seconds = time.perf_counter() - begun
    assert taken == most * batches
    leases.release(bench.database, lease)
    return taken / seconds


def appending(bench: Bench, where: str = "") -> Figures:
    return {
        f"append_single_{where}per_s": append_single(bench),
        f"append_batch100_{where}per_s": append_batches(bench, 100, max(20, bench.repeats // 10)),
        f"append_batch1000_{where}per_s": append_batches(bench, 1000, max(5, bench.repeats // 100)),
    }


def growing(bench: Bench) -> Figures:
    """Up to the full size, sequenced; then published at once."""
    before = bench.ledger.sync()
    record_many(bench, bench.entries - before)
    lease = leases.take(bench.database, "ledger", "benchmark", 3600)
    signer = bench.ledger.keys.log()
    begun, taken = time.perf_counter(), sequencer.BATCH
    while taken == sequencer.BATCH:
        with bench.database.transaction() as transaction:
            taken = sequencer.sequence(transaction, lease, signer)
    sequenced = time.perf_counter() - begun
    begun = time.perf_counter()
    publish.publish(bench.database, bench.folder / "ledger", lambda: None)
    published = time.perf_counter() - begun
    leases.release(bench.database, lease)
    assert bench.ledger.size == bench.entries
    return {
        "entries": bench.entries,
        "sequence_entries_per_s": (bench.entries - before) / sequenced,
        "publish_entries_per_s": (bench.entries - before) / published,
    }


def syncing(bench: Bench) -> Figures:
    """What the background thread does each second, with a thousand facts and with none."""
    times = []
    for _ in range(5):
        record_many(bench, 1000)
        begun = time.perf_counter()
        bench.ledger.sync()
        times.append(time.perf_counter() - begun)
    return {
        "sync_1000_ms": statistics.median(times) * 1e3,
        "sync_idle_us": median_us(lambda _: bench.ledger.sync(), range(100)),
    }


def proving(bench: Bench) -> Figures:
    ledger, draws = bench.ledger, np.random.default_rng(SEED)
    verifier, size = Verifier.parse(ledger.vkey), ledger.size
    chosen = [int(index) for index in draws.integers(size, size=bench.repeats)]
    proofs = [(ledger.proof(i).to_bytes(), ledger.entries(i, i + 1)[0]) for i in chosen]
    root = Checkpoint.parse(note.parse(ledger.checkpoint).text).root
    firsts = [(first, merkle_root(ledger, first)) for first in chosen[:100] if first]
    paths = [(first, old, ledger.consistency(first)) for first, old in firsts]
    assert all(merkle.check_consistency(m, old, size, root, path) for m, old, path in paths)
    return {
        "proof_us": median_us(ledger.proof, chosen),
        "verify_us": median_us(lambda p: proof.check(proof.parse(p[0]), p[1], verifier), proofs),
        "consistency_us": median_us(ledger.consistency, chosen),
        "consistency_verify_us": median_us(
            lambda p: merkle.check_consistency(p[0], p[1], size, root, p[2]), paths
        ),
    }


def merkle_root(ledger: Ledger, size: int) -> bytes:
    """Root of the first ``size`` entries, by the tiles: the peaks of that tree, folded."""
    read, peaks, start = ledger._read(ledger.size), [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            peaks.append(read(level, start >> level))
            start += 1 << level
    return merkle.Frontier(size, tuple(peaks)).root


def checking(bench: Bench) -> Figures:
    begun = time.perf_counter()
    report_ = fsck(bench.folder / "ledger", bench.ledger.vkey)
    alone = time.perf_counter() - begun
    begun = time.perf_counter()
    assert report_.is_clean
    assert bench.ledger.fsck().is_clean
    both = time.perf_counter() - begun
    return {
        "fsck_entries_per_s": report_.entries / alone,
        "fsck_with_database_entries_per_s": report_.entries / both,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; by default /tmp")
    options = parser.parse_args()
    entries, repeats = (20_000, 100) if options.quick else (options.entries, 2000)
    figures: Figures = {}
    if RAM.is_dir():
        with tempfile.TemporaryDirectory(dir=RAM) as place:
            bench = opened(Path(place), 0, repeats)
            figures |= appending(bench, "ram_")
            bench.database.close()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        figures |= disk_sync(Path(place))
        bench = opened(Path(place), entries, repeats)
        for part in (appending, growing, syncing, proving, checking):
            report.say(part.__name__)
            figures |= part(bench)
        bench.database.close()
    report.say("forgetting")
    figures |= ledger_forget.overhead(40 if options.quick else 400)
    report.publish("ledger", figures)


if __name__ == "__main__":
    main()
