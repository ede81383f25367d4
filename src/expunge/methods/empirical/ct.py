"""CT: transpose every convolution's kernels, then fine-tune on the rows that stay.

A transposed kernel sees images mirrored at their diagonal: the network keeps all its weights, and
loses what it did with them. Costs ``epochs`` passes over the rows that stay. Uses the rows to
forget not at all. Fails with few epochs, as the network begins far away; refuses networks without
square kernels larger than 1 × 1.

References:
    Fifth solution of the NeurIPS 2023 unlearning challenge, named Convolution Transpose in Cadet et
    al., "Deep Unlearn", arXiv:2410.01276, section 3. Defaults: their code (xcadet/deepunlearn,
    d3dacb6): three epochs, rate 0.001 falling as a cosine, momentum 0.9, weight decay 5·10⁻⁴.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from expunge.core.errors import ModuleUnsuitable
from expunge.core.types import Guarantee
from expunge.methods.empirical import knobs, layers, loop
from expunge.methods.empirical.work import Work


@dataclass(frozen=True, slots=True)
class CT:
    """Transpose kernels, then fine-tune.

    Attributes:
        lr: Learning rate at the beginning.
        epochs: Passes over the rows that stay.
        batch: Rows of a batch.
        momentum: Of the descent.
        weight_decay: Of the descent.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    name: ClassVar[str] = "ct"

    lr: float = 0.001
    epochs: int = 3
    batch: int = 64
    momentum: float = 0.9
    weight_decay: float = 5e-4

    forget = loop.forget

    def __post_init__(self) -> None:
        knobs.check(self)

    def passes(self, work: Work) -> Iterator[None]:
        """One for each epoch."""
        transpose(work.student)
        descent = work.sgd(self.lr, self.momentum, self.weight_decay)
        for epoch in range(self.epochs):
            descent.at(self.lr * cosine(epoch, self.epochs))
            work.walk(work.batches(work.retain, self.batch), work.cross_entropy, descent)
            yield


@torch.no_grad()
def transpose(module: nn.Module) -> None:
    """Swap height and width of all square kernels, in place.

    Raises:
        ModuleUnsuitable: There are none larger than 1 × 1.
    """
    kernels = [layer.weight for layer in layers.convolutions(module)]
    square = [k for k in kernels if k.shape[2] == k.shape[3] > 1]
    if not square:
        raise ModuleUnsuitable(
            CT.name,
            "it has no convolution with a square kernel larger than 1 × 1",
            "Take 'msg', which draws weights of any layer anew, or 'scrub'.",
        )
    for kernel in square:
        kernel.copy_(kernel.transpose(2, 3).clone())


def cosine(epoch: int, epochs: int) -> float:
    """Factor of the rate in ``epoch``, counted from 0: from 1 towards 0, as half a cosine.

    >>> [round(cosine(epoch, 3), 2) for epoch in range(3)]
    [1.0, 0.75, 0.25]
    """
    return 0.5 * (1 + math.cos(math.pi * epoch / epochs))
