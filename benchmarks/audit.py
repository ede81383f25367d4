"""What an audit costs: 16 half-size shadows and 8 retrainings beside 16 trainings in a bare loop.

    python benchmarks/audit.py [--rows 12000] [--epochs 10]

Both are 16 full trainings of the same network on the same images of Fashion-MNIST. The bare loop
(``bare_loops.py``, the fused one) trains one after the other and does nothing else; the audit
plans, trains with names and checkpoints, attacks, compares and reports. It is timed with one
worker process, as the loop is, and with one for each core, as people run it. The processes
are warm. A second audit of the same rows shows what is left when nothing has to be trained.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bare_loops
import numpy as np
import report

import exact
import expunge
from expunge.execution.local import Workers
from expunge.execution.progress import Silent
from expunge.home import Home
from expunge.verify.settings import Settings

TRAININGS = 16
FORGOTTEN, UNSEEN = 1000, 2000


def open_home(folder: Path, workers: int) -> Home:
    executor = Workers(workers, preload=("expunge.training.unit", "expunge.learners.torch"))
    executor.start()
    return expunge.open(folder, executor=executor, progress=Silent(), background=False)


def prepare(folder: Path, images: exact.Images, rows: int, epochs: int) -> None:
    """A home with a model that forgot a thousand images, which are held still."""
    chosen = {name: column[: rows + FORGOTTEN] for name, column in images.train.items()}
    network = expunge.Torch(
        module="mlp",
        module_options={"hidden": [128]},
        optimiser="SGD",
        optimiser_options={"lr": 0.01, "momentum": 0.9},
        epochs=epochs,
        batch=bare_loops.BATCH,
    )
    with open_home(folder, 1) as home:
        people = home.ingest("fashion", chosen, id="image", values=["label"], categorical=["label"])
        home.train("clothes", people.view(target="label"), network)
        home.forget(chosen["image"][rows:].tolist(), undo_s=86_400.0)
        home.recover()


def audit(folder: Path, images: exact.Images, workers: int) -> tuple[float, float, Any]:
    """Seconds of a first and of a second audit, and what the first one said."""
    unseen = {name: column[:UNSEEN] for name, column in images.test.items()}
    with open_home(folder, workers) as home:
        seconds, found = [], None
        for _ in range(2):
            started = time.perf_counter()
            said = home.audit("clothes", unseen=unseen, settings=Settings())
            seconds.append(time.perf_counter() - started)
            found = found or said
        for each in home.site.audits.iterdir():
            shutil.rmtree(each)
    return seconds[0], seconds[1], found


def bare(images: exact.Images, rows: int, epochs: int) -> float:
    pixels, labels = images.train["pixels"][:rows], images.train["label"][:rows]
    return sum(bare_loops.training_seconds(pixels, labels, epochs) for _ in range(TRAININGS))


def main(arguments: argparse.Namespace) -> None:
    images, rows, epochs = exact.load_images(), arguments.rows, arguments.epochs
    with tempfile.TemporaryDirectory(prefix="expunge-bench-") as place:
        home = Path(place) / "home"
        prepare(home, images, rows, epochs)
        report.say("prepared")
        # On both sides of the audits: a machine gets quicker and slower.
        loops = [bare(images, rows, epochs)]
        report.say(f"bare loop {loops[0]:.1f} s")
        one = audit(home, images, workers=1)
        report.say(f"audit, one worker {one[0]:.1f} s: {one[2].verdict}")
        loops.append(bare(images, rows, epochs))
        many = audit(home, images, workers=0)
        loop = float(np.mean(loops))
    figures: dict[str, Any] = {
        "rows": rows,
        "epochs": epochs,
        "trainings": TRAININGS,
        "bare_loop_s": loop,
        "bare_loop_spread_s": float(np.ptp(loops)),
        "audit_one_worker_s": one[0],
        "audit_s": many[0],
        "audit_again_s": many[1],
        "cost_ratio_one_worker": one[0] / loop,
        "cost_ratio": many[0] / loop,
        "verdict": many[2].verdict,
        **{check.name: check.value for check in many[2].checks if check.value is not None},
    }
    report.publish("audit", figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=12_000, help="that stay")
    parser.add_argument("--epochs", type=int, default=10)
    main(parser.parse_args(sys.argv[1:]))
