"""The networks of the benchmark of post-hoc methods: rows, training, forgetting, and what they say.

What a network says is kept in a folder, in a file whose name covers all that shaped it: rows, the
network's make and training, method and knobs, seeds, and the code of all of these (comments and
docstrings apart). So a run that was stopped goes on, and nothing stale is ever read.
"""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import report
import torch
from numpy.typing import NDArray
from torch import nn

import expunge
from expunge.core import rng
from expunge.core.types import Guarantee
from expunge.learners.seeding import seeded
from expunge.learners.torch_modules import convnet
from expunge.methods.empirical import POSTHOC, figures, knobs, loop
from expunge.methods.empirical.ct import cosine
from expunge.methods.empirical.figures import Seen
from expunge.methods.empirical.protocol import Posthoc
from expunge.methods.empirical.rows import Rows
from expunge.methods.empirical.work import Course, Work

SCENARIOS = ("random", "half_class")
CHANNELS = (16, 32)
_PROBES = 2_000
_CODE = (
    "core/rng.py",
    "learners/seeding.py",
    "learners/torch_loop.py",
    "learners/torch_modules.py",
    "learners/torch_steps.py",
    "methods/empirical/figures.py",
    "methods/empirical/layers.py",
    "methods/empirical/loop.py",
    "methods/empirical/losses.py",
    "methods/empirical/rows.py",
    "methods/empirical/work.py",
)


@dataclass(frozen=True)
class Training:
    """How all networks are trained: the rate falls as half a cosine."""

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    name: ClassVar[str] = "training"

    lr: float = 0.05
    epochs: int = 10
    batch: int = 32
    momentum: float = 0.9

    forget = loop.forget

    def passes(self, work: Work) -> Iterator[None]:
        """One for each epoch."""
        descent = work.sgd(self.lr, self.momentum)
        for epoch in range(self.epochs):
            descent.at(self.lr * cosine(epoch, self.epochs))
            work.walk(work.batches(work.retain, self.batch), work.cross_entropy, descent)
            yield


