"""Losses that several post-hoc methods share. Of logits; means over the rows of a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def bounded_ascent(logits: Tensor, targets: Tensor, ceiling: float) -> Tensor:
    """Minus the cross-entropy, as far as it is below ``ceiling``; in nats.

    A row that has come to the ceiling gives no gradient any more, so ascent ends by itself.

    Args:
        logits: (b, classes).
        targets: (b,).
        ceiling: In nats; infinity for none.
    """
    each = functional.cross_entropy(logits, targets, reduction="none")
    return -each.clamp(max=ceiling).mean()


def distance(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """T² KL(teacher ‖ student) of logits softened by T; in nats, at least 0.

    The factor T² keeps gradients alike for all temperatures (Hinton, Vinyals and Dean,
    arXiv:1503.02531, section 2).

    Args:
        teacher: (b, classes).
        student: (b, classes).
        temperature: T, positive.
    """
    wanted = functional.log_softmax(teacher / temperature, dim=1)
    found = functional.log_softmax(student / temperature, dim=1)
    apart = functional.kl_div(found, wanted, log_target=True, reduction="batchmean")
    return apart * temperature**2


def error_rate(logits: Tensor, targets: Tensor) -> Tensor:
    """For each row, whether the largest logit is at another class: float64 0 or 1, (n,)."""
    return (logits.argmax(dim=1) != targets).to(torch.float64)
