"""Networks whose owner declares that they forget by an influence correction.

A request then costs one step instead of a training. The step knows the curvature of the loss, not how
the network was trained, so nothing is promised beyond what audits measure: ``empirical``. A step that
raises the loss of the samples that stay is not taken; the network is then built again without the
others, which is exact.

The optimiser's state knew the samples that leave, so it is made afresh. Networks with buffers (running
statistics of batch normalisation) are refused: a step corrects parameters, and their statistics
would still know those samples.

References:
    ``expunge.methods.empirical.influence.correct``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge import learners
from expunge.core.digest import Json
from expunge.core.errors import RecipeInvalid
from expunge.core.types import Guarantee, Task
from expunge.learners.protocol import Features, Forgot, Predictor, Promise, Samples, Step
from expunge.learners.torch import Torch
from expunge.learners.torch_state import from_numpy
from expunge.methods.empirical.influence import problem
from expunge.methods.empirical.influence.conjugate import Conjugate
from expunge.methods.empirical.influence.correct import (
    Correction,
    correct,
    first_order,
    newton,
    refit,
)
from expunge.methods.empirical.influence.exact import Exact
from expunge.methods.empirical.influence.lissa import Lissa
from expunge.methods.empirical.influence.problem import Objective, Problem
from expunge.methods.empirical.influence.solver import Curvature

_STEPS: Final = {"refit": refit, "newton": newton, "first-order": first_order}
_HALVINGS: Final = 20
_FACTORED: Final = 5_000  # parameters up to which a factorisation is the cheapest
_COMPARATOR: Final = (
    "The model that the same recipe makes from the rows that remain. How near this one is to it is "
    "not known; it was corrected by one step, not built again."
)
_DECAY: Final = "weight_decay"


@dataclass(frozen=True)
class Influence:
    """A network that forgets by one step along its loss's curvature.

    Attributes:
        learner: The network: a :class:`expunge.Torch`, or its fields.
        step: ``refit`` goes down the loss of those that stay, from wherever training stopped, and
            is halved while it is too long; ``newton`` and ``first-order`` take out what those that leave put in, and suppose that
            training came to its end.
        solver: ``auto`` (``exact`` up to 5,000 parameters, then ``conjugate``), ``exact``,
            ``conjugate`` or ``lissa``.
        damping: Added to the curvature's diagonal; None: a tenth of its mean eigenvalue.
        memory_mb: Cap on the solver's working memory. Unit: 2²⁰ bytes.

    Raises:
        RecipeInvalid: A field is out of its range, or the network has buffers.
    """

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("torch", "numpy")
    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    method: ClassVar[str] = "influence"
    canonical: ClassVar[bool] = True

    learner: Torch | Mapping[str, Any] = field(default_factory=Torch)
    step: str = "refit"
    solver: str = "auto"
    damping: float | None = None
    memory_mb: int = 1024

    def __post_init__(self) -> None:
        object.__setattr__(self, "learner", _network(self.learner))
        if self.step not in _STEPS:
            raise RecipeInvalid(f"`step` must be one of {', '.join(_STEPS)}, got {self.step!r}.")
        if self.solver not in ("auto", "exact", "conjugate", "lissa"):
            raise RecipeInvalid(
                f"`solver` must be auto, exact, conjugate or lissa, got {self.solver!r}."
            )
        if self.damping is not None and not 0 <= self.damping < math.inf:
            raise RecipeInvalid(f"`damping` must be at least 0, got {self.damping}.")
        if self.memory_mb < 1:
            raise RecipeInvalid(f"`memory_mb` must be at least 1, got {self.memory_mb}.")

    @property
    def network(self) -> Torch:
        """The learner of the network."""
        return self.learner  # type: ignore[return-value]  # made so above

    def check(self, task: Task) -> None:
        """See that a step can correct all that the network learns."""
        if count := len(list(self.network.fresh(task).buffers())):
            raise RecipeInvalid(
                f"The network has {count} buffers, such as running statistics, which no step can "
                f"correct. Use one without, such as group or layer normalisation; or train the "
                f"learner by itself, which is rebuilt for each request."
            )

    def encode(self, task: Task, features: Features) -> NDArray[np.float32]:
        """As the network's learner does."""
        return self.network.encode(task, features)

    def learn(self, task: Task, parent: bytes | None, samples: Samples, step: Step) -> bytes:
        """As the network's learner does."""
        return self.network.learn(task, parent, samples, step)

    def predictor(self, task: Task, states: Sequence[bytes]) -> Predictor:
        """As the network's learner does."""
        return self.network.predictor(task, states)

    def forget(self, task: Task, state: bytes, stay: Samples, gone: Samples) -> Forgot:
        """Take one step away from ``gone``. Costs a few passes over all samples.

        Raises:
            CorrectionRejected: The step raises the loss of those that stay.
            CorrectionFailed: No step was found.
            MemoryCapTooSmall: The solver needs more than ``memory_mb``.
        """
        module = self.network.network(task, state)
        described = problem.describe(
            module,
            _joined(task, stay, gone),
            Objective(problem.cross_entropy if task.classes else mean_squared, self._penalty()),
            memory_bytes=self.memory_mb << 20,
        )
        leaving = torch.arange(len(stay), len(stay) + len(gone))
        prepared = self._solver(described).prepare(described, described.parameters)
        halvings = _HALVINGS if self.step == "refit" else 0
        made = correct(prepared, leaving, _STEPS[self.step], halvings)
        module.load_state_dict(described.named(made.parameters), strict=False)
        return Forgot(self.network.renewed(task, state, module), _figures(self, described, made))

    def promise(self, task: Task, releases: int) -> Promise:
        """Nothing beyond what audits measured."""
        return Promise(Guarantee.EMPIRICAL, _COMPARATOR)

    def _solver(self, described: Problem) -> Curvature:
        if self.solver == "exact" or (self.solver == "auto" and described.size <= _FACTORED):
            return Exact(self.damping)
        return Lissa(self.damping) if self.solver == "lissa" else Conjugate(self.damping)

    def _penalty(self) -> float:
        # In a loss, as PyTorch's optimisers have it but for AdamW, where it is none of the loss.
        decay = (self.network.optimiser_options or {}).get(_DECAY, 0.0)
        return 0.0 if self.network.optimiser == "AdamW" else float(decay)  # type: ignore[arg-type]  # a number