@dataclass(frozen=True)
class Task:
    """Fashion-MNIST, pixels averaged 2 × 2: rows to train on, and two lots that no network sees."""

    train: Rows
    test: Rows
    validation: Rows

    def forget(self, scenario: str, number: int) -> NDArray[np.int64]:
        """Which rows of ``train`` are to be forgotten: 1 %, or half of a class."""
        key = rng.seed("empirical", scenario, number)
        order = rng.order(np.arange(len(self.train), dtype=np.uint64), key)
        if scenario == "random":
            return np.sort(order[: len(order) // 100])
        of_class = order[self.train.targets.numpy()[order] == key % 10]
        return np.sort(of_class[: len(of_class) // 2])


@cache
def load(rows: int) -> Task:
    with np.load(report.data_folder() / "fashion_mnist.npz") as file:
        train, test = ((file[f"x_{part}"], file[f"y_{part}"]) for part in ("train", "test"))
    order = rng.order(np.arange(len(train[0]), dtype=np.uint64), rng.seed("empirical", "rows"))
    unseen = order[rows : rows + _PROBES]
    return Task(_rows(train, order[:rows]), _rows(test, np.arange(_PROBES)), _rows(train, unseen))


def _rows(of: tuple[Any, Any], index: NDArray[np.int64]) -> Rows:
    pooled = of[0][index].reshape(-1, 1, 14, 2, 14, 2).mean((3, 5)) / 255
    scaled = (pooled - 0.286) / 0.33  # about what the training rows have for mean and deviation
    inputs = torch.from_numpy(scaled.astype(np.float32))
    return Rows(inputs, torch.from_numpy(of[1][index].astype(np.int64)))


@dataclass(frozen=True)
class Said:
    """What one network says about rows to forget, and how well it does elsewhere.

    Attributes:
        margins: Of rows to forget, (n,); ``probabilities`` (n, classes).
        accuracies: On rows to forget, rows that stay, and test rows; in percent.
        seconds: Of the processor, to train it or to make it forget.
    """

    margins: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    accuracies: NDArray[np.float64]
    seconds: float


@dataclass(frozen=True)
class Arm:
    """One scenario and forget set; networks by what was done to them and their training's seed."""

    task: Task
    scenario: str
    number: int
    folder: Path

    @cached_property
    def leaving(self) -> NDArray[np.int64]:
        """Which rows are to be forgotten."""
        return self.task.forget(self.scenario, self.number)

    @cached_property
    def forget(self) -> Rows:
        """Rows to forget."""
        return self.task.train.take(torch.from_numpy(self.leaving))

    @cached_property
    def retain(self) -> Rows:
        """Rows that stay."""
        stay = np.setdiff1d(np.arange(len(self.task.train)), self.leaving)
        return self.task.train.take(torch.from_numpy(stay))

    def original(self, seed: int) -> Said:
        """Trained on all rows."""
        module, seconds = original(self.task, seed, self.folder)
        return self._said(module, seconds)

    def retrained(self, seed: int) -> Said:
        """Trained without the rows; its seed is nobody else's."""
        about = self._about("retrain", Training(), seed)

        def make() -> Said:
            return self._said(*trained(self.retain, rng.seed("retrain", seed)))

        return _kept(self.folder, about, make)

    def forgotten(self, method: Posthoc, seed: int) -> Said:
        """Trained on all rows, and then made to forget."""
        about = self._about("method", method, seed)

        def make() -> Said:
            module, _ = original(self.task, seed, self.folder)
            course = Course(unseen=self.task.validation)
            began = time.process_time()
            found = method.forget(module, self.retain, self.forget, seed=seed, course=course)
            return self._said(found.module, time.process_time() - began)

        return _kept(self.folder, about, make)

    def _about(self, what: str, method: Posthoc, seed: int) -> dict[str, Any]:
        where = {"scenario": self.scenario, "number": self.number, "rows": len(self.task.train)}
        trained_by = {"training": knobs.as_json(Training()), "channels": CHANNELS}
        own = {"what": what, "method": method.name, "knobs": knobs.as_json(method), "seed": seed}
        return {**where, **trained_by, **own, "code": code(method.name)}

    def _said(self, module: nn.Module, seconds: float) -> Said:
        probes = self.retain.take(torch.arange(_PROBES))
        seen = [figures.see(module, of) for of in (self.forget, probes, self.task.test)]
        accuracies = np.array([100 * each.accuracy() for each in seen])
        return Said(_margins(seen[0]), _softmax(seen[0].logits), accuracies, seconds)


def network(seed: int) -> nn.Module:
    with seeded(rng.seed("network", seed)):
        module = convnet((1, 14, 14), 10, channels=CHANNELS)
    # Channels behind pixels: convolutions of so few channels take two thirds of the time then.
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def trained(rows: Rows, seed: int) -> tuple[nn.Module, float]:
    """A network trained on ``rows``, and the processor's seconds that it took."""
    began = time.process_time()
    module = Training().forget(network(seed), rows, rows, seed=seed).module
    return module, time.process_time() - began


@cache
def original(task: Task, seed: int, folder: Path) -> tuple[nn.Module, float]:
    """A network trained on all rows. Its weights are kept, too."""
    about = {"what": "original", "rows": len(task.train), "seed": seed, "channels": CHANNELS}
    about |= {"training": knobs.as_json(Training()), "code": code("training")}
    place = folder / f"original-{_digest(about)}.npz"
    if not place.exists():
        module, seconds = trained(task.train, seed)
        state = {name: value.numpy() for name, value in module.state_dict().items()}
        _write(place, {**state, "seconds": np.array(seconds)})
    with np.load(place) as file:
        state = {name: torch.from_numpy(file[name]) for name in file.files if name != "seconds"}
        seconds = float(file["seconds"])
    module = network(seed)
    module.load_state_dict(state)
    return module, seconds


def _margins(seen: Seen) -> NDArray[np.float64]:
    logits, targets = torch.from_numpy(seen.logits), torch.from_numpy(seen.targets)[:, None]
    others = logits.scatter(1, targets, float("-inf")).logsumexp(1)
    return (logits.gather(1, targets)[:, 0] - others).numpy()


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return torch.from_numpy(logits).softmax(1).numpy()


def _kept(folder: Path, about: Mapping[str, Any], make: Any) -> Said:
    place = folder / f"{about['what']}-{_digest(about)}.npz"
    if not place.exists():
        said: Said = make()
        _write(place, {name: np.asarray(value) for name, value in vars(said).items()})
    with np.load(place) as file:
        arrays = {name: file[name] for name in file.files}
    return Said(**{**arrays, "seconds": float(arrays["seconds"])})


def _write(place: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    half = place.with_suffix(".half.npz")
    np.savez(half, **arrays)
    half.rename(place)


def _digest(about: Mapping[str, Any]) -> str:
    return sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]


@cache
def code(method: str) -> str:
    """Digest of what shapes a network: the shared modules, this one, and those of the method."""
    source = Path(expunge.__file__).parent
    files = [Path(__file__), *(source / name for name in _CODE)]
    if method in POSTHOC:
        files += [source.parent / f"{part.replace('.', '/')}.py" for part in _modules(method)]
    return sha256("".join(_meaning(file) for file in files).encode()).hexdigest()


def _modules(method: str) -> list[str]:
    """The method's own module, and those of other methods that it imports."""
    import sys

    own = POSTHOC[method].__module__
    methods = {POSTHOC[name].__module__ for name in POSTHOC}
    found = {getattr(thing, "__module__", "") for thing in vars(sys.modules[own]).values()}
    return sorted({own} | (found & methods))


def _meaning(file: Path) -> str:
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            body[0] = ast.Pass()
    return ast.dump(tree)
