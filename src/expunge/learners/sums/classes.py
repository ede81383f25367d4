"""Sums by class: how many samples a class has, and what their features add up to."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Task
from expunge.learners.protocol import Samples
from expunge.learners.sums import integers, products
from expunge.learners.sums.learning import Sums


def check(task: Task, learner: str) -> None:
    """See that targets are classes.

    Raises:
        RecipeInvalid: They are numbers.
    """
    if not task.classes:
        raise RecipeInvalid(
            f"The view's target is a number, and {learner} tells classes apart. Use `Ridge`, or "
            f"declare the target with `categorical=[…]` at ingest."
        )


def check_smoothing(smoothing: float) -> None:
    """See that counts are smoothed by something.

    Raises:
        RecipeInvalid: They are not.
    """
    if not 0 < smoothing < math.inf:
        raise RecipeInvalid(f"`smoothing` must be above 0, got {smoothing}.")


def zeros(task: Task, widths: dict[str, int]) -> Sums:
    """Sums of no samples: ``sizes`` (classes,) and (classes, width) for each name of ``widths``."""
    sums = {"count": np.zeros(2, np.int64), "sizes": np.zeros(task.outputs, np.int64)}
    return sums | {n: np.zeros((task.outputs, w), np.int64) for n, w in widths.items()}


def add(
    task: Task,
    sums: Sums,
    samples: Samples,
    sign: int,
    terms: Callable[[NDArray[np.int16]], dict[str, tuple[NDArray[np.integer], int]]],
) -> None:
    """Add ``sign`` times the sums by class of ``samples``, in place.

    Args:
        task: Says the classes.
        sums: As :func:`zeros` makes them.
        samples: Of which they are.
        sign: 1 or -1.
        terms: Features of some rows to what is summed of them, each with its greatest value.

    Raises:
        RecipeInvalid: There are more samples than the sums have room for.
        ViewInvalid: A weight is too large.
    """
    heaviest = 1 if samples.weights is None else integers.WEIGHT_TOP
    for span, x in samples.inputs.blocks():
        weights = integers.weights(None if samples.weights is None else samples.weights[span])
        member = integers.targets(task, samples.targets[span], 0)
        if weights is not None:
            member *= weights[:, None]
        sums["sizes"] += sign * member.sum(axis=0)
        for name, (term, top) in terms(x).items():
            products.check_capacity(int(sums["count"][0]), heaviest * top)
            products.add_cross(sums[name], member, term, heaviest * top, sign)


def log_shares(sizes: NDArray[np.integer] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of each class's part of all samples; -inf where it has none.

    Where no class has any, all are alike.
    """
    whole = np.asarray(sizes, np.float64)
    shares = whole / whole.sum() if whole.any() else np.full(len(whole), 1 / len(whole))
    found: NDArray[np.float64] = np.log(shares, out=np.full(len(shares), -np.inf), where=shares > 0)
    return found
