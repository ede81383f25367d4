"""Measure ingest: rows per second from Arrow and CSV, memory, index size, lookups by id.

Rows are made from a seed and written once to files that are not part of the measurement:
float32 columns, an id, and a subject for every five rows, spread over the whole file. Memory
is the resident size of this process and its helper, summed, sampled every 50 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv as pcsv

from expunge.data.batch import SUBJECTS, TOKENS, Batch
from expunge.data.ingest import Arrival, stage
from expunge.data.options import Ingest
from expunge.data.ring import Ring

COLUMNS: Final = 20
ROWS_PER_SUBJECT: Final = 5
BLOCK: Final = 100_000
LOOKUPS: Final = 20_000
OPTIONS: Final = Ingest(id="id", subjects=("person",))
RESULTS: Final = Path(__file__).parent / "results" / "ingest.json"


class Memory:
    """Peak resident memory of this process and its children, in MB."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._stop = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(0.05):
            sizes = []
            for process in [me, *me.children(recursive=True)]:
                try:
                    sizes.append(process.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue
            self.peak = max(self.peak, sum(sizes) / 1e6)


def blocks(rows: int) -> Iterator[pa.RecordBatch]:
    """Generate rows from a seed."""
    generator = np.random.default_rng(20261121)
    people = max(1, rows // ROWS_PER_SUBJECT)
    for start in range(0, rows, BLOCK):
        number = np.arange(start, min(rows, start + BLOCK))
        # A person's rows lie far apart, as they do where rows arrive by time.
        columns = {
            "id": pa.array(np.char.mod("sample-%09d", number)),
            "person": pa.array(np.char.mod("person-%08d", number % people)),
        }
        for column in range(COLUMNS):
            cells = generator.standard_normal(len(number), np.float32)
            columns[f"x{column}"] = pa.array(np.round(cells, 5))
        yield pa.record_batch(columns)


def write_sources(folder: Path, rows: int, csv_rows: int) -> tuple[Path, Path]:
    """Write the rows as an Arrow file, the first of them as CSV."""
    arrow, csv = folder / "rows.arrow", folder / "rows.csv"
    schema = next(blocks(1)).schema
    with (
        pa.ipc.new_file(str(arrow), schema) as to_arrow,
        pcsv.CSVWriter(str(csv), schema) as to_csv,
    ):
        for place, block in enumerate(blocks(rows)):
            to_arrow.write_batch(block)
            left = csv_rows - place * BLOCK
            if left > 0:
                to_csv.write_batch(block.slice(0, left))
    return arrow, csv


@dataclass(frozen=True)
class Run:
    """One ingest: its batch's folder, wall and CPU seconds (of both processes), peak in MB."""

    folder: Path
    seconds: float
    cpu_s: float
    peak_mb: float


def ingest(source: Path, folder: Path, ring: Ring) -> Run:
    """Ingest a file."""
    with Memory() as memory:
        started, cpu = time.perf_counter(), sum(os.times()[:4])
        staged = stage(source, folder, Arrival(ring), OPTIONS)
        seconds, cpu = time.perf_counter() - started, sum(os.times()[:4]) - cpu
    return Run(staged.batches[0].folder, seconds, cpu, memory.peak)


def lookups(batch: Batch, ring: Ring) -> np.ndarray[Any, Any]:
    """Milliseconds of single lookups by id, each checked: wall and CPU time; (n, 2)."""
    generator = np.random.default_rng(7)
    chosen = generator.integers(0, batch.rows, LOOKUPS)
    times = np.empty((LOOKUPS, 2))
    for place, number in enumerate(chosen.tolist()):
        cpu, started = time.thread_time(), time.perf_counter()
        ordinal = batch.find_id(f"sample-{number:09d}", ring)
        times[place] = time.perf_counter() - started, time.thread_time() - cpu
        assert ordinal >= 0
    return times * 1000


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": model[0] if model else platform.processor(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        "pyarrow": pa.__version__,
        "numpy": np.__version__,
        "system": platform.platform(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def measure(rows: int, csv_rows: int, folder: Path) -> dict[str, Any]:
    """All figures."""
    described = machine()
    arrow, csv = write_sources(folder, rows, csv_rows)
    ring = Ring(bytes(range(32)))
    one = ingest(arrow, folder / "arrow", ring)
    indexes = [*one.folder.glob(f"{TOKENS}.*"), *one.folder.glob(f"{SUBJECTS}.*")]
    # Kept in no variable: its maps of the first batch's files would count in the second run.
    times, cpu_times = lookups(Batch(one.folder), ring).T
    two = ingest(csv, folder / "csv", ring)
    return {
        "rows": rows,
        "rows_per_s": round(rows / one.seconds),
        "cpu_us_per_row": round(one.cpu_s / rows * 1e6, 2),
        "csv_rows": csv_rows,
        "csv_rows_per_s": round(csv_rows / two.seconds),
        "csv_cpu_us_per_row": round(two.cpu_s / csv_rows * 1e6, 2),
        "peak_rss_mb": round(max(one.peak_mb, two.peak_mb)),
        "arrow_peak_rss_mb": round(one.peak_mb),
        "csv_peak_rss_mb": round(two.peak_mb),
        "index_bytes_per_row": round(sum(f.stat().st_size for f in indexes) / rows, 2),
        "lookup_ms_p50": round(float(np.percentile(times, 50)), 4),
        "lookup_ms_p99": round(float(np.percentile(times, 99)), 4),
        "lookup_cpu_ms_p99": round(float(np.percentile(cpu_times, 99)), 4),
        "segments": len(list(one.folder.glob("*.arrow"))),
        "machine": described,
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--csv-rows", type=int, help="default: as many")
    parser.add_argument("--folder", type=Path, help="where temporary files go")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="expunge-bench-", dir=options.folder))
    try:
        figures = measure(options.rows, options.csv_rows or options.rows, folder)
    finally:
        shutil.rmtree(folder)
    aims = {
        "rows_per_s": ">= 300,000",
        "csv_rows_per_s": ">= 200,000",
        "peak_rss_mb": "< 500",
        "lookup_ms_p99": "<= 0.1",
    }
    for name, value in figures.items():
        if name != "machine":
            sys.stdout.write(f"{name:<22}{value:>14,}   {aims.get(name, '')}\n")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
    sys.stdout.write(json.dumps(figures, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
