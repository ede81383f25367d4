"""Influence corrections against retraining, and against other libraries.

    python benchmarks/influence.py [--quick]

Leave-k-out on two models of MNIST, pixels averaged 2 × 2: a multinomial logistic regression
(1,970 parameters, trained to its minimum) and a small network (3,322 parameters, 200 steps of
Adam), whose retraining is noisy: its ceiling stands beside each of its figures. Then time and memory per
deletion, against kronfluence and pyDVL, on the same two models, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import influence_contest as contest
import numpy as np
import report
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from expunge.core import rng
from expunge.core.errors import CorrectionRejected
from expunge.methods.empirical import influence
from expunge.methods.empirical.influence import Prepared, Problem
from expunge.methods.empirical.influence.correct import Step
from expunge.verify import leave_out
from expunge.verify.leave_out import Agreement, Fitted, Group

SIZES = ("1", "10", "1%", "5%")
_STEPS = 200
INSTALL = (
    "python -m pip install --no-deps kronfluence pydvl accelerate einops einconv opt-einsum tqdm "
    "pyDeprecate more-itertools cloudpickle dask distributed zarr toolz fsspec partd locket click "
    "tblib sortedcontainers msgpack zict tornado numcodecs donfig google-crc32c "
    "'importlib_metadata<8.8' zipp psutil huggingface_hub pandas joblib"
)
NEEDED = {
    "kronfluence": "kronfluence",
    "pydvl": "pydvl",
    "dask": "pyDVL",
    "accelerate": "kronfluence",
}


@dataclass(frozen=True)
class Scale:
    """How much is done; ``quick`` shows that it works."""

    lr_samples: int
    mlp_samples: int
    lr_groups: int
    mlp_groups: int
    masks: int
    contest: int


FULL = Scale(5_000, 1_000, lr_groups=20, mlp_groups=8, masks=30, contest=10)
QUICK = Scale(1_000, 600, lr_groups=3, mlp_groups=3, masks=6, contest=3)


@dataclass(frozen=True)
class Digits:
    """Pooled MNIST: training rows and test rows whose margins are watched, in float64."""

    x: Tensor
    y: Tensor
    probes: Tensor
    labels: Tensor


@cache
def digits(samples: int, probes: int = 100) -> Digits:
    with np.load(report.data_folder() / "mnist.npz") as file:
        pooled = [
            file[f"x_{part}"][:count].reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(-1, 196) / 255
            for part, count in (("train", samples), ("test", probes))
        ]
        labels = [file["y_train"][:samples], file["y_test"][:probes]]
    x, probe = (torch.from_numpy(each) for each in pooled)
    y, label = (torch.from_numpy(each.astype(np.int64)) for each in labels)
    return Digits(x, y, probe, label)


@dataclass(frozen=True)
class Task:
    """A trained model, how it is retrained, and what its corrections predict."""

    name: str
    sizes: list[int]
    data: Digits
    penalty: float
    at: Tensor
    prepared: Prepared
    retrain: Callable[[NDArray[np.bool_], int], Fitted]
    solver: str

    def predict(self, mask: NDArray[np.bool_], step: Step) -> Fitted:
        """What a step changes in parameters and margins."""
        change = step(self.prepared, torch.from_numpy(np.flatnonzero(mask))).direction
        moved = self.see(self.at + change) - self.see(self.at)
        return Fitted(moved, change.double().numpy())

    def see(self, at: Tensor) -> NDArray[np.float64]:
        """Margins of the test rows."""
        with torch.no_grad():
            outputs = self.prepared.problem.outputs(at, self.data.probes.to(at.dtype))
            return contest.margins(outputs, self.data.labels).double().numpy()


def problem(sizes: list[int], data: Digits, penalty: float) -> Problem:
    objective = influence.Objective(penalty=penalty, convention="total")
    return influence.describe(
        contest.network(sizes).double(), influence.Samples(data.x, data.y), objective
    )


def logistic(scale: Scale) -> Task:
    """λ = 10⁻³ for each sample, fixed in total; trained until the gradient is next to nothing."""
    data = digits(scale.lr_samples)
    of = problem([196, 10], data, 1e-3 * len(data.x))
    rows = (data.x, torch.nn.functional.one_hot(data.y, 10).double())
    far = influence.Exact(0.0).prepare(of, torch.zeros_like(of.parameters))
    at = _to_minimum(far.at, rows, float(of.penalty), far)
    prepared = influence.Exact(0.0).prepare(of, at)

    def retrain(mask: NDArray[np.bool_], seed: int) -> Fitted:
        stay = torch.from_numpy(~mask)
        x, y = data.x[stay], torch.nn.functional.one_hot(data.y[stay], 10).double()
        draw = np.random.default_rng(rng.seed("retrain", seed)).normal(size=len(at))
        start = at + 0.01 * torch.from_numpy(draw)
        found = _to_minimum(start, (x, y), float(of.penalty), prepared)

        return Fitted(task.see(found), found.numpy())

    task = Task("lr", [196, 10], data, float(of.penalty), at, prepared, retrain, "exact")
    return task


def _to_minimum(at: Tensor, rows: tuple[Tensor, Tensor], penalty: float, stale: Prepared) -> Tensor:
    """Go on until the gradient, in closed form, is at most 10⁻⁶; parameters are right to 10⁻⁶ / penalty.

    Steps by an old factor, accelerated after Anderson (J. ACM 12, 1965), with a memory of ten.
    """
    x, y = rows
    places, steps = [], []
    for _ in range(200):
        missed = (x @ at[:1960].view(10, 196).T + at[1960:]).softmax(1) - y
        slope = torch.cat([(missed.T @ x).flatten(), missed.sum(0)]) + penalty * at
        if float(slope.norm()) <= 1e-6:
            return at
        places, steps = [*places[-10:], at], [*steps[-10:], -stale.solve(slope).direction]
        at = at + steps[-1]
        if len(steps) > 1:
            moved, turned = (torch.stack(each).diff(dim=0).T for each in (places, steps))
            mixed = torch.linalg.lstsq(turned, steps[-1][:, None], driver="gelsd").solution
            at = at - ((moved + turned) @ mixed)[:, 0]
    sys.exit("A logistic regression did not come to its minimum in 200 steps.")


def network(scale: Scale, groups: Sequence[Group], seeds: Sequence[int]) -> Task:
    """Adam on all samples, 200 steps; all masks and seeds of a share together."""
    data, sizes = digits(scale.mlp_samples), [196, 16, 10]
    penalty = 1e-3 * len(data.x)
    wanted = [np.zeros(len(data.x), dtype=bool), *(group.mask for group in groups)]
    known: dict[tuple[bytes, int], Tensor] = {}
    for seed in seeds:
        for first in range(0, len(wanted), 16):
            part = wanted[first : first + 16]
            found = _descend(np.stack(part), seed, data, sizes, penalty)
            known |= {(mask.tobytes(), seed): at for mask, at in zip(part, found, strict=True)}
    at = known[wanted[0].tobytes(), seeds[0]].double()
    of = problem(sizes, data, penalty)
    prepared = influence.Exact().prepare(of, at)  # damped as by default

    def retrain(mask: NDArray[np.bool_], seed: int) -> Fitted:
        found = known[mask.tobytes(), seed].double()
        return Fitted(task.see(found), found.numpy())

    task = Task("mlp", sizes, data, penalty, at, prepared, retrain, "conjugate")
    return task


def _descend(
    masks: NDArray[np.bool_], seed: int, data: Digits, sizes: list[int], penalty: float
) -> Tensor:
    """Train a network for each mask, side by side; flat parameters (masks, d), as torch orders them."""
    x, count = data.x.float(), len(masks)
    truth = torch.nn.functional.one_hot(data.y, sizes[-1]).float()
    weights = torch.from_numpy(~masks).float()
    draw = np.random.default_rng(rng.seed("network", seed))
    layers = []
    for one, two in pairwise(sizes):
        drawn = torch.from_numpy(draw.normal(size=(two, one)) / np.sqrt(one)).float()
        layers += [drawn.repeat(count, 1, 1), torch.zeros(count, two)]
    parameters = [nn.Parameter(each) for each in layers]
    adam = torch.optim.Adam(parameters, lr=0.01)
    for step in range(_STEPS):
        adam.param_groups[0]["lr"] = 0.01 * (1 - step / _STEPS)  # to come to rest
        adam.zero_grad()
        hidden = torch.tanh(x @ parameters[0].mT + parameters[1][:, None])
        outputs = torch.baddbmm(parameters[3][:, None], hidden, parameters[2].mT)
        losses = -(outputs.log_softmax(2) * truth).sum(2)
        total = (weights * losses).sum() + penalty / 2 * sum(p.square().sum() for p in parameters)
        (total / len(x)).backward()
        adam.step()
    return torch.cat([p.detach().flatten(1) for p in parameters], dim=1)


def groups_of(data: Digits, count: int, masks: int, name: str) -> list[Group]:
    key = rng.seed("benchmark", "influence", name)
    drawn = leave_out.groups(SIZES, count, key, classes=data.y.numpy(), features=data.x.numpy())
    return drawn + leave_out.subsets(len(data.x), masks, key)


def agreement(task: Task, groups: Sequence[Group], seeds: Sequence[int]) -> Agreement:
    """The Newton step for groups; for the LDS the first order, whose scores add up."""
    subsets = {group.mask.tobytes() for group in groups if group.kind == "subset"}

    def predict(mask: NDArray[np.bool_]) -> Fitted:
        step = influence.first_order if mask.tobytes() in subsets else influence.newton
        return task.predict(mask, step)

    return leave_out.measure(task.retrain, predict, groups, seeds)


def figures(name: str, found: Agreement) -> dict[str, float | None]:
    out: dict[str, float | None] = {}
    for row in found.rows:
        where = f"{row.kind}_{row.size.replace('%', 'pct')}"
        if row.kind == "subset":
            out |= {f"{name}_lds": row.spearman, f"{name}_lds_noise_ceiling": row.ceiling_spearman}
            continue
        out |= {
            f"{name}_pearson_{where}": row.pearson,
            f"{name}_spearman_{where}": row.spearman,
            f"{name}_noise_ceiling_{where}": row.ceiling_pearson,
            f"{name}_parameter_error_{where}": row.parameter_error,
        }
        report.say(
            f"{name} {row.kind:8} {row.size:>4}: Pearson {_shown(row.pearson)}, ceiling "
            f"{_shown(row.ceiling_pearson)}, parameters {_shown(row.parameter_error)}, changes "
            f"{row.spread:.2g}"
        )
    errors = [row.parameter_error for row in found.rows if row.kind != "subset"]
    out[f"{name}_parameter_error"] = float(np.mean([e for e in errors if e is not None]))
    report.say(f"{name} LDS {_shown(out[f'{name}_lds'])}")
    return out


def _shown(number: float | None) -> str:
    return "undefined" if number is None else f"{number:.4f}"


def rejected(task: Task, groups: Sequence[Group], step: Step) -> float:
    """Share of groups whose step is refused, as it raises the loss of those that stay."""
    refused = 0
    for group in groups:
        try:
            influence.correct(task.prepared, torch.from_numpy(np.flatnonzero(group.mask)), step)
        except CorrectionRejected:
            refused += 1
    return refused / len(groups)


def compete(task: Task, groups: Sequence[Group]) -> dict[str, float | None]:
    """Time and memory of a deletion of one sample and of ten, for each contender."""
    nobody = np.zeros(len(task.data.x), dtype=bool)
    before = task.retrain(nobody, 0).outputs
    actual = np.array([task.retrain(group.mask, 0).outputs - before for group in groups])
    ones = np.array([group.size == "1" for group in groups])
    out: dict[str, float | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        _write(task, groups, Path(folder))
        # In turns, twice: machines drift, and what is compared must have run at the same time.
        ran = [(name, _contender(name, Path(folder))) for name in 2 * list(contest.CONTENDERS)]
    for name in contest.CONTENDERS:
        found = _merged([each for other, each in ran if other == name])
        seconds, changes = found["seconds"], found["changes"]
        prefix = f"{name}" if task.name == "lr" else f"{task.name}_{name}"
        out |= {
            f"{prefix}_seconds_per_deletion": float(np.median(seconds[ones])),
            f"{prefix}_seconds_per_deletion_of_10": float(np.median(seconds[~ones])),
            f"{prefix}_prepare_seconds": found["prepare_seconds"],
            f"{prefix}_peak_mb": found["peak_mb"],
            f"{prefix}_peak_mb_over_start": found["over_start_mb"],
            f"{prefix}_pearson_random_10": leave_out.statistics.mean_over_outputs(
                leave_out.statistics.pearson, changes[~ones], actual[~ones]
            ),
        }
        report.say(
            f"{task.name} {name:12} {np.median(seconds[ones]):8.3f} s a deletion, after "
            f"{found['prepare_seconds']:.1f} s; peak {found['peak_mb']:,.0f} MB; Pearson "
            f"{_shown(out[f'{prefix}_pearson_random_10'])}"
        )
    return out


def _merged(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each deletion the mean time; of the others the worst memory and the mean preparation."""
    return {
        "seconds": np.mean([each["seconds"] for each in rounds], axis=0),
        "changes": np.array(rounds[0]["changes"]),
        "prepare_seconds": float(np.mean([each["prepare_seconds"] for each in rounds])),
        "peak_mb": max(each["peak_mb"] for each in rounds),
        "over_start_mb": max(each["peak_mb"] - each["before_mb"] for each in rounds),
    }


