"""Which convex problems a loss makes of a target, and how their weights answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Task
from expunge.learners.convex.losses import (
    Floats,
    Huber,
    Logistic,
    Loss,
    Multinomial,
    Poisson,
    SquaredHinge,
)
from expunge.learners.sums.predicting import softmax

OF_CLASSES: Final = ("logistic", "multinomial", "squared-hinge")
OF_NUMBERS: Final = ("huber", "poisson")


def check_known(loss: str) -> None:
    """See that there is such a loss.

    Raises:
        RecipeInvalid: There is not.
    """
    if loss not in (*OF_CLASSES, *OF_NUMBERS):
        known = ", ".join((*OF_CLASSES, *OF_NUMBERS))
        raise RecipeInvalid(f"`loss` must be one of {known}, got {loss!r}.")


def check_fits(loss: str, task: Task) -> None:
    """See that a loss fits the targets.

    Raises:
        RecipeInvalid: It does not.
    """
    wanted = OF_CLASSES if task.classes else OF_NUMBERS
    if loss not in wanted:
        raise RecipeInvalid(
            f"The loss {loss!r} does not fit the view's target. Use one of {', '.join(wanted)}."
        )


def count(loss: str, task: Task) -> int:
    """How many problems there are, each with weights of its own."""
    one = loss == "multinomial" or (bool(task.classes) and task.outputs == 2)
    return 1 if one else task.outputs


def each(
    loss: str, knee: float, task: Task, targets: NDArray[Any]
) -> Iterator[tuple[Loss, NDArray[Any]]]:
    """What is minimised, one after the other: several classes one against the rest."""
    if loss == "multinomial":
        yield Multinomial(len(task.classes)), targets
    elif task.classes:
        one: Loss = Logistic() if loss == "logistic" else SquaredHinge()
        chosen = [1] if task.outputs == 2 else range(task.outputs)
        for code in chosen:
            yield one, np.where(targets == code, 1.0, -1.0)
    else:
        one = Huber(knee) if loss == "huber" else Poisson()
        for column in targets.T:
            yield one, np.ascontiguousarray(column)


def answers(loss: str, scores: Floats) -> Floats:
    """Probabilities per class, or values per target, from the problems' scores (n, k)."""
    if loss == "huber":
        return scores
    if loss == "poisson":
        return np.asarray(np.exp(scores))
    if loss == "multinomial":
        return softmax(scores)
    chances = 0.5 * (1 + np.tanh(scores / 2))
    if scores.shape[1] == 1:
        return np.concatenate([1 - chances, chances], axis=1)
    return np.asarray(chances / chances.sum(axis=1, keepdims=True))
