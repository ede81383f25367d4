"""Layers of a network: which there are, and what they were before any training."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from expunge.core.errors import ModuleUnsuitable


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    """Two-dimensional convolutions whose kernels are trained, in order."""
    found = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    return [layer for layer in found if layer.weight.requires_grad]


def affine(module: nn.Module) -> list[nn.Linear]:
    """Affine layers whose weights are trained, in order."""
    found = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    return [layer for layer in found if layer.weight.requires_grad]


def fresh(module: nn.Module, method: str) -> nn.Module:
    """A copy as it was before training, drawn anew from PyTorch's generator.

    Raises:
        ModuleUnsuitable: A layer has parameters or buffers and does not know how to reset them.
    """
    blank = copy.deepcopy(module)
    for name, layer in blank.named_modules():
        own = [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
        reset: Callable[[], None] | None = getattr(layer, "reset_parameters", None)
        if own and reset is None:
            raise ModuleUnsuitable(
                method,
                f"layer {name or '(itself)'!r} ({type(layer).__name__}) has parameters and no "
                f"`reset_parameters`, so it cannot be drawn anew",
                "Give its class that method, or take another method.",
            )
        if reset is not None:
            reset()
    return blank


@torch.no_grad()
def redraw(layer: nn.Conv2d | nn.Linear, where: Tensor) -> None:
    """Give a layer new weights, as its ``reset_parameters`` draws them, where ``where`` is true."""
    blank = copy.deepcopy(layer)
    blank.reset_parameters()
    layer.weight.copy_(torch.where(where, blank.weight, layer.weight))
