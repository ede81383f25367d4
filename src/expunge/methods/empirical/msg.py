"""MSG: draw the weights anew that neither forgetting nor remembering cares for, then fine-tune.

In each convolution, the weights whose gradient of CE(retain) − CE(forget) is smallest are drawn
anew, and the network is fine-tuned on the rows that stay, where the weights that were kept change
at a tenth of the rate. Networks without convolutions have their affine layers treated so, the last
one excepted. Costs two passes over as many rows as are forgotten, and ``epochs`` over those that
stay. Fails with few epochs: a part of each layer is noise at first; refuses a network of a single
affine layer.

References:
    Second solution of the NeurIPS 2023 unlearning challenge, named Masked Small Gradients in Cadet
    et al., "Deep Unlearn", arXiv:2410.01276, section 3. Defaults: their code (xcadet/deepunlearn,
    d3dacb6): 30 % of each layer, five epochs, rate 0.001 rising to its height in the middle,
    momentum 0.9, weight decay 5·10⁻⁴. It draws normal weights after He; we draw as the layer itself
    does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from expunge.core.errors import ModuleUnsuitable
from expunge.core.types import Guarantee
from expunge.methods.empirical import knobs, layers, loop
from expunge.methods.empirical.rows import some
from expunge.methods.empirical.work import Work, masked


@dataclass(frozen=True, slots=True)
class MSG:
    """Draw weights with small gradients anew, then fine-tune.

    Attributes:
        share: Of a layer's weights, how many are drawn anew; in (0, 1].
        kept_rate: Factor of the gradients of weights that were kept, in [0, 1].
        lr: Learning rate at its height.
        epochs: Passes over the rows that stay.
        batch: Rows of a batch.
        momentum: Of the descent.
        weight_decay: Of the descent.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    name: ClassVar[str] = "msg"

    share: float = 0.3
    kept_rate: float = 0.1
    lr: float = 0.001
    epochs: int = 5
    batch: int = 64
    momentum: float = 0.9
    weight_decay: float = 5e-4

    forget = loop.forget

    def __post_init__(self) -> None:
        knobs.check(self)

    def passes(self, work: Work) -> Iterator[None]:
        """One for each epoch."""
        slow = masked(self._redraw(work))
        descent = work.sgd(self.lr, self.momentum, self.weight_decay)
        for epoch in range(self.epochs):
            descent.at(self.lr * rise_and_fall(epoch, self.epochs))
            work.walk(work.batches(work.retain, self.batch), work.cross_entropy, descent, slow)
            yield

    def _redraw(self, work: Work) -> list[Tensor]:
        """Draw weights anew; factors for the gradients of each parameter from then on."""
        stay = some(work.retain, len(work.forget), work.draw("retained"))
        sides = [work.gradient(rows, self.batch) for rows in (stay, work.forget)]
        slopes = {
            id(parameter): down - up
            for parameter, down, up in zip(work.parameters, *sides, strict=True)
        }
        factors = {id(parameter): torch.ones_like(parameter) for parameter in work.parameters}
        for layer in treated(work.student):
            where = smallest(slopes[id(layer.weight)], self.share)
            layers.redraw(layer, where)
            factors[id(layer.weight)] = torch.where(where, 1.0, self.kept_rate).to(layer.weight)
        return [factors[id(parameter)] for parameter in work.parameters]


def smallest(gradient: Tensor, share: float) -> Tensor:
    """Where a gradient is smallest: ⌈share · d⌉ of its d places; a mask of its shape."""
    sizes = gradient.abs().flatten()
    mask = torch.zeros(len(sizes), dtype=torch.bool, device=sizes.device)
    mask[sizes.topk(math.ceil(share * len(sizes)), largest=False).indices] = True
    return mask.view_as(gradient)


def rise_and_fall(epoch: int, epochs: int) -> float:
    """Factor of the rate in ``epoch``, counted from 0: up to 1 in the middle, and down again.

    >>> [round(rise_and_fall(epoch, 5), 2) for epoch in range(5)]
    [0.33, 0.67, 1.0, 0.67, 0.33]
    """
    up = (epochs + 1) // 2
    down = epochs + 1 - up
    return min((epoch + 1) / up, (epochs - epoch) / down)


def treated(module: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """The layers that are drawn anew in part.

    Raises:
        ModuleUnsuitable: There are none.
    """
    found = [*layers.convolutions(module)] or layers.affine(module)[:-1]
    if not found:
        raise ModuleUnsuitable(
            MSG.name,
            "it has no convolution, and no affine layer before the last",
            "Take 'neg-grad-plus' or 'scrub', which work on any network.",
        )
    return [*found]
