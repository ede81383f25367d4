"""One contender of the benchmark of influence corrections, in a process of its own.

    python benchmarks/influence_contest.py ours|kronfluence|pydvl FOLDER

Reads the task from FOLDER (written by ``influence.py``), predicts for each group what its removal
changes in the margins, and prints one line of JSON: times, memory, predictions. All have one
thread, float32 parameters, and the penalty as their damping, which is exact for what was trained.

kronfluence 1.0.1 and pyDVL 0.10.0 are read here. Both estimate; neither changes a model.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

# From indices of who leaves to changes of the margins: (q,).
Predict: TypeAlias = Callable[[Tensor], NDArray[np.float64]]


@dataclass(frozen=True)
class Contest:
    """A trained model and what is to be predicted about it.

    The objective is the total of the losses and ½ ``penalty`` ‖θ‖²: a leaving sample then takes no
    share of a penalty along, which the others could not be told of.
    """

    x: Tensor
    y: Tensor
    probes: Tensor
    labels: Tensor
    model: nn.Module
    penalty: float
    groups: list[Tensor]
    solver: str


def network(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for one, two in pairwise(sizes):
        layers += [nn.Linear(one, two), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def margins(outputs: Tensor, labels: Tensor) -> Tensor:
    """The right logit less the log-sum-exp of the others: (q,)."""
    right = outputs.gather(1, labels[:, None])[:, 0]
    others = outputs.scatter(1, labels[:, None], float("-inf"))
    return right - others.logsumexp(1)


def load(folder: Path) -> Contest:
    task = json.loads((folder / "task.json").read_text())
    with np.load(folder / "task.npz") as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    model = network(task["sizes"])
    vector = arrays["parameters"].float()
    nn.utils.vector_to_parameters(vector, model.parameters())
    groups = [arrays[f"group{i}"] for i in range(task["groups"])]
    data = (arrays["x"].float(), arrays["y"], arrays["probes"].float(), arrays["labels"])
    return Contest(*data, model.eval(), task["penalty"], groups, task["solver"])


def ours(contest: Contest, _: Path) -> Predict:
    """The Newton step and its check on those that stay; margins of the corrected model."""
    from expunge.core.errors import CorrectionRejected
    from expunge.methods.empirical import influence

    samples = influence.Samples(contest.x, contest.y)
    objective = influence.Objective(penalty=contest.penalty, convention="total")
    of = influence.describe(contest.model, samples, objective)
    solver = {"exact": influence.Exact(0.0), "conjugate": influence.Conjugate(0.0, tolerance=1e-4)}
    prepared = solver[contest.solver].prepare(of, of.parameters)

    def see(at: Tensor) -> Tensor:
        with torch.no_grad():
            return margins(of.outputs(at, contest.probes), contest.labels).double()

    before = see(of.parameters)

    def predict(leaving: Tensor) -> NDArray[np.float64]:
        try:
            at = influence.correct(prepared, leaving).parameters
        except CorrectionRejected:  # of a network that is not at its minimum
            at = of.parameters + influence.newton(prepared, leaving).direction
        return (see(at) - before).numpy()

    return predict


def pydvl(contest: Contest, _: Path) -> Predict:
    """Conjugate gradients on the Gauss-Newton matrix, with a Nyström preconditioner; or direct."""
    from pydvl.influence import torch as theirs
    from torch.utils.data import DataLoader, TensorDataset

    count = len(contest.x)
    damping = contest.penalty / count  # their curvature is a mean
    if contest.solver == "exact":
        influence = theirs.DirectInfluence(contest.model, cross_entropy, regularization=damping)
    else:
        influence = theirs.CgInfluence(
            contest.model,
            cross_entropy,
            regularization=damping,
            rtol=1e-4,
            preconditioner=theirs.NystroemPreconditioner(rank=64),
            solve_simultaneously=True,
            second_order_mode=theirs.SecondOrderMode.GAUSS_NEWTON,
        )
    loader = DataLoader(TensorDataset(contest.x, contest.y), batch_size=count)
    fitted = influence.fit(loader)

    slopes = _slopes(contest)

    def predict(leaving: Tensor) -> NDArray[np.float64]:
        factors = fitted.influence_factors(contest.x[leaving], contest.y[leaving])
        step = factors.detach().reshape(len(leaving), -1).sum(0) / count
        return (slopes @ step).double().numpy()

    return predict


def _slopes(contest: Contest) -> Tensor:
    """Gradients of the margins by the parameters: (q, d)."""
    named = {name: p.detach() for name, p in contest.model.named_parameters()}

    def one(parameters: dict[str, Tensor]) -> Tensor:
        outputs = torch.func.functional_call(contest.model, parameters, (contest.probes,))
        return margins(outputs, contest.labels)

    found = torch.func.jacrev(one)(named)
    return torch.cat([each.flatten(1) for each in found.values()], dim=1)


def kronfluence(contest: Contest, folder: Path) -> Predict:
    """EK-FAC, as it comes, damped by the penalty."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task
    from torch.utils.data import TensorDataset

    class Margins(Task):
        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
            outputs = model(batch[0])
            labels = batch[1]
            if sample:
                labels = torch.multinomial(outputs.detach().softmax(1), 1)[:, 0]
            return cross_entropy(outputs, labels, reduction="sum")

        def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
            return margins(model(batch[0]), batch[1]).sum()

    task, count = Margins(), len(contest.x)
    train = TensorDataset(contest.x, contest.y)
    queries = TensorDataset(contest.probes, contest.labels)
    model = prepare_model(contest.model, task)
    analyzer = Analyzer(
        "contest", model, task, cpu=True, disable_tqdm=True, output_dir=str(folder / "kron")
    )
    analyzer.fit_all_factors(
        "factors",
        train,
        per_device_batch_size=count,
        factor_args=FactorArguments(strategy="ekfac"),
        overwrite_output_dir=True,
    )

    def predict(leaving: Tensor) -> NDArray[np.float64]:
        analyzer.compute_pairwise_scores(
            "scores",
            "factors",
            queries,
            train,
            per_device_query_batch_size=len(queries),
            per_device_train_batch_size=len(leaving),
            train_indices=leaving.tolist(),
            score_args=ScoreArguments(damping_factor=contest.penalty / count),
            overwrite_output_dir=True,
        )
        scores = analyzer.load_pairwise_scores("scores")["all_modules"]
        return (scores.double().sum(1) / count).numpy()

    return predict