def _write(task: Task, groups: Sequence[Group], folder: Path) -> None:
    data = task.data
    indices = {f"group{i}": np.flatnonzero(group.mask) for i, group in enumerate(groups)}
    np.savez(
        folder / "task.npz",
        x=data.x.float().numpy(),
        y=data.y.numpy(),
        probes=data.probes.float().numpy(),
        labels=data.labels.numpy(),
        parameters=task.at.numpy(),
        **indices,
    )
    words = {
        "sizes": task.sizes,
        "penalty": task.penalty,
        "groups": len(groups),
        "solver": task.solver,
    }
    (folder / "task.json").write_text(json.dumps(words))


def _contender(name: str, folder: Path) -> dict[str, Any]:
    script = Path(__file__).with_name("influence_contest.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, script, name, folder],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        sys.exit(f"{name} failed in its own process:\n{ran.stderr[-3000:]}")
    return json.loads(ran.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def on_logistic(scale: Scale) -> dict[str, float | None]:
    report.say("Training the logistic regression …")
    task = logistic(scale)
    groups = groups_of(task.data, scale.lr_groups, scale.masks, "lr")
    report.say(f"{len(groups)} groups, two retrainings each …")
    return figures("lr", agreement(task, groups, (0, 1))) | compete(task, contested(groups, scale))


def on_network(scale: Scale) -> dict[str, float | None]:
    report.say("Training the networks …")
    groups = groups_of(digits(scale.mlp_samples), scale.mlp_groups, scale.masks, "mlp")
    task = network(scale, groups, (0, 1, 2))
    out = figures("mlp", agreement(task, groups, (0, 1, 2)))
    few = [group for group in groups if group.kind == "random"]
    out["mlp_rejected_newton_steps"] = rejected(task, few, influence.newton)
    out["mlp_rejected_refit_steps"] = rejected(task, few, influence.refit)
    return out | compete(task, contested(groups, scale))


def contested(groups: Sequence[Group], scale: Scale) -> list[Group]:
    """As many random groups of one sample as of ten."""
    by_size = [[g for g in groups if (g.kind, g.size) == ("random", size)] for size in ("1", "10")]
    return [group for each in by_size for group in each[: scale.contest]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of all, to see that it works")
    scale = QUICK if parser.parse_args().quick else FULL
    if missing := sorted(name for name in NEEDED if find_spec(name) is None):
        sys.exit(
            f"Not installed: {', '.join(missing)}. This benchmark compares with kronfluence and "
            f"pyDVL; into an environment that has torch and Expunge, install them by\n  {INSTALL}"
        )
    torch.set_num_threads(1)
    started = time.perf_counter()
    out: dict[str, Any] = {}

    out |= on_logistic(scale) | on_network(scale)
    out |= {f"samples_{name}": getattr(scale, f"{name}_samples") for name in ("lr", "mlp")}
    out |= {"groups_lr": scale.lr_groups, "groups_mlp": scale.mlp_groups, "quick": scale is QUICK}
    out["total_seconds"] = time.perf_counter() - started
    report.publish("influence", {key: value for key, value in out.items() if value is not None})


if __name__ == "__main__":
    main()
