"""Gradient ascent on the rows to forget, bounded, with a repair on those that stay.

Plain ascent has no end: the cross-entropy of a row is not bounded, and a few steps too many leave a
network that is useless, and tells by huge losses who was forgotten. Here a row that has come to
``ceiling`` gives no gradient any more, and ``repair_epochs`` of fine-tuning follow. Costs
``epochs`` passes over the rows to forget, and ``repair_epochs`` over those that stay. Fails by too
little at small rates, by too much at large ones; what the repair brings back may be what was to go.

References:
    Golatkar, Achille and Soatto, "Eternal Sunshine of the Spotless Net", CVPR 2020,
    doi:10.1109/CVPR42600.2020.00932, section 6 ("Negative Gradient"); Thudi et al., "Unrolling
    SGD", EuroS&P 2022, arXiv:2109.13398, section 5. The bound and the repair are ours. Defaults of
    rate and epochs: Jia et al., NeurIPS 2023 (arXiv:2304.04934), their code.
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
class GradientAscent:
    """Ascend on the rows to forget up to a ceiling, then repair.

    Attributes:
        lr: Learning rate of the ascent.
        epochs: Passes over the rows to forget.
        ceiling: Loss, in nats, up to which a row is driven; None: log(classes), that of a guess.
        repair_lr: Learning rate of the repair.
        repair_epochs: Passes over the rows that stay, afterwards.
        batch: Rows of a batch.
        momentum: Of both.
        clip: Largest norm of a gradient in the ascent; None: any.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    name: ClassVar[str] = "gradient-ascent"

    lr: float = 1e-4
    epochs: int = 5
    ceiling: float | None = None
    repair_lr: float = 0.01
    repair_epochs: int = 1
    batch: int = 64
    momentum: float = 0.9
    clip: float | None = None

    forget = loop.forget

    def __post_init__(self) -> None:
        knobs.check(self)

    def passes(self, work: Work) -> Iterator[None]:
        """One for each epoch of ascent, one for each of repair."""
        ceiling = math.log(work.classes) if self.ceiling is None else self.ceiling
        ascent = work.sgd(self.lr, self.momentum)
        for _ in range(self.epochs):
            batches = work.batches(work.forget, self.batch)
            work.walk(batches, partial(_ascent, work, ceiling), ascent, clipped(self.clip))
            yield
        repair = work.sgd(self.repair_lr, self.momentum)
        for _ in range(self.repair_epochs):
            work.walk(work.batches(work.retain, self.batch), work.cross_entropy, repair)
            yield


def _ascent(work: Work, ceiling: float, batch: Rows) -> Tensor:
    return bounded_ascent(work.logits(batch), batch.targets.to(work.device), ceiling)
