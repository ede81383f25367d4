"""Certified convex models: solved again after each request, and released with fresh chance.

Where features are no integers, no minimiser can be known to the last bit, so a model cannot be
exact. It can be proved to be near the exact minimiser, and what is published hides the rest: each
weight is rounded after a secret shift (epsilon 0), or gets normal noise. Only what was
published is ever kept: the next request starts from it, with factors made of the remaining rows.

Each published state is another release, and somebody may have seen them all: the certificate names
the sum. ``docs/certified.md`` has the proofs.

References:
    ``expunge.learners.convex.release``; Guo et al., ICML 2020, arXiv:1911.03030 (the definition).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from expunge.core.digest import Json
from expunge.core.errors import FormatUnsupported, RecipeInvalid
from expunge.core.types import Guarantee, Task
from expunge.learners import encoding
from expunge.learners.convex import accounting, problems, release
from expunge.learners.convex.losses import Floats
from expunge.learners.convex.objective import objective
from expunge.learners.convex.release import Released
from expunge.learners.convex.solve import Solution, minimise
from expunge.learners.protocol import Features, Forgot, Predictor, Promise, Samples, Step
from expunge.learners.state import dump, parse

_FORMAT = 1


@dataclass(frozen=True)
class Certified:
    """A penalised linear model: what is released of the minimiser of Σ wᵢ·loss(xᵢ·v, yᵢ) + (λ/2)‖v‖².

    Features are the columns as :func:`expunge.learners.encoding.dense` scales them, and a column of
    ones. Bytes are not repeatable, on purpose. Costs what :class:`expunge.Convex` does.

    Attributes:
        loss: As in :class:`expunge.Convex`.
        penalty: λ > 0, on the sum of losses and on all weights, the intercept's too.
        epsilon: Of each release; 0: dithered rounding, which needs none.
        delta: Of each release, at most; with an epsilon, exactly.
        within: Declared bound on the distance to the exact minimiser. Unit: weight.
        grid: Distance between two published values of a weight, a power of two.
        knee: As in :class:`expunge.Convex`.

    Raises:
        RecipeInvalid: A field is out of its range, or the loss does not fit the target.
        GuaranteeUnproved: No bound, or none as small, can be proved for this model or these rows.
    """

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scipy")
    guarantee: ClassVar[Guarantee] = Guarantee.CERTIFIED
    method: ClassVar[str] = "certified"
    canonical: ClassVar[bool] = False

    loss: str = "logistic"
    penalty: float = 1.0
    epsilon: float = 0.0
    delta: float = 1e-5
    within: float = 1e-9
    grid: float = 2.0**-7
    knee: float = 1.0

    def __post_init__(self) -> None:
        problems.check_known(self.loss)
        for name in ("penalty", "delta", "within", "grid", "knee"):
            if not 0 < getattr(self, name) < math.inf:
                raise RecipeInvalid(f"`{name}` must be above 0, got {getattr(self, name)}.")
        if not (0 <= self.epsilon < math.inf and self.delta < 1):
            raise RecipeInvalid(
                f"`epsilon` must be at least 0 and `delta` below 1, got {self.epsilon} and {self.delta}."
            )

    def check(self, task: Task) -> None:
        """See that the loss fits the targets, and that the guarantee can be given."""
        problems.check_fits(self.loss, task)
        if self.epsilon and problems.count(self.loss, task) > 1:
            raise RecipeInvalid(
                "Noise is accounted for one problem, and this target makes several. Use "
                "`loss='multinomial'`, or `epsilon=0`."
            )
        self._terms(task)

    def encode(self, task: Task, features: Features) -> NDArray[np.float32]:
        """Encode rows by the schema alone."""
        return encoding.dense(task.features, features)

    def learn(self, task: Task, parent: bytes | None, samples: Samples, step: Step) -> bytes:
        """Solve and release. A parent, which is a release itself, only makes it faster."""
        x = _with_ones(samples.inputs)
        starts = _read(parent) if parent is not None else {}
        found = {}
        every = problems.each(self.loss, self.knee, task, samples.targets)
        for number, (loss, targets) in enumerate(every):
            whole = objective(loss, x, targets, penalty=self.penalty, weights=samples.weights)
            name = f"weights.{number:05d}"
            solution = minimise(whole, within=self.within, start=starts.get(name))
            found[name] = self._release(solution)
        return dump({"format": _FORMAT}, found)

    def forget(self, task: Task, state: bytes, stay: Samples, gone: Samples) -> Forgot:
        """Solve again over those that stay, from what was published, and release anew."""
        return Forgot(self.learn(task, state, stay, Step(0, 1.0)), {"rows": len(stay)})

    def promise(self, task: Task, releases: int) -> Promise:
        """Epsilon and delta of so many releases together, and of each."""
        each = self._terms(task)
        total: dict[str, Json] = {
            "epsilon": 0.0,
            "delta": accounting.dithered_composed([each.delta] * releases),
        }
        if each.mu is not None:
            mu = accounting.gaussian_composed([each.mu] * releases)
            total = {"epsilon": accounting.gaussian_epsilon(mu, self.delta), "delta": self.delta}
        apart: dict[str, Json] = {
            "releases": releases,
            "epsilon_per_release": each.epsilon,
            "delta_per_release": each.delta,
            "mechanism": each.mechanism,
            "within": each.within,
            "grid": each.grid,
            "sigma": each.sigma,
            "rounding_slack": each.slack,
            "adaptive": each.adaptive,
            "adaptive_because": each.adaptive_because,
        }
        return Promise(Guarantee.CERTIFIED, each.comparator, each.assumptions, {**total, **apart})

    def predictor(self, task: Task, states: Sequence[bytes]) -> Predictor:
        """Probabilities per declared class, or values per target, of each state."""
        models = [_weights(_read(state)) for state in states]

        def predict(inputs: NDArray[np.float32]) -> NDArray[np.float64]:
            x = _with_ones(inputs)
            return np.stack([problems.answers(self.loss, x @ weights) for weights in models])

        return predict

    def _terms(self, task: Task) -> Released:
        """What can be said of each release of all weights together."""
        outputs = (
            len(task.classes) if self.loss == "multinomial" else problems.count(self.loss, task)
        )
        if self.epsilon:
            return release.gaussian_terms(
                within=self.within, grid=self.grid, epsilon=self.epsilon, delta=self.delta
            )
        # Each problem is within the bound by itself: together they are √problems times as far.
        within = self.within * math.sqrt(problems.count(self.loss, task))
        parameters = (encoding.width(task.features) + 1) * outputs
        return release.dithered_terms(
            parameters, within=within, grid=self.grid, most_delta=self.delta
        )

    def _release(self, solution: Solution) -> Floats:
        if self.epsilon:
            weights, _ = release.gaussian(
                solution,
                within=self.within,
                grid=self.grid,
                epsilon=self.epsilon,
                delta=self.delta,
            )
            return weights
        weights, _ = release.dithered(
            solution, within=self.within, grid=self.grid, most_delta=self.delta
        )
        return weights


def _with_ones(inputs: NDArray[np.float32]) -> Floats:
    return np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1, dtype=np.float64)


def _weights(arrays: Mapping[str, NDArray[Any]]) -> Floats:
    found = [arrays[name] for name in sorted(arrays)]
    return np.concatenate([one.reshape(len(one), -1) for one in found], axis=1)


def _read(state: bytes) -> dict[str, NDArray[Any]]:
    meta, arrays = parse(state)
    if meta["format"] != _FORMAT:
        raise FormatUnsupported("A checkpoint of a certified model", meta["format"], _FORMAT)
    return arrays
