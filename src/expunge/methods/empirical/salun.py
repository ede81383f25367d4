"""SalUn: random labels, but only for the weights that the rows to forget speak to most.

A mask marks the half of all weights where the gradient of the forgetting loss is largest; the
others stay as they are, bit for bit. Each step goes down a CE(retain) + (1 − a) CE(forget, other
labels), drawn anew in each epoch. Costs ``epochs`` passes over the rows that stay, each step with a
second batch, and one pass for the mask. Fails as random labels do, by confident mistakes; with a
mask of few weights it forgets little.

References:
    Fan et al., "SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency", ICLR
    2024, arXiv:2310.12508, section 4, equations 3 (the mask), 4 and 5. Two differences from the published code, which is for
    thousands of rows to forget and many epochs: there, labels may be the row's own, and passes over rows to forget and over those that stay take
    turns. The equations say neither, and with few epochs the turns cost accuracy on the rows that stay. Defaults: that code: half of the weights, by
    |gradient| over the whole network, rate 0.013, ten epochs; a = 0.9 is its share of rows that stay.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from expunge.core.types import Guarantee
from expunge.methods.empirical import knobs, loop
from expunge.methods.empirical.neg_grad_plus import balance
from expunge.methods.empirical.rows import Rows, other_labels
from expunge.methods.empirical.work import Work, masked


@dataclass(frozen=True, slots=True)
class SalUn:
    """Teach other labels to the salient weights.

    Attributes:
        share: Of the weights, how many are salient and change; in (0, 1].
        retained_weight: a: of the loss on rows that stay, in (0, 1]; the others weigh 1 − a.
        lr: Learning rate.
        epochs: Passes over the rows that stay.
        batch: Rows of a batch, of each kind.
        momentum: Of the descent.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    name: ClassVar[str] = "salun"

    share: float = 0.5
    retained_weight: float = 0.9
    lr: float = 0.013
    epochs: int = 10
    batch: int = 64
    momentum: float = 0.9

    forget = loop.forget

    def __post_init__(self) -> None:
        knobs.check(self)

    def passes(self, work: Work) -> Iterator[None]:
        """One for each epoch."""
        masks = salient(work.gradient(work.forget, self.batch), self.share)
        descent = work.sgd(self.lr, self.momentum)
        loss = partial(_loss, work, self.retained_weight)
        for _ in range(self.epochs):
            labels = other_labels(work.forget.targets, work.classes, work.draw("labels"))
            wrong = work.forget.labelled(labels)
            work.walk(work.pairs(work.retain, wrong, self.batch), loss, descent, masked(masks))
            yield


def _loss(work: Work, retained_weight: float, both: tuple[Rows, Rows]) -> Tensor:
    stay, wrong = both
    return balance(work.cross_entropy(stay), work.cross_entropy(wrong), retained_weight)


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
