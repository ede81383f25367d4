"""Small networks and rows for tests of post-hoc methods."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from expunge.learners.seeding import seeded
from expunge.learners.torch_modules import convnet, mlp
from expunge.methods.empirical.rows import Rows

CLASSES = 3


def rows(count: int, seed: int, shape: tuple[int, ...] = (4,), apart: float = 2.0) -> Rows:
    """Rows around one corner for each class."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % CLASSES
    flat = rng.normal(size=(count, int(np.prod(shape))))
    flat[np.arange(count), targets] += apart
    inputs = torch.from_numpy(flat.reshape(count, *shape).astype(np.float32))
    return Rows(inputs, torch.from_numpy(targets))


def plain(seed: int = 0) -> nn.Sequential:
    """A network without convolutions and batch norm."""
    with seeded(seed):
        return mlp((4,), CLASSES, hidden=(8,))


def convolutional(seed: int = 0) -> nn.Sequential:
    """A network with convolutions, batch norm and dropout; some layers in evaluation mode."""
    with seeded(seed):
        module = convnet((1, 4, 4), CLASSES, channels=(3,), batch_norm=True, dropout=0.2)
    module[1].eval()
    return module


def bits(module: nn.Module) -> list[bytes]:
    """All that a network is: parameters and buffers by their bytes, modes, gradients, what is trained."""
    state = [value.numpy(force=True).tobytes() for value in module.state_dict().values()]
    modes = bytes(layer.training for layer in module.modules())
    trained = bytes(p.requires_grad for p in module.parameters())
    grads = bytes(p.grad is not None for p in module.parameters())
    return [*state, modes, trained, grads]
