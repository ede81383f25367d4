"""Predict with many networks at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from expunge.core.types import Task
from expunge.learners.protocol import Inputs, Predictor
from expunge.learners.torch_modules import ACTIVATIONS
from expunge.learners.torch_state import from_numpy

Together: TypeAlias = Callable[[Tensor], Tensor]
"""Inputs (n, *shape) → outputs of all networks, (networks, n, outputs)."""

_ROWS: Final = 512  # of one pass: bounds memory to networks · 512 · the widest layer


def predictor(task: Task, together: Together, states: int) -> Predictor:
    """Turn outputs into probabilities or values, rows in blocks. Safe to call from any thread."""

    @torch.inference_mode()
    def predict(inputs: Inputs) -> NDArray[np.float64]:
        rows = from_numpy(inputs)
        out = np.empty((states, len(rows), task.outputs))
        for begin in range(0, len(rows), _ROWS):
            outputs = together(rows[begin : begin + _ROWS]).double()
            if task.classes:
                outputs = outputs.softmax(dim=-1)
            out[:, begin : begin + _ROWS] = outputs.numpy()
        return out

    return predict


def one_by_one(modules: Sequence[nn.Module]) -> Together:
    """Any networks. `torch.vmap` would break on control flow, and swaps weights, unlocked."""
    return lambda inputs: torch.stack([module(inputs) for module in modules])


def stacked(modules: Sequence[nn.Module]) -> Together:
    """Networks of our own, alike but for their weights: all of them in step, layer by layer.

    Layers before the first with weights see inputs that are the same for all networks, (n, …);
    those behind it see what each network made of them, (networks, n, …).
    """
    layers: list[Together] = []
    apart = False
    for alike in zip(*modules, strict=True):
        layers.append(_stack(alike, apart))
        apart = apart or isinstance(alike[0], nn.Linear | nn.Conv2d)

    def together(values: Tensor) -> Tensor:
        for layer in layers:
            values = layer(values)
        return values

    return together


def _stack(alike: Sequence[nn.Module], apart: bool) -> Together:
    """One layer for all networks; ``apart`` where they have gone different ways before it."""
    layer = alike[0]
    if isinstance(layer, nn.Linear):
        return _affine(alike)  # type: ignore[arg-type]  # alike
    if isinstance(layer, nn.Conv2d):
        return _convolve(alike, apart)
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return _normalise(alike)  # type: ignore[arg-type]  # alike
    if isinstance(layer, nn.Flatten | nn.MaxPool2d) and apart:
        return lambda values: layer(values.flatten(0, 1)).unflatten(0, values.shape[:2])
    assert isinstance(
        layer, (nn.Flatten, nn.Unflatten, nn.MaxPool2d, nn.Dropout, *ACTIVATIONS.values())
    )
    return layer  # the same for all, and not training


def _convolve(alike: Sequence[nn.Module], apart: bool) -> Together:
    """Each in turn: a convolution is work enough to be called by itself."""
    if apart:
        return lambda values: torch.stack([c(v) for c, v in zip(alike, values, strict=True)])
    return lambda values: torch.stack([each(values) for each in alike])


def _affine(alike: Sequence[nn.Linear]) -> Together:
    weight = torch.stack([layer.weight.detach() for layer in alike])
    bias = torch.stack([layer.bias.detach() for layer in alike])

    def affine(values: Tensor) -> Tensor:
        if values.ndim == 2:  # the same inputs for all: one wide product
            wide = functional.linear(values, weight.flatten(0, 1), bias.flatten())
            return wide.view(len(values), *bias.shape).transpose(0, 1)
        return torch.baddbmm(bias[:, None], values, weight.mT)

    return affine


def _normalise(alike: Sequence[nn.BatchNorm1d | nn.BatchNorm2d]) -> Together:
    planes = (1, 1) if isinstance(alike[0], nn.BatchNorm2d) else ()

    def each(name: str) -> Tensor:
        stack = torch.stack([getattr(layer, name).detach() for layer in alike])
        return stack.view(len(stack), 1, -1, *planes)

    scale = each("weight") / torch.sqrt(each("running_var") + alike[0].eps)
    shift = each("bias") - each("running_mean") * scale
    return lambda values: values * scale + shift
