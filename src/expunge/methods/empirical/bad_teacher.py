"""Bad Teacher: learn what a network that knows nothing says about the rows to forget.

Two teachers: on rows to forget a freshly drawn network of the same make, on rows that stay the
network as it was. The student follows KL(teacher ‖ student). Costs ``epochs`` passes over the rows
to forget and a part of those that stay, and one of each teacher. Fails by construction where rows
like the forgotten ones stay: a retrained network is right about most of them, and the bad teacher
is not, which gives them away. Refuses networks with layers that cannot be drawn anew.

References:
    Chundawat et al., "Can Bad Teaching Induce Forgetting? Unlearning in Deep Networks Using an
    Incompetent Teacher", AAAI 2023, arXiv:2205.08096, section 4, equation 2. Defaults: their code:
    30 % of the rows that stay, one epoch of Adam at 10⁻⁴, T = 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from expunge.core.types import Guarantee
from expunge.methods.empirical import knobs, layers, loop
from expunge.methods.empirical.losses import distance
from expunge.methods.empirical.rows import Rows, joined, some
from expunge.methods.empirical.work import Work


@dataclass(frozen=True, slots=True)
class BadTeacher:
    """Follow a bad teacher on rows to forget.

    Attributes:
        retained_share: Of the rows that stay, how many are used; in (0, 1].
        temperature: Softens teachers and student.
        lr: Learning rate of Adam.
        epochs: Passes over these rows.
        batch: Rows of a batch.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    name: ClassVar[str] = "bad-teacher"

    retained_share: float = 0.3
    temperature: float = 1.0
    lr: float = 1e-4
    epochs: int = 1
    batch: int = 64

    forget = loop.forget

    def __post_init__(self) -> None:
        knobs.check(self)

    def passes(self, work: Work) -> Iterator[None]:
        """One for each epoch."""
        bad = layers.fresh(work.original, self.name).eval()
        count = math.ceil(self.retained_share * len(work.retain))
        stay = some(work.retain, count, work.draw("retained"))
        both = joined(
            stay.guided(work.see(work.original, stay)),
            work.forget.guided(work.see(bad, work.forget)),
        )
        descent = work.adam(self.lr)
        for _ in range(self.epochs):
            work.walk(
                work.batches(both, self.batch), partial(_loss, work, self.temperature), descent
            )
            yield


def _loss(work: Work, temperature: float, batch: Rows) -> Tensor:
    assert batch.guide is not None
    return distance(batch.guide, work.logits(batch), temperature)
