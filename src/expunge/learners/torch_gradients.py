"""Losses and their gradients: by autograd, and in closed form for plain networks of our own.

For small networks the bookkeeping of autograd costs as much as the products. Affine
layers with ReLU between them need none: their gradients are written out here. Both ways give the
same gradients but for rounding, and each recipe always goes the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Task
from expunge.learners.torch_loop import Batches
from expunge.learners.torch_steps import Gradients, Loss, laid_out

_behind_relu: Final = torch.ops.aten.threshold_backward.default
_TINY: Final = float(np.finfo(np.float32).tiny)


def by_autograd(module: nn.Module, batches: Batches, task: Task) -> Gradients:
    """Of any module."""
    parameters = trained(module)

    def gradients() -> tuple[Loss, list[Tensor | None]]:
        with torch.enable_grad():
            mean = _loss(task, module(batches.inputs), batches)
            each: Sequence[Tensor | None] = torch.autograd.grad(mean, parameters, allow_unused=True)
        return mean.detach, [
            None if gradient is None else laid_out(gradient, parameter)
            for gradient, parameter in zip(each, parameters, strict=True)
        ]

    return gradients


def has_closed_form(module: nn.Module) -> bool:
    """Whether ``module``, which is of our own, is affine layers with ReLU between them."""
    return all(isinstance(layer, nn.Flatten | nn.Linear | nn.ReLU) for layer in module.children())


def in_closed_form(module: nn.Module, batches: Batches, task: Task) -> Gradients:
    """Of a module that :func:`has_closed_form`."""
    layers = [layer for layer in module.children() if isinstance(layer, nn.Linear)]
    weights = [(layer.weight.detach(), layer.bias.detach()) for layer in layers]

    def gradients() -> tuple[Loss, list[Tensor | None]]:
        seen = [batches.inputs.flatten(1)]
        for weight, bias in weights[:-1]:
            seen.append(torch.addmm(bias, seen[-1], weight.t()).relu_())
        weight, bias = weights[-1]
        outputs = torch.addmm(bias, seen[-1], weight.t())
        error = _error(task, outputs, batches)
        each: list[Tensor | None] = []
        for (weight, _), values in zip(reversed(weights), reversed(seen), strict=True):
            each += [error.sum(0), torch.mm(error.t(), values)]
            if values is not seen[0]:
                error = _behind_relu(torch.mm(error, weight), values, 0)
        return partial(_loss, task, outputs, batches), each[::-1]

    return torch.no_grad()(gradients)


def trained(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen, in order, each once."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _loss(task: Task, outputs: Tensor, batches: Batches) -> Tensor:
    """Cross-entropy for classes, mean squared error for values; means weighted by sample.

    A batch whose weights are all 0 has loss 0.
    """
    targets, weights = batches.targets, batches.weights
    if outputs.shape != (len(targets), task.outputs):
        raise RecipeInvalid(
            f"The module returned shape {tuple(outputs.shape)} for a batch, expected "
            f"{(len(targets), task.outputs)}: one row per sample, and one logit per class or "
            f"one value per target. Mend the module's last layer."
        )
    function: Callable[..., Tensor] = (
        functional.cross_entropy if task.classes else functional.mse_loss
    )
    if weights is None:
        return function(outputs, targets)
    each = function(outputs, targets, reduction="none").reshape(len(targets), -1).mean(dim=1)
    return (each * weights).sum() / weights.sum().clamp_min(_TINY)


def _error(task: Task, outputs: Tensor, batches: Batches) -> Tensor:
    """Derivative of the loss by ``outputs``."""
    if task.classes:
        error = outputs.softmax(1)
        error.scatter_(1, batches.targets[:, None], -1.0, reduce="add")
    else:
        error = (outputs - batches.targets).mul_(2 / task.outputs)
    if batches.weights is None:
        return error.div_(len(error))
    return error.mul_((batches.weights / batches.weights.sum().clamp_min(_TINY))[:, None])
