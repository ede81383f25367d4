"""What a post-hoc method works with: a copy of the network, the rows, and one training loop.

A method is a generator over a :class:`Work`: it walks through batches, with a loss of its own, and
yields whenever somebody may look, or stop (after each epoch). All chance comes from the work's
seed, by keyed hashes for orders and draws, and from PyTorch's generators, which the caller has
seeded.

The network's own batch-norm layers learn from each batch, as in training; a batch of one row is
normalised by their running figures instead, because it has no spread of its own.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Final, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from expunge.core import rng
from expunge.core.digest import Json
from expunge.core.errors import ModuleUnsuitable, UnlearningDiverged
from expunge.learners import torch_gradients, torch_steps
from expunge.learners.torch_steps import laid_out
from expunge.methods.empirical.rows import Rows, batches, pairs

T = TypeVar("T")

Regrade: TypeAlias = Callable[[list[Tensor]], list[Tensor]]
"""Changes the gradients of all trained parameters before a step."""

_ROWS: Final = 1_024  # of one pass without gradients


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Around a run: who looks, and how long it may take.

    Attributes:
        unseen: Rows that the network never saw, distributed as those to forget where possible.
        budget_s: Seconds that it may take; None: as long as it needs. Checked before each step. Where
            a run ends depends on the machine's speed then; all else that it does does not.
        progress: Called after each step with how many there were. What it raises ends the run.
        watch: Called after each epoch with the network in evaluation mode, which it must not
            change; True ends the run there.
    """

    unseen: Rows | None = None
    budget_s: float | None = None
    progress: Callable[[int], None] | None = None
    watch: Callable[[nn.Module], bool] | None = None


class OutOfTime(Exception):
    """The budget is spent. Never leaves the loop."""


class Descent:
    """An optimiser over all trained parameters, whose rate can be changed on the way."""

    def __init__(
        self, name: str, options: Mapping[str, Json], over: Sequence[nn.Parameter]
    ) -> None:
        self._name, self._options, self._over = name, dict(options), over
        self._stepper = torch_steps.stepper(name, self._options, over)

    def step(self, gradients: torch_steps.Gradients) -> None:
        """Change the parameters once."""
        self._stepper.step(gradients)

    def at(self, lr: float) -> None:
        """Go on with another rate; momenta stay."""
        if lr == self._options["lr"]:
            return
        self._options["lr"] = lr
        state = self._stepper.state()
        groups = [{**group, "lr": lr} for group in state["param_groups"]]
        self._stepper = torch_steps.stepper(self._name, self._options, self._over)
        self._stepper.load({**state, "param_groups": groups})


