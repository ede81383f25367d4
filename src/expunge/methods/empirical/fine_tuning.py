"""Fine-tuning: go on training on the rows that stay, and hope that the others fade.

The weakest baseline that leaves a usable network: what was memorised fades only as far as the
network moves. Costs ``epochs`` passes over the rows that stay. Fails where the learning rate is
small, and wherever the network already fits the rows that stay: there is then no gradient.

References:
    Golatkar, Achille and Soatto, "Eternal Sunshine of the Spotless Net", CVPR 2020,
    doi:10.1109/CVPR42600.2020.00932, section 6 ("Fine-tune"). Defaults: Jia et al., NeurIPS 2023
    (arXiv:2304.04934), their code: rate 0.01, ten epochs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from expunge.core.types import Guarantee
from expunge.methods.empirical import knobs, loop
from expunge.methods.empirical.work import Work, clipped


@dataclass(frozen=True, slots=True)
class FineTuning:
    """Train on the rows that stay.

    Attributes:
        lr: Learning rate.
        epochs: Passes over the rows that stay.
        batch: Rows of a batch.
        momentum: Of the descent.
        weight_decay: Of the descent.
        clip: Largest norm of a gradient; None: any.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    name: ClassVar[str] = "fine-tuning"

    lr: float = 0.01
    epochs: int = 10
    batch: int = 64
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip: float | None = None

    forget = loop.forget

    def __post_init__(self) -> None:
        knobs.check(self)

    def passes(self, work: Work) -> Iterator[None]:
        """One for each epoch."""
        descent = work.sgd(self.lr, self.momentum, self.weight_decay)
        for _ in range(self.epochs):
            batches = work.batches(work.retain, self.batch)
            work.walk(batches, work.cross_entropy, descent, clipped(self.clip))
            yield
