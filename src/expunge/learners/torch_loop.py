"""The training loop: which samples stand in which batch, and one step for each batch."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.core import rng
from expunge.learners.protocol import Samples
from expunge.learners.torch_state import from_numpy
from expunge.learners.torch_steps import Gradients, Stepper


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
    visits: Iterator[NDArray[np.int64]],
    batches: Batches,
    gradients: Gradients,
    stepper: Stepper,
    *,
    pairs: bool,
) -> None:
    """Take one step per batch. Chance comes from PyTorch's generator, which the caller seeds.

    Args:
        visits: The visiting order of each epoch.
        batches: Filled with each batch in turn.
        gradients: Of the batch at hand.
        stepper: Takes the steps.
        pairs: Leave out a batch that is one sample: normalisation by batch finds no spread in
            it. It happens where there is one sample, or one in a part of an epoch.
    """
    for order in visits:
        index = torch.from_numpy(order)
        for begin, end in bounds(len(order), batches.size):
            if end - begin > 1 or not pairs:
                batches.fill(index[begin:end])
                stepper.step(gradients)


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
        self._cut: dict[int, list[tuple[Tensor, Tensor]]] = {}  # by size of batch
        self._rooms = [(whole, whole.new_empty((room, *whole.shape[1:]))) for whole in wholes]

    def fill(self, index: Tensor) -> None:
        """Gather the samples ``index``, (b,)."""
        count = index.shape[0]
        if count not in self._cut:
            self._cut[count] = [(whole, room[:count]) for whole, room in self._rooms]
        self.inputs, self.targets, *weights = [
            torch.index_select(whole, 0, index, out=room) for whole, room in self._cut[count]
        ]
        if weights:
            self.weights = weights[0]
