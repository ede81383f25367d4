"""Exact forgetting of a logistic regression through a home, on MNIST 3-versus-8.

    python benchmarks/convex.py [--quick]

Weights are the exact minimiser, correctly rounded, so the model after forgetting is compared byte
for byte with one that is built from the rows. A request is timed from the call of ``forget``
to the end of ``wait``, with reading rows, the solution from the released weights, its proof, the
durable write and the destruction. The baseline trains the same model from nothing in the same home.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import report

import expunge
from expunge.execution.local import Workers
from expunge.execution.progress import Silent
from expunge.home import Home, Learning


def load() -> tuple[dict[str, Any], dict[str, Any]]:
    """Threes and eights: to train on and to test with."""
    with np.load(report.data_folder() / "mnist.npz") as file:
        parts = [_chosen(file[f"x_{part}"], file[f"y_{part}"]) for part in ("train", "test")]
    return parts[0], parts[1]


def _chosen(images: Any, labels: Any) -> dict[str, Any]:
    chosen = (labels == 3) | (labels == 8)
    count = int(chosen.sum())
    return {
        "image": np.array([f"image-{i:05d}" for i in range(count)]),
        "pixels": images[chosen].reshape(-1, 784),
        "label": labels[chosen].astype(np.int64),
    }


def open_home(folder: Path) -> Home:
    executor = Workers(1, preload=("expunge.training.unit", "expunge.learners.convex.learner"))
    executor.start()
    return expunge.open(folder, executor=executor, progress=Silent(), background=False)


def train(home: Home, name: str, learning: Learning, learner: expunge.Convex) -> float:
    started = time.perf_counter()
    home.train(name, learning, learner)
    return time.perf_counter() - started


def forgotten(home: Home, images: Sequence[int]) -> float:
    started = time.perf_counter()
    home.forget([f"image-{i:05d}" for i in images]).wait()
    return time.perf_counter() - started


def measure(folder: Path, mean_penalty: float, repeats: int) -> dict[str, float]:
    rows, test = load()
    count = len(rows["label"])
    learner = expunge.Convex(penalty=mean_penalty * count)
    order = np.random.default_rng(0).permutation(count).tolist()
    with open_home(folder) as home:
        people = home.ingest("digits", rows, id="image", values=["label"], categorical=["label"])
        learning = people.view(target="label")
        builds = [train(home, "digits", learning, learner)]
        single = [forgotten(home, [order.pop()]) for _ in range(repeats)]
        many = forgotten(home, [order.pop() for _ in range(1000)])
        exact = float(home.verify("digits").exact)
        for number in range(2):  # the same model from nothing, after the deletions
            again = expunge.Convex(penalty=learner.penalty, knee=2.0 + number)
            builds.append(train(home, f"again-{number}", learning, again))
        predicted = home.model("digits").predict({"pixels": test["pixels"]})
    return {
        "exact": exact,
        "accuracy": float((predicted == test["label"]).mean()),
        "build_s": float(np.mean(builds)),
        "single_s": float(np.mean(single)),
        "single_s_sd": float(np.std(single)),
        "batch1000_s": many,
        "speedup_single": float(np.mean(builds) / np.mean(single)),
        "speedup_batch1000": float(np.mean(builds) / many),
    }


def main(arguments: argparse.Namespace) -> None:
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="expunge-bench-") as place:
        for suffix, mean_penalty in (("", 1e-3), ("_lambda1e-4", 1e-4)):
            repeats = 3 if arguments.quick else 15
            found = measure(Path(place) / f"home{suffix}", mean_penalty, repeats)
            figures |= {f"{name}{suffix}": value for name, value in found.items()}
    figures["peak_rss_mb"] = report.peak_rss_mb()
    report.publish("convex", figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    main(parser.parse_args(sys.argv[1:]))
