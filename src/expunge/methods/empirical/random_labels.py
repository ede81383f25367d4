"""Random labels: teach wrong classes for the rows to forget, and the right ones for the others.

In each epoch the rows to forget get other labels, each a class that is not their own, and then the
rows that stay are learnt as they are. Costs ``epochs`` passes over all rows. Fails by teaching
confident mistakes at large rates: forgotten rows are then wrong where rows that were never seen are
mostly right, which gives them away.

References:
    Golatkar, Achille and Soatto, "Eternal Sunshine of the Spotless Net", CVPR 2020,
    doi:10.1109/CVPR42600.2020.00932, section 6 ("Random Labels"); Graves, Nagisetty and Ganesh,
    "Amnesiac Machine Learning", AAAI 2021, section 4.1. Defaults: Fan et al., ICLR 2024
    (arXiv:2310.12508), their code: rate 0.013, ten epochs, new labels in each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from expunge.core.types import Guarantee
from expunge.methods.empirical import knobs, loop
from expunge.methods.empirical.rows import other_labels
from expunge.methods.empirical.work import Descent, Regrade, Work


@dataclass(frozen=True, slots=True)
class RandomLabels:
    """Teach other labels.

    Attributes:
        lr: Learning rate.
        epochs: Passes over all rows.
        forget_batch: Rows of a batch of those to forget; small ones are more steps.
        batch: Rows of a batch of those that stay.
        momentum: Of the descent.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    name: ClassVar[str] = "random-labels"

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
        descent = work.sgd(self.lr, self.momentum)
        for _ in range(self.epochs):
            relabel_epoch(work, descent, (self.forget_batch, self.batch))
            yield


def relabel_epoch(
    work: Work, descent: Descent, sizes: tuple[int, int], regrade: Regrade | None = None
) -> None:
    """One pass over rows to forget, under other labels, then one over those that stay.

    Args:
        work: What is changed.
        descent: By which.
        sizes: Of a batch of rows to forget, and of one of rows that stay.
        regrade: Of all gradients.
    """
    targets = other_labels(work.forget.targets, work.classes, work.draw("labels"))
    wrong = work.batches(work.forget.labelled(targets), sizes[0])
    work.walk(wrong, work.cross_entropy, descent, regrade)
    work.walk(work.batches(work.retain, sizes[1]), work.cross_entropy, descent, regrade)