CONTENDERS = {"ours": ours, "kronfluence": kronfluence, "pydvl": pydvl}


def memory_mb(which: str) -> float:
    """``VmRSS``: resident now; ``VmHWM``: at most. Not getrusage's: that begins with the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(which)) / 1024


def compete(name: str, folder: Path) -> dict[str, Any]:
    contest = load(folder)
    CONTENDERS["ours"](_tiny(), folder)  # so that nobody is charged for PyTorch's lazy imports
    # The kernel then forgets the peak so far, and counts anew.
    Path("/proc/self/clear_refs").write_text("5")
    before_mb = memory_mb("VmRSS")
    started = time.perf_counter()
    predict = CONTENDERS[name](contest, folder)
    predict(contest.groups[0])
    prepared = time.perf_counter()
    changes, seconds = [], []
    for group in contest.groups:
        began = time.perf_counter()
        changes.append(predict(group).tolist())
        seconds.append(time.perf_counter() - began)
    return {
        "prepare_seconds": prepared - started,
        "seconds": seconds,
        "changes": changes,
        "peak_mb": memory_mb("VmHWM"),
        "before_mb": before_mb,
    }


def _tiny() -> Contest:
    x, y = torch.ones(4, 2), torch.zeros(4, dtype=torch.int64)
    return Contest(x, y, x, y, network([2, 2]), 1.0, [], "exact")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(json.dumps(compete(sys.argv[1], Path(sys.argv[2]))))
