"""Rows of samples as tensors: what post-hoc methods learn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from expunge.core import rng
from expunge.core.errors import InputError
from expunge.learners.torch_loop import bounds

Given: TypeAlias = Any
"""What users have: a NumPy array, or a tensor."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Samples, in order.

    Attributes:
        inputs: (n, *shape of one row).
        targets: Class codes, int64, (n,).
        guide: Logits that a teacher gives these rows, (n, classes), where a method needs them.
    """

    inputs: Tensor
    targets: Tensor
    guide: Tensor | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: Tensor) -> Rows:
        """The rows ``index``, (b,)."""
        guide = None if self.guide is None else self.guide[index]
        return Rows(self.inputs[index], self.targets[index], guide)

    def guided(self, guide: Tensor) -> Rows:
        """With a teacher's logits."""
        return replace(self, guide=guide)

    def labelled(self, targets: Tensor) -> Rows:
        """With other targets."""
        return replace(self, targets=targets)


def rows(what: str, inputs: Given, targets: Given) -> Rows:
    """Take arrays or tensors as rows, without copying where that is possible.

    Args:
        what: Whose they are, for messages.
        inputs: (n, *shape of one row).
        targets: Class codes, integers, (n,).

    Raises:
        InputError: They are empty, differ in length, or targets are no class codes.
    """
    x, y = torch.as_tensor(inputs), torch.as_tensor(targets)
    if y.ndim != 1 or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise InputError(
            f"The targets of `{what}` are {y.dtype} of shape {tuple(y.shape)}, expected class codes: "
            f"integers, one per row. Post-hoc methods work on classifiers."
        )
    if not x.ndim or len(x) != len(y) or not len(y):
        raise InputError(
            f"`{what}` has inputs of shape {tuple(x.shape)} and {len(y):,} targets, expected at least "
            f"one row, and as many inputs as targets."
        )
    if int(y.min()) < 0:
        raise InputError(f"`{what}` has negative targets. Class codes begin at 0.")
    return Rows(x, y.to(torch.int64))


def joined(one: Rows, other: Rows) -> Rows:
    """The rows of both; with guides, where both have one."""
    guides = [each.guide for each in (one, other) if each.guide is not None]
    return Rows(
        torch.cat([one.inputs, other.inputs]),
        torch.cat([one.targets, other.targets]),
        torch.cat(guides) if len(guides) == 2 else None,
    )


def batches(of: Rows, size: int, seed: int) -> Iterator[Rows]:
    """All rows in an order of ``seed``, in batches; a left-over one joins the batch before it."""
    order = shuffled(len(of), seed)
    for begin, end in bounds(len(of), size):
        yield of.take(order[begin:end])


def pairs(one: Rows, other: Rows, size: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """Batches of ``one``, each with one of ``other``, which begins again as often as it must."""
    again = _endless(other, size, rng.seed(seed, "beside"))
    return zip(batches(one, size, seed), again, strict=False)


def _endless(of: Rows, size: int, seed: int) -> Iterator[Rows]:
    turn = 0
    while True:
        yield from batches(of, size, rng.seed(seed, turn))
        turn += 1


def some(of: Rows, count: int, seed: int) -> Rows:
    """At most ``count`` of the rows, drawn without replacement."""
    return of.take(shuffled(len(of), seed)[:count])


def shuffled(count: int, seed: int) -> Tensor:
    """The numbers below ``count`` in an order of ``seed``: int64, (count,)."""
    return torch.from_numpy(rng.order(np.arange(count, dtype=np.uint64), seed))


def other_labels(targets: Tensor, classes: int, seed: int) -> Tensor:
    """For each row, a class that is not its own, all others alike likely; int64, (n,).

    Args:
        targets: Class codes, (n,).
        classes: How many there are, at least 2.
        seed: Of the draw.
    """
    places = rng.mix(np.arange(len(targets), dtype=np.uint64), seed)
    steps = torch.from_numpy((places % np.uint64(classes - 1)).astype(np.int64)) + 1
    return (targets + steps.to(targets.device)) % classes
