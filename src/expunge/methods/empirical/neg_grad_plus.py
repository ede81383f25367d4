"""NegGrad+: descend on the rows that stay and ascend on those to forget, in the same steps.

Each step has a batch of both: L = a CE(retain) − (1 − a) CE(forget). Costs ``epochs`` passes over
the rows that stay, each step with a second batch. Fails with a small ``retained_weight`` or a long
training: the second term is not bounded, so forgotten rows become known by their large losses (set
``ceiling``, which is ours, or stop earlier). A network with few rows to forget sees each of them
many times in an epoch.

References:
    Kurmanji et al., "Towards Unbounded Machine Unlearning", NeurIPS 2023, arXiv:2302.09880,
    section 4 (NegGrad+). Defaults: Cadet et al., "Deep Unlearn", arXiv:2410.01276, their code:
    a = 0.95, rate 0.01, ten epochs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from expunge.core.types import Guarantee
from expunge.methods.empirical import knobs, loop
from expunge.methods.empirical.losses import bounded_ascent
from expunge.methods.empirical.rows import Rows
from expunge.methods.empirical.work import Work, clipped


@dataclass(frozen=True, slots=True)
class NegGradPlus:
    """Descend on rows that stay, ascend on those to forget.

    Attributes:
        retained_weight: a: of the loss on rows that stay, in (0, 1]; the others weigh 1 − a.
        lr: Learning rate.
        epochs: Passes over the rows that stay.
        ceiling: Loss, in nats, up to which a row is driven; None: there is none, as in the paper.
        batch: Rows of a batch, of each kind.
        momentum: Of the descent.
        clip: Largest norm of a gradient; None: any.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    name: ClassVar[str] = "neg-grad-plus"

    retained_weight: float = 0.95
    lr: float = 0.01
    epochs: int = 10
    ceiling: float | None = None
    batch: int = 64
    momentum: float = 0.9
    clip: float | None = None

    forget = loop.forget

    def __post_init__(self) -> None:
        knobs.check(self)

    def passes(self, work: Work) -> Iterator[None]:
        """One for each epoch."""
        descent = work.sgd(self.lr, self.momentum)
        ceiling = math.inf if self.ceiling is None else self.ceiling
        loss = partial(_loss, work, self.retained_weight, ceiling)
        for _ in range(self.epochs):
            both = work.pairs(work.retain, work.forget, self.batch)
            work.walk(both, loss, descent, clipped(self.clip))
            yield


def _loss(work: Work, retained_weight: float, ceiling: float, both: tuple[Rows, Rows]) -> Tensor:
    stay, leave = both
    down = work.cross_entropy(stay)
    up = bounded_ascent(work.logits(leave), leave.targets.to(work.device), ceiling)
    return balance(down, up, retained_weight)


def balance(retained: Tensor, other: Tensor, retained_weight: float) -> Tensor:
    """The sum a · ``retained`` + (1 − a) · ``other``; an ascent is negative already."""
    return retained_weight * retained + (1 - retained_weight) * other
