"""SCRUB: a student that disobeys its teacher on the rows to forget, and obeys it on the others.

The teacher is the network as it was. Epochs of max-steps, up the divergence KL(teacher ‖ student)
on rows to forget, alternate with epochs of min-steps on rows that stay, down α KL + γ
cross-entropy; the last epochs are min-steps alone. Costs ``epochs`` passes over the rows that stay,
``max_epochs`` over those to forget, and one of the teacher over all. Fails where the max-steps go
too far for the min-steps to mend: lower ``lr`` or ``max_epochs``; and by too little where there are
few max-steps: the first begins at the teacher, where the divergence has no slope at all. Forgotten
rows may end with larger losses than rows that were never seen;
:mod:`expunge.methods.empirical.scrub_r` rewinds.

References:
    Kurmanji et al., "Towards Unbounded Machine Unlearning", NeurIPS 2023, arXiv:2302.09880, section
    3, equation 3 and algorithms 1 to 3. Defaults: the authors' code (meghdadk/SCRUB, 98ffb11): Adam
    at 5·10⁻⁴, decayed by ten after epochs 5, 8 and 9, α = 0.5, γ = 1, T = 2, three max-epochs of
    ten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

from torch import Tensor
from torch.nn import functional

from expunge.core.types import Guarantee
from expunge.methods.empirical import knobs, loop
from expunge.methods.empirical.losses import distance
from expunge.methods.empirical.rows import Rows
from expunge.methods.empirical.work import Work, clipped

_DECAYS: Final = (0.5, 0.8, 0.9)  # behind these parts of the epochs the rate falls


@dataclass(frozen=True, slots=True)
class Scrub:
    """Alternate max-steps and min-steps.

    Attributes:
        alpha: Weight of the divergence from the teacher on rows that stay.
        gamma: Weight of their cross-entropy.
        temperature: Softens teacher and student in the divergences.
        lr: Learning rate of Adam; a tenth after 50 %, 80 % and 90 % of the epochs, each.
        epochs: Passes over the rows that stay.
        max_epochs: Of the first of them, how many begin with a pass over the rows to forget.
        forget_batch: Rows of a batch of those to forget.
        batch: Rows of a batch of those that stay.
        clip: Largest norm of a gradient; None: any.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    name: ClassVar[str] = "scrub"

    alpha: float = 0.5
    gamma: float = 1.0
    temperature: float = 2.0
    lr: float = 5e-4
    epochs: int = 10
    max_epochs: int = 3
    forget_batch: int = 16
    batch: int = 64
    clip: float | None = None

    forget = loop.forget

    def __post_init__(self) -> None:
        knobs.check(self)

    def passes(self, work: Work) -> Iterator[None]:
        """One for each epoch."""
        forget = work.forget.guided(work.see(work.original, work.forget))
        retain = work.retain.guided(work.see(work.original, work.retain))
        descent, limit = work.adam(self.lr), clipped(self.clip)
        up = partial(_max_step, work, self.temperature)
        down = partial(_min_step, work, self.alpha, self.gamma, self.temperature)
        for epoch in range(self.epochs):
            descent.at(self.lr * decay(epoch, self.epochs))
            if epoch < self.max_epochs:
                work.walk(work.batches(forget, self.forget_batch), up, descent, limit)
            work.walk(work.batches(retain, self.batch), down, descent, limit)
            yield


def decay(epoch: int, epochs: int) -> float:
    """Factor of the rate in ``epoch``, counted from 0: a tenth behind each of three marks.

    >>> [decay(epoch, 10) for epoch in (0, 5, 8, 9)]
    [1.0, 0.1, 0.01, 0.001]
    """
    return float(f"1e-{sum(epoch >= mark * epochs for mark in _DECAYS)}")


def obedience(
    logits: Tensor, guide: Tensor, targets: Tensor, weights: tuple[float, float, float]
) -> Tensor:
    """α · T² KL(teacher ‖ student) + γ · cross-entropy; ``weights`` are α, γ and T."""
    alpha, gamma, temperature = weights
    loss = gamma * functional.cross_entropy(logits, targets)
    return loss + alpha * distance(guide, logits, temperature)


def _max_step(work: Work, temperature: float, batch: Rows) -> Tensor:
    assert batch.guide is not None
    return -distance(batch.guide, work.logits(batch), temperature)


def _min_step(work: Work, alpha: float, gamma: float, temperature: float, batch: Rows) -> Tensor:
    assert batch.guide is not None
    targets = batch.targets.to(work.device)
    return obedience(work.logits(batch), batch.guide, targets, (alpha, gamma, temperature))