class Work:
    """A copy of the network, the rows, and what was done so far.

    Attributes:
        student: The copy that is changed.
        retain: Rows that stay; ``forget``: those to forget.
        parameters: Of the student, those that are trained.
        classes: How many the network tells apart.
        steps: Taken so far.
    """

    def __init__(
        self,
        method: str,
        module: nn.Module,
        retain: Rows,
        forget: Rows,
        seed: int,
        course: Course,
    ) -> None:
        self.method, self.seed, self.course = method, seed, course
        self.retain, self.forget = retain, forget
        self._module = module
        self.student = copied(module, method)
        self.parameters = torch_gradients.trained(self.student)
        self.steps = 0
        self._passes = 0
        self._norms = [m for m in self.student.modules() if isinstance(m, _BatchNorm)]
        self._ends = time.perf_counter() + (course.budget_s or 0.0)

    @property
    def device(self) -> torch.device:
        """Where the network is; batches are brought there."""
        return self.parameters[0].device

    @cached_property
    def original(self) -> nn.Module:
        """The network as it was given, in evaluation mode: a teacher."""
        return copy.deepcopy(self._module).eval()

    @cached_property
    def classes(self) -> int:
        """Width of the network's output."""
        return self.see(self.original, self.forget.take(torch.zeros(1, dtype=torch.int64))).shape[1]

    def sgd(self, lr: float, momentum: float, weight_decay: float = 0.0) -> Descent:
        """Stochastic gradient descent over the student's parameters."""
        options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        return Descent("SGD", options, self.parameters)

    def adam(self, lr: float, weight_decay: float = 0.0) -> Descent:
        """Adam over the student's parameters."""
        return Descent("Adam", {"lr": lr, "weight_decay": weight_decay}, self.parameters)

    def logits(self, batch: Rows) -> Tensor:
        """What the student says in training; (b, classes)."""
        for norm in self._norms:
            norm.train(len(batch) > 1)
        found: Tensor = self.student(batch.inputs.to(self.device))
        return found

    def cross_entropy(self, batch: Rows) -> Tensor:
        """Of the student on a batch; in nats."""
        return functional.cross_entropy(self.logits(batch), batch.targets.to(self.device))

    def batches(self, of: Rows, size: int) -> Iterator[Rows]:
        """All rows once, in an order of this pass."""
        return batches(of, size, self.draw("pass"))

    def pairs(self, one: Rows, other: Rows, size: int) -> Iterator[tuple[Rows, Rows]]:
        """All rows of ``one`` once, in batches, each with a batch of ``other``."""
        return pairs(one, other, size, self.draw("pass"))

    def draw(self, what: str) -> int:
        """A seed that nothing else has."""
        self._passes += 1
        return rng.seed(self.seed, what, self._passes)

    def walk(
        self,
        through: Iterable[T],
        loss: Callable[[T], Tensor],
        descent: Descent,
        regrade: Regrade | None = None,
    ) -> None:
        """One step for each batch, against the gradient of its loss.

        Raises:
            UnlearningDiverged: A loss is not finite.
        """
        self.student.train()
        for batch in through:
            if self.course.budget_s is not None and time.perf_counter() > self._ends:
                raise OutOfTime
            descent.step(partial(self._gradients, partial(loss, batch), regrade))
            self.steps += 1
            if self.course.progress:
                self.course.progress(self.steps)

    def _gradients(
        self, loss: Callable[[], Tensor], regrade: Regrade | None
    ) -> tuple[Callable[[], Tensor], list[Tensor | None]]:
        with torch.enable_grad():
            value = loss()
            self._refuse(value, "its loss is")
            each: Sequence[Tensor | None] = torch.autograd.grad(
                value, self.parameters, allow_unused=True
            )
        whole = [
            torch.zeros_like(p) if g is None else g
            for g, p in zip(each, self.parameters, strict=True)
        ]
        changed = regrade(whole) if regrade else whole
        # Last of all: a product with a mask may be laid out as the mask is.
        laid = [laid_out(g, p) for g, p in zip(changed, self.parameters, strict=True)]
        return value.detach, [*laid]

    def finite(self) -> None:
        """See that parameters and buffers are.

        Raises:
            UnlearningDiverged: They are not.
        """
        for value in self.student.state_dict().values():
            if isinstance(value, Tensor) and value.is_floating_point():
                self._refuse(value, "parameters are")

    def _refuse(self, value: Tensor, what: str) -> None:
        if not bool(torch.isfinite(value.detach()).all()):
            raise UnlearningDiverged(self.method, what, self.steps)

    @torch.no_grad()
    def see(self, module: nn.Module, of: Rows) -> Tensor:
        """Logits of ``module``, which is in evaluation mode, for all rows; (n, classes)."""
        blocks = torch.split(of.inputs, _ROWS)
        return torch.cat([module(block.to(self.device)) for block in blocks])

    def sweep(self, of: Rows, size: int) -> Iterator[tuple[int, list[Tensor]]]:
        """Gradients of the mean cross-entropy of each batch, in order, in evaluation mode.

        Yields:
            How many rows the batch has, and a gradient for each trained parameter.

        Raises:
            UnlearningDiverged: A loss is not finite.
        """
        self.student.eval()
        for inputs, targets in zip(
            *(torch.split(each, size) for each in (of.inputs, of.targets)), strict=True
        ):
            with torch.enable_grad():
                found = self.student(inputs.to(self.device))
                mean = functional.cross_entropy(found, targets.to(self.device))
                self._refuse(mean, "its loss is")
                each: Sequence[Tensor | None] = torch.autograd.grad(
                    mean, self.parameters, allow_unused=True
                )
            whole = zip(each, self.parameters, strict=True)
            yield len(targets), [torch.zeros_like(p) if g is None else g for g, p in whole]

    def gradient(self, of: Rows, size: int) -> list[Tensor]:
        """Of the mean cross-entropy over all rows, in evaluation mode; one for each parameter."""
        total = [torch.zeros_like(parameter) for parameter in self.parameters]
        for count, each in self.sweep(of, size):
            for whole, part in zip(total, each, strict=True):
                whole += part * (count / len(of))
        return total


def copied(module: nn.Module, method: str) -> nn.Module:
    """A copy that shares nothing with ``module``.

    Raises:
        ModuleUnsuitable: It does not let itself be copied.
    """
    try:
        return copy.deepcopy(module)
    except (RuntimeError, TypeError) as problem:
        raise ModuleUnsuitable(
            method,
            f"it cannot be copied ({problem})",
            "Methods change a copy: `copy.deepcopy(module)` must work, so keep tensors that were "
            "computed out of its attributes.",
        ) from problem


def clipped(limit: float | None) -> Regrade | None:
    """Gradients whose norm, over all parameters, is at most ``limit``; None: as they are."""
    if limit is None:
        return None

    def regrade(gradients: list[Tensor]) -> list[Tensor]:
        norm = torch.stack([g.norm() for g in gradients]).norm()
        scale = (limit / norm.clamp_min(torch.finfo(norm.dtype).tiny)).clamp(max=1.0)
        return [gradient * scale for gradient in gradients]

    return regrade


def masked(masks: Sequence[Tensor]) -> Regrade:
    """Gradients times a mask for each parameter."""
    return lambda gradients: [g * m for g, m in zip(gradients, masks, strict=True)]