def mean_squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error of each sample, its mean over the outputs, as the network's learner has it; (n,)."""
    return (outputs - targets.reshape(outputs.shape)).square().flatten(1).mean(1)


def _network(given: Torch | Mapping[str, Any]) -> Torch:
    if isinstance(given, Mapping):
        made = learners.from_json(given) if "revision" in given else Torch(**given)
    else:
        made = given
    if not isinstance(made, Torch):
        raise RecipeInvalid(f"`learner` must be a Torch network, got {type(made).__name__}.")
    return made


def _joined(task: Task, stay: Samples, gone: Samples) -> problem.Samples:
    """Those that stay, and behind them those that leave."""
    inputs = np.concatenate([stay.inputs, gone.inputs])
    targets = np.concatenate([stay.targets, gone.targets])
    wide = targets if task.classes else targets.astype(np.float32)
    parts = [one.weights for one in (stay, gone) if one.weights is not None]
    weights = from_numpy(np.concatenate(parts)) if parts else None  # a view weighs all, or none
    return problem.Samples(from_numpy(inputs), from_numpy(wide), weights)


def _figures(self: Influence, described: Problem, made: Correction) -> dict[str, Json]:
    return {
        "step": self.step,
        "parameters": described.size,
        "residual": made.solved.residual,
        "damping": made.solved.damping,
        "iterations": made.solved.iterations,
        "step_norm": made.solved.step_norm,
        "share": made.share,
        "retain_loss_before": made.retain_loss_before,
        "retain_loss_after": made.retain_loss_after,
    }
