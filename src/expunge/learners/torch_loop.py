"""The training loop: which samples stand in which batch, and one step for each batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import floor
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from expunge.core import rng
from expunge.core.errors import RecipeInvalid
from expunge.core.types import Task
from expunge.learners.protocol import Samples
from expunge.learners.torch_state import from_numpy
from expunge.learners.torch_steps import Stepper, laid_out

Loss: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Outputs (b, outputs), targets and weights (b,) of a batch → mean loss."""

_TINY: Final = float(np.finfo(np.float32).tiny)


def orders(tokens: NDArray[np.uint64], seed: int, epochs: float) -> Iterator[NDArray[np.int64]]:
    """The visiting order of each epoch; of a last part of an epoch, its leading part.

    Args:
        tokens: One per sample, (n,).
        seed: Of the slice.
        epochs: May be a fraction; the part is rounded half up to samples.
    """
    whole = floor(epochs)
    for epoch in range(whole):
        yield rng.order(tokens, rng.seed(seed, epoch))
    if part := floor((epochs - whole) * len(tokens) + 0.5):
        yield rng.order(tokens, rng.seed(seed, whole))[:part]


def bounds(count: int, batch: int) -> list[tuple[int, int]]:
    """Cut ``count`` samples into batches; a left-over one joins the batch before it.

    >>> bounds(7, 3)
    [(0, 3), (3, 7)]
    """
    ends = [*range(batch, count, batch), count] if count else []
    if len(ends) > 1 and count - ends[-2] == 1 < batch:
        del ends[-2]
    return list(zip([0, *ends], ends, strict=False))


def fit(
    module: nn.Module,
    stepper: Stepper,
    visits: Iterator[NDArray[np.int64]],
    batches: Batches,
    loss: Loss,
) -> None:
    """Take one step per batch. Chance comes from PyTorch's generator, which the caller seeds.

    A batch that is one sample is left out where the module normalises by batch: one sample
    has no spread. It happens where there is one sample, or one in a part of an epoch.
    """
    module.train()
    parameters = trained(module)
    pairs = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules())

    def gradients() -> tuple[Tensor, list[Tensor | None]]:
        mean = loss(module(batches.inputs), batches.targets, batches.weights)
        each: Sequence[Tensor | None] = torch.autograd.grad(mean, parameters, allow_unused=True)
        return mean.detach(), [
            None if gradient is None else laid_out(gradient, parameter)
            for gradient, parameter in zip(each, parameters, strict=True)
        ]

    with torch.enable_grad():
        for order in visits:
            index = torch.from_numpy(order)
            for begin, end in bounds(len(order), batches.size):
                if end - begin > 1 or not pairs:
                    batches.fill(index[begin:end])
                    stepper.step(gradients)


def trained(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen, in order, each once."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


class Batches:
    """One batch at a time, gathered into the same memory again and again.

    Attributes:
        size: Samples of a batch.
        inputs: Of the batch at hand, (b, *shape); likewise ``targets`` and ``weights``.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None = None

    def __init__(self, samples: Samples, size: int) -> None:
        self.size = size
        targets = samples.targets
        if targets.dtype.kind == "f":
            targets = targets.reshape(len(samples), -1).astype(np.float32)
        wholes = [from_numpy(samples.inputs), from_numpy(targets)]
        if samples.weights is not None:
            wholes.append(from_numpy(samples.weights.astype(np.float32)))
        room = min(size + 1, len(samples))
        self._rooms = [(whole, whole.new_empty((room, *whole.shape[1:]))) for whole in wholes]

    def fill(self, index: Tensor) -> None:
        """Gather the samples ``index``, (b,)."""
        self.inputs, self.targets, *weights = [
            torch.index_select(whole, 0, index, out=room[: len(index)])
            for whole, room in self._rooms
        ]
        if weights:
            self.weights = weights[0]


def loss_of(task: Task) -> Loss:
    """Cross-entropy for classes, mean squared error for values; means weighted by sample.

    A batch whose weights are all 0 has loss 0.
    """
    function: Callable[..., Tensor] = (
        functional.cross_entropy if task.classes else functional.mse_loss
    )

    def loss(outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        if outputs.shape != (len(targets), task.outputs):
            raise RecipeInvalid(
                f"The module returned shape {tuple(outputs.shape)} for a batch, expected "
                f"{(len(targets), task.outputs)}: one row per sample, and one logit per class or "
                f"one value per target. Mend the module's last layer."
            )
        if weights is None:
            return function(outputs, targets)
        each = function(outputs, targets, reduction="none").reshape(len(targets), -1).mean(dim=1)
        return (each * weights).sum() / weights.sum().clamp_min(_TINY)

    return loss
