"""The strongest plain PyTorch loops that a person would write by hand: the engine's baseline.

``nn.Sequential``, batches by ``x[index]``, momentum SGD, the default and the fused one, one
thread. They do nothing but train: no data layer, no names, no checkpoints.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

BATCH = 64


def samples_per_second(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[str, float]:
    """Speed of each loop over two epochs, after a warm-up; one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        x = torch.from_numpy(pixels.astype(np.float32) / 255)
        y = torch.from_numpy(labels)
        return {name: _rate(x, y, fused=name == "fused") for name in ("default", "fused")}
    finally:
        torch.set_num_threads(threads)


def training_seconds(pixels: NDArray[np.uint8], labels: NDArray[np.int64], epochs: int) -> float:
    """One whole training by the fused loop; one thread, nothing but training."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        generator = torch.Generator().manual_seed(0)
        started = time.perf_counter()
        x = torch.from_numpy(pixels.astype(np.float32) / 255)
        y = torch.from_numpy(labels)
        model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
        for _ in range(epochs):
            _train(model, optimiser, x, y, torch.randperm(len(x), generator=generator))
        return time.perf_counter() - started
    finally:
        torch.set_num_threads(threads)


def _rate(x: torch.Tensor, y: torch.Tensor, *, fused: bool) -> float:
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=fused)
    generator = torch.Generator().manual_seed(0)
    _train(model, optimiser, x, y, torch.randperm(6400, generator=generator))
    # Of the size of a shard's slices on average: 1,500 samples that stay in the cache.
    order = torch.cat([torch.randperm(1500, generator=generator) for _ in range(60)])
    started = time.perf_counter()
    _train(model, optimiser, x, y, order)
    return len(order) / (time.perf_counter() - started)


def _train(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    x: torch.Tensor,
    y: torch.Tensor,
    order: torch.Tensor,
) -> None:
    loss_of = nn.CrossEntropyLoss()
    for start in range(0, len(order), BATCH):
        index = order[start : start + BATCH]
        optimiser.zero_grad()
        loss_of(model(x[index]), y[index]).backward()
        optimiser.step()
