"""Exact forgetting on Fashion-MNIST: speed-ups, time to forget, accuracy, engine efficiency.

    python benchmarks/exact.py [--draws 30] [--quick]

Unlearning is timed as a user sees it: from the call of ``forget`` to the end of ``wait``, with
all I/O, publishing and destruction. The baseline is the same engine at S = R = 1, after as
many deletions. Both use one warm worker process with one thread.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bare_loops
import numpy as np
import report

import expunge
from expunge.execution.local import Workers
from expunge.execution.progress import Silent
from expunge.home import Home, Learning
from expunge.training import plan as plans
from expunge.training import sql

DRAWS = {1: 30, 8: 10, 18: 10, 39: 10}
# The learning rate was chosen on 10,000 of the training images, held out.
NETWORK = expunge.Torch(
    module="mlp",
    module_options={"hidden": [128]},
    optimiser="SGD",
    optimiser_options={"lr": 0.04, "momentum": 0.9},
    epochs=20,
    batch=64,
)


@dataclass(frozen=True)
class Images:
    """Fashion-MNIST: pixels uint8 (n, 784), labels (n,)."""

    train: dict[str, Any]
    test: dict[str, Any]


def load_images() -> Images:
    with np.load(report.data_folder() / "fashion_mnist.npz") as file:
        parts = [
            {
                "pixels": file[f"x_{part}"].reshape(-1, 784),
                "label": file[f"y_{part}"].astype(np.int64),
            }
            for part in ("train", "test")
        ]
    for part in parts:
        part["image"] = np.array([f"image-{i:05d}" for i in range(len(part["label"]))])
    return Images(*parts)


def open_home(folder: Path, workers: int = 1) -> Home:
    executor = Workers(workers, preload=("expunge.training.unit", "expunge.learners.torch"))
    executor.start()
    return expunge.open(folder, executor=executor, progress=Silent(), background=False)


def train(home: Home, source: dict[str, Any], shards: int, slices: int, **roles: Any) -> Learning:
    people = home.ingest(
        "fashion", source, id="image", values=["label"], categorical=["label"], **roles
    )
    learning = people.view(target="label")
    home.train("clothes", learning, expunge.Sharded(NETWORK, shards=shards, slices=slices))
    return learning


def accuracy(home: Home, images: Images) -> float:
    predicted = home.model("clothes").predict({"pixels": images.test["pixels"]})
    return float((predicted == images.test["label"]).mean())


def visits(home: Home) -> tuple[list[list[int]], float]:
    """Samples of each slice of each shard, and the share of the schedule a slice trains."""
    with home.site.database.reading() as transaction:
        row = home.site.model(transaction, "clothes")
        ground = home.site.ground(transaction, row.dataset)
    shards = [plans.make(row.recipe, ground, s) for s in range(row.recipe.shards)]
    return [[part.samples for part in plan.slices] for plan in shards], row.recipe.share


def to_rebuild(home: Home) -> float:
    """Sample visits, in epochs × samples, that are missing to make the model whole."""
    with home.site.database.reading() as transaction:
        row = home.site.model(transaction, "clothes")
        version = sql.current(transaction, row.id)
        ground = home.site.ground(transaction, row.dataset)
    assert version is not None
    total = 0
    for constituent in version.constituents:
        if not constituent.whole:
            plan = plans.make(row.recipe, ground, constituent.shard)
            seen = np.cumsum([part.samples for part in plan.slices])
            total += int(seen[constituent.depth :].sum())
    return total * row.recipe.share * NETWORK.epochs


@dataclass(frozen=True)
class Draw:
    """One request: what it took, and what its visits alone would have taken."""

    seconds: float
    closed_form: float
    forget_s: float
    accuracy_then: float | None = None


def unlearn(
    home: Home, samples: Sequence[str], full_visits: float, after: Callable[[], float] | None = None
) -> Draw:
    """One request, timed to its end; ``after`` is run (untimed) when it is only forgotten."""
    started = time.perf_counter()
    receipt = home.forget(samples)
    forgotten = time.perf_counter()
    part = to_rebuild(home)
    then = after() if after else None
    resumed = time.perf_counter()
    receipt.wait()
    seconds = forgotten - started + time.perf_counter() - resumed
    return Draw(seconds, full_visits / max(part, 1), receipt.seconds, then)


def speed_ups(
    sharded: Home, plain: Home, images: Images, draws: dict[int, int]
) -> dict[str, float]:
    """Means over draws; full retrains run before, between and after them.

    Machines drift: what is compared must have run at the same time.
    """
    out: dict[str, float] = {}
    alive = np.random.default_rng(0).permutation(len(images.train["image"])).tolist()
    gone = alive[::-1]
    for count, repeats in draws.items():
        full, found = [], []
        for repeat in range(repeats + 1):
            if repeat in (0, repeats // 2, repeats):
                chosen = [f"image-{gone.pop():05d}" for _ in range(count)]
                full.append(unlearn(plain, chosen, 1).seconds)
            if repeat < repeats:
                samples = [f"image-{alive.pop():05d}" for _ in range(count)]
                after = (lambda: accuracy(sharded, images)) if count == 39 and repeat < 3 else None
                found.append(unlearn(sharded, samples, NETWORK.epochs * (60_000 - count), after))
        out |= _speed_up(count, full, found)
    return out


def _speed_up(count: int, full: list[float], found: list[Draw]) -> dict[str, float]:
    mean_s, full_s = float(np.mean([draw.seconds for draw in found])), float(np.mean(full))
    # Means of costs, not of ratios: a few draws that touch the last slice only cost next
    # to nothing, and would make a mean of ratios as large as one likes.
    closed = float(1 / np.mean([1 / draw.closed_form for draw in found]))
    report.say(
        f"K={count}: full {', '.join(f'{s:.2f}' for s in full)} s; {full_s / mean_s:.2f}× "
        f"(closed form {closed:.2f}, ratio {full_s / mean_s / closed:.2f})"
    )
    accuracies = [draw.accuracy_then for draw in found if draw.accuracy_then is not None]
    return {
        f"speedup_k{count}": full_s / mean_s,
        f"closed_form_k{count}": closed,
        f"full_s_k{count}": full_s,
        f"unlearn_s_k{count}": mean_s,
        f"unlearn_s_sd_k{count}": float(np.std([draw.seconds for draw in found])),
        **({"accuracy_just_after_forget_k39": float(np.mean(accuracies))} if accuracies else {}),
    }


def times_to_forget(home: Home, images: Images, requests: int) -> dict[str, float]:
    """From the call until no response can come from the old version; single requests."""
    alive = np.random.default_rng(2).permutation(len(images.train["image"]))[-requests:]
    seconds = []
    for i in alive:
        started = time.perf_counter()
        receipt = home.forget([f"image-{i:05d}"], missing="ignore")
        seconds.append(time.perf_counter() - started)
        receipt.wait()
    return {
        f"time_to_forget_ms_p{p}": float(np.percentile(seconds, p) * 1000) for p in (50, 95, 99)
    }


def raw_fsync_ms(folder: Path) -> dict[str, float]:
    """What the disk alone takes: append 4 kB and sync, 200 times."""
    seconds = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(b"x" * 4096)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - started)
    return {f"fsync_ms_p{p}": float(np.percentile(seconds, p) * 1000) for p in (50, 95, 99)}


def engine_efficiency(folder: Path, images: Images) -> dict[str, float]:
    """Samples/s of the engine at S=20, R=50, checkpoints included, over the faster bare loop."""
    with open_home(folder) as home:
        people = home.ingest(
            "fashion", images.train, id="image", values=["label"], categorical=["label"]
        )
        # The bare loops do the same number of steps; they run before and after, interleaved.
        before = bare_loops.samples_per_second(images.train["pixels"], images.train["label"])
        started = time.perf_counter()
        home.train(
            "clothes", people.view(target="label"), expunge.Sharded(NETWORK, shards=20, slices=50)
        )
        seconds = time.perf_counter() - started
        after = bare_loops.samples_per_second(images.train["pixels"], images.train["label"])
        slices, share = visits(home)
        trained = sum(np.cumsum(shard).sum() for shard in slices) * share * NETWORK.epochs
        bare = {name: (before[name] + after[name]) / 2 for name in before}
        out = {f"bare_{name}_samples_per_s": rate for name, rate in bare.items()}
        out["engine_samples_per_s"] = trained / seconds
        out["engine_efficiency"] = out["engine_samples_per_s"] / max(bare.values())
        out["accuracy_s20"] = accuracy(home, images)
        out["train_s20_s"] = seconds
    return out


def person(folder: Path, images: Images, full_s: float) -> dict[str, float]:
    """Requests by a person with 50 rows, at S=20, R=50."""
    source = dict(images.train)
    owners = np.random.default_rng(3).permutation(60_000) // 50
    source["owner"] = np.array([f"person-{o:04d}" for o in owners])
    with open_home(folder) as home:
        train(home, source, 20, 50, subject="owner")
        seconds = []
        for who in np.random.default_rng(4).permutation(1200)[:20]:
            started = time.perf_counter()
            home.forget(subjects=[f"person-{who:04d}"]).wait()
            seconds.append(time.perf_counter() - started)
    return {
        "speedup_person50": full_s / float(np.mean(seconds)),
        "unlearn_s_person50": float(np.mean(seconds)),
    }


def adult(folder: Path) -> dict[str, float]:
    """XGBoost on Adult, S=20, R=5: speed-ups without an aim."""
    with gzip.open(report.data_folder() / "adult_train.csv.gz", "rt") as file:
        rows = len(list(csv.reader(file))) - 1
    out: dict[str, float] = {}
    learner = expunge.XGBoost(rounds=100, subsample=0.8)
    for shards, slices in ((1, 1), (20, 5)):
        place = folder / f"adult-{shards}"
        executor = Workers(1, preload=("expunge.training.unit", "expunge.learners.xgboost"))
        executor.start()
        with expunge.open(place, executor=executor, progress=Silent(), background=False) as home:
            people = home.ingest(
                "adult", report.data_folder() / "adult_train.csv.gz", values=["income"]
            )
            home.train(
                "income", people.view(target="income"), expunge.Sharded(learner, shards, slices)
            )
            rng = np.random.default_rng(5)
            for count in (1, 8, 39):
                seconds = []
                for _ in range(5 if shards > 1 else 2):
                    started = time.perf_counter()
                    chosen = rng.choice(rows, count, replace=False)
                    home.forget([report.row_id(i) for i in chosen], missing="ignore").wait()
                    seconds.append(time.perf_counter() - started)
                out[f"adult_{'full' if shards == 1 else 'unlearn'}_s_k{count}"] = float(
                    np.mean(seconds)
                )
    for count in (1, 8, 39):
        out[f"adult_speedup_k{count}"] = (
            out[f"adult_full_s_k{count}"] / out[f"adult_unlearn_s_k{count}"]
        )
    return out


def main(arguments: argparse.Namespace) -> None:
    images = load_images()
    draws = {count: max(2, n // 10) for count, n in DRAWS.items()} if arguments.quick else DRAWS
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="expunge-bench-") as place:
        root = Path(place)
        figures |= engine_efficiency(root / "s20", images)
        report.say(f"engine efficiency {figures['engine_efficiency']:.2f}")
        with open_home(root / "s20") as home, open_home(root / "s1") as plain:
            train(plain, images.train, 1, 1)
            figures["accuracy_s1"] = accuracy(plain, images)
            figures |= speed_ups(home, plain, images, draws)
        with open_home(root / "s20") as home:
            figures |= times_to_forget(home, images, 20 if arguments.quick else 200)
        figures |= raw_fsync_ms(root)
        figures |= person(root / "person", images, figures["full_s_k1"])
        with open_home(root / "s50") as home:
            train(home, images.train, 50, 50)
            figures["accuracy_s50"] = accuracy(home, images)
        with open_home(root / "two", workers=2) as home:
            started = time.perf_counter()
            train(home, images.train, 20, 50)
            figures["two_workers_train_s"] = time.perf_counter() - started
        figures |= adult(root)
    figures["peak_rss_mb"] = report.peak_rss_mb()
    report.publish("exact", figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws")
    main(parser.parse_args(sys.argv[1:]))
