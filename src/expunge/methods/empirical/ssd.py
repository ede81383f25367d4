"""SSD: dampen the weights that matter far more to the rows to forget than to all rows.

Matters: the diagonal of the Fisher information, F, estimated by squared gradients of batches. Where
F(forget) > α F(all), a weight is multiplied by min(λ F(all) / F(forget), 1). Takes no step of
descent and draws nothing: equal for all seeds. Costs one backward pass over all rows. The batches
of both estimates have the same size, because the square of a batch's mean gradient shrinks with it:
never more rows than are to be forgotten, so that few of these make it slow. Fails with small α,
which destroys the network, and where rows to forget are like the others: nothing is selected.

References:
    Foster, Schoepf and Brintrup, "Fast Machine Unlearning Without Retraining Through Selective
    Synaptic Dampening", AAAI 2024, arXiv:2308.07707, equations 5 to 7. Defaults: their code
    (if-loops/selective-synaptic-dampening, cdfdc0e): α = 10, λ = 1. F(all) is over the rows that
    stay and those to forget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from expunge.core.types import Guarantee
from expunge.methods.empirical import knobs, loop
from expunge.methods.empirical.rows import Rows, joined
from expunge.methods.empirical.work import Work


@dataclass(frozen=True, slots=True)
class SSD:
    """Dampen weights.

    Attributes:
        selection: α: how many times more a weight must matter to the rows to forget.
        dampening: λ: larger values dampen less.
        batch: Rows of a batch at most.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    name: ClassVar[str] = "ssd"

    selection: float = 10.0
    dampening: float = 1.0
    batch: int = 64

    forget = loop.forget

    def __post_init__(self) -> None:
        knobs.check(self)

    def passes(self, work: Work) -> Iterator[None]:
        """One."""
        size = min(self.batch, len(work.forget))
        whole = importance(work, joined(work.retain, work.forget), size)
        leaving = importance(work, work.forget, size)
        dampen(work.parameters, whole, leaving, (self.selection, self.dampening))
        yield


def importance(work: Work, of: Rows, size: int) -> list[Tensor]:
    """Mean over batches of the squared gradient, for each parameter."""
    total = [torch.zeros_like(parameter) for parameter in work.parameters]
    batches = 0
    for _, gradients in work.sweep(of, size):
        batches += 1
        for sums, gradient in zip(total, gradients, strict=True):
            sums += gradient**2
    return [sums / batches for sums in total]


@torch.no_grad()
def dampen(
    parameters: Sequence[Tensor],
    whole: Sequence[Tensor],
    leaving: Sequence[Tensor],
    knobs: tuple[float, float],
) -> None:
    """Multiply parameters in place; ``knobs`` are α and λ."""
    selection, dampening = knobs
    for parameter, all_, some in zip(parameters, whole, leaving, strict=True):
        factor = (dampening * all_ / some).clamp(max=1.0)
        parameter.copy_(torch.where(some > selection * all_, parameter * factor, parameter))
