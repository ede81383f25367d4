"""l1-sparse: fine-tune with a penalty on the sum of all |weights|, which fades out.

Weights that the rows that stay do not hold up go towards zero, and what was memorised with them.
The penalty's weight falls linearly over the epochs. Costs ``epochs`` passes over the rows that
stay. Fails with a large penalty, which takes accuracy, and with a small one, where it is
fine-tuning.

References:
    Jia et al., "Model Sparsity Can Simplify Machine Unlearning", NeurIPS 2023, arXiv:2304.04934,
    section 4, equation 3 (ℓ1-sparse MU). Defaults: their code (OPTML-Group/Unlearn-Sparse,
    80ba55d): 10⁻⁴ to 5·10⁻⁴, here the former; rate 0.01, ten epochs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from expunge.core.types import Guarantee
from expunge.methods.empirical import knobs, loop
from expunge.methods.empirical.rows import Rows
from expunge.methods.empirical.work import Work


@dataclass(frozen=True, slots=True)
class L1Sparse:
    """Fine-tune towards few weights.

    Attributes:
        penalty: α: on ‖θ‖₁ in the first epoch; α (1 − e/E) in epoch e of E.
        lr: Learning rate.
        epochs: Passes over the rows that stay.
        batch: Rows of a batch.
        momentum: Of the descent.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    name: ClassVar[str] = "l1-sparse"

    penalty: float = 1e-4
    lr: float = 0.01
    epochs: int = 10
    batch: int = 64
    momentum: float = 0.9

    forget = loop.forget

    def __post_init__(self) -> None:
        knobs.check(self)

    def passes(self, work: Work) -> Iterator[None]:
        """One for each epoch."""
        descent = work.sgd(self.lr, self.momentum)
        for epoch in range(self.epochs):
            loss = partial(_loss, work, self.penalty * (1 - epoch / self.epochs))
            work.walk(work.batches(work.retain, self.batch), loss, descent)
            yield


def absolute(parameters: Sequence[Tensor]) -> Tensor:
    """‖θ‖₁: the sum of all absolute values."""
    return torch.stack([parameter.abs().sum() for parameter in parameters]).sum()


def _loss(work: Work, penalty: float, batch: Rows) -> Tensor:
    return work.cross_entropy(batch) + penalty * absolute(work.parameters)
