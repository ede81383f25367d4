"""SalUn: random labels, but only for the weights that the rows to forget speak to most.

A mask marks the half of all weights where the gradient of the forgetting loss is largest; the others
stay as they are, bit for bit. Costs what random labels cost, and one pass for the mask. Fails as random labels
do; with a mask of few weights it forgets little.

References:
    Fan et al., "SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency", ICLR
    2024, arXiv:2310.12508, section 4, equations 3 (the mask), 4 and 5. The equations draw labels that are not the
    row's own; the published code may draw it, too: we follow the paper. Defaults: that code: half of the weights by the median of
    |gradient| over the whole network, rate 0.013, ten epochs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from expunge.core.types import Guarantee
from expunge.methods.empirical import knobs, loop
from expunge.methods.empirical.random_labels import relabel_epoch
from expunge.methods.empirical.work import Work, masked


@dataclass(frozen=True, slots=True)
class SalUn:
    """Teach other labels to the salient weights.

    Attributes:
        share: Of the weights, how many are salient and change; in (0, 1].
        lr: Learning rate.
        epochs: Passes over all rows.
        forget_batch: Rows of a batch of those to forget; small ones are more steps.
        batch: Rows of a batch of those that stay.
        momentum: Of the descent.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    name: ClassVar[str] = "salun"

    share: float = 0.5
    lr: float = 0.013
    epochs: int = 10
    forget_batch: int = 64
    batch: int = 64
    momentum: float = 0.9

    forget = loop.forget

    def __post_init__(self) -> None:
        knobs.check(self)

    def passes(self, work: Work) -> Iterator[None]:
        """One for each epoch."""
        masks = salient(work.gradient(work.forget, self.batch), self.share)
        descent = work.sgd(self.lr, self.momentum)
        for _ in range(self.epochs):
            relabel_epoch(work, descent, (self.forget_batch, self.batch), masked(masks))
            yield


def salient(gradients: Sequence[Tensor], share: float) -> list[Tensor]:
    """Masks of the largest gradients over all weights together: ⌈share · d⌉ ones, else zeros.

    Args:
        gradients: One tensor for each parameter; d numbers in all.
        share: In (0, 1].
    """
    sizes = torch.cat([gradient.abs().flatten() for gradient in gradients])
    mask = torch.zeros_like(sizes)
    mask[sizes.topk(math.ceil(share * len(sizes))).indices] = 1.0
    parts = torch.split(mask, [gradient.numel() for gradient in gradients])
    return [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]
