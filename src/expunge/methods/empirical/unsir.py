"""UNSIR: learn noise that the network takes for anything but a class, train on it, then repair.

For the classes to forget, noise inputs are moved up the cross-entropy of the class. One epoch on
them, labelled with the class, and on some rows that stay impairs what the network knows of the
class; an epoch on these rows alone repairs the rest. The rows to forget are not looked at, only
their classes. Costs ``noise_steps`` steps and two passes over at most ``retained_per_class`` rows
of each class. Made for forgetting whole classes: where rows of the class stay, they are impaired
too, and a retrained network would not be. Fails at the rates of the paper on some networks.

References:
    Tarun et al., "Fast Yet Effective Machine Unlearning", IEEE TNNLS 2023, arXiv:2111.08947,
    section IV, equation 1 and algorithm 1. Defaults: noise 25 steps of Adam at 0.1 with weight 0.1
    on ‖x‖², batch 32, 80 batches of it, 500 rows of each class; rates 0.02 (impair) and 0.01
    (repair) are the paper's, as others report them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from expunge.core.errors import InputError
from expunge.core.types import Guarantee
from expunge.methods.empirical import knobs, loop
from expunge.methods.empirical.rows import Rows, joined, some
from expunge.methods.empirical.work import Work


@dataclass(frozen=True, slots=True)
class Unsir:
    """Impair with noise, then repair.

    Attributes:
        noise_steps: Of Adam, by which noise is learnt.
        noise_lr: Its learning rate.
        noise_decay: Weight of the noise's mean square per row.
        noise_batches: How many times the noise stands among the rows of the impairing epochs.
        retained_per_class: Rows that stay, of each class, at most.
        impair_lr: Learning rate of Adam in the impairing epochs.
        impair_epochs: How many.
        repair_lr: Learning rate of Adam in the repairing epochs.
        repair_epochs: How many.
        batch: Rows of a batch, and of the noise of a class.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    name: ClassVar[str] = "unsir"

    noise_steps: int = 25
    noise_lr: float = 0.1
    noise_decay: float = 0.1
    noise_batches: int = 80
    retained_per_class: int = 500
    impair_lr: float = 0.02
    impair_epochs: int = 1
    repair_lr: float = 0.01
    repair_epochs: int = 1
    batch: int = 32

    forget = loop.forget

    def __post_init__(self) -> None:
        knobs.check(self)

    def passes(self, work: Work) -> Iterator[None]:
        """One for each epoch."""
        noise, stay = self._noise(work), self._stay(work)
        spread = noise.take(torch.arange(len(noise)).repeat(self.noise_batches))
        for rows, lr, epochs in (
            (joined(stay, spread), self.impair_lr, self.impair_epochs),
            (stay, self.repair_lr, self.repair_epochs),
        ):
            descent = work.adam(lr)
            for _ in range(epochs):
                work.walk(work.batches(rows, self.batch), work.cross_entropy, descent)
                yield

    def _noise(self, work: Work) -> Rows:
        if not work.forget.inputs.is_floating_point():
            raise InputError("UNSIR learns inputs, so they must be floating point numbers.")
        classes = torch.unique(work.forget.targets)
        targets = classes.repeat_interleave(self.batch)
        like = work.forget.inputs.new_empty((len(targets), *work.forget.inputs.shape[1:]))
        values = learn(work.original, torch.randn_like(like).to(work.device), targets, self)
        return Rows(values.to(like.device), targets)

    def _stay(self, work: Work) -> Rows:
        # The paper forgets whole classes, so none of theirs stays; of parts of classes, some do.
        parts = [
            some(_of(work.retain, code), self.retained_per_class, work.draw("retained"))
            for code in torch.unique(work.retain.targets)
        ]
        whole = parts[0]
        for part in parts[1:]:
            whole = joined(whole, part)
        return whole


def learn(original: nn.Module, noise: Tensor, targets: Tensor, knobs: Unsir) -> Tensor:
    """Move noise up the cross-entropy of its classes, short of becoming large.

    Args:
        original: The network, in evaluation mode.
        noise: To begin with, (n, *shape of one row).
        targets: The class of each, (n,).
        knobs: Steps, rate and decay.
    """
    moved = noise.clone().requires_grad_()
    first, second = torch.zeros_like(noise), torch.zeros_like(noise)
    for step in range(1, knobs.noise_steps + 1):
        with torch.enable_grad():
            loss = noise_loss(original(moved), moved, targets.to(noise.device), knobs.noise_decay)
            (slope,) = torch.autograd.grad(loss, moved)
        # Adam (Kingma and Ba, algorithm 1), whose class in PyTorch takes seconds to import.
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        change = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        moved = (moved.detach() - knobs.noise_lr * change).requires_grad_()
    return moved.detach()


def noise_loss(logits: Tensor, noise: Tensor, targets: Tensor, decay: float) -> Tensor:
    """Minus the cross-entropy, and ``decay`` times the mean over rows of ‖x‖²."""
    sizes = noise.flatten(1).square().sum(dim=1).mean()
    return decay * sizes - functional.cross_entropy(logits, targets)


def _of(rows: Rows, code: Tensor) -> Rows:
    return rows.take((rows.targets == code).nonzero()[:, 0])
