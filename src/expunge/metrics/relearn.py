"""How fast do models learn forgotten rows again? Too fast: something was left of them.

References:
    Chundawat, Tarun, Mandal and Kankanhalli, "Zero-Shot Machine Unlearning", IEEE TIFS 18 (2023),
    arXiv:2201.05629, section V-C (anamnesis index). Golatkar et al., arXiv:1911.04933, section 6
    (time to relearn).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from expunge.core.errors import InputError
from expunge.metrics import arrays, equivalence
from expunge.metrics.arrays import Numbers
from expunge.metrics.intervals import Interval


def steps_to(accuracies: ArrayLike, original: float, within: float = 0.05) -> int | None:
    """Steps until accuracy on the forgotten rows comes within a share of the original model's.

    Args:
        accuracies: Before the first step, after it, and so on, (steps + 1,), in [0, 1].
        original: Of the model that had learnt them, in (0, 1].
        within: α: reached is (1 − α) · original.

    Returns:
        Steps, from 0 (it never lost them); None if it was not reached in as many as were given.
    """
    curve = arrays.vector(accuracies, "accuracies")
    if not 0 < original <= 1:
        raise InputError(f"`original` must be in (0, 1], got {original}.")
    reached = np.flatnonzero(curve >= (1 - arrays.share(within, "within")) * original)
    return int(reached[0]) if len(reached) else None


@dataclass(frozen=True, slots=True)
class Anamnesis:
    """How many times as long the unlearned model takes as one that never saw the rows.

    Attributes:
        value: 1 is ideal; below, something was left; above, the rows were pushed away.
        interval: Of it, 95 %.
        runs: Pairs of lists that stand behind it: (unlearned, scratch).
    """

    value: float
    interval: Interval
    runs: tuple[int, int]


def anamnesis(unlearned: Sequence[int | None], scratch: Sequence[int | None]) -> Anamnesis | None:
    """Ratio of mean relearning times, geometric, with Welch's interval of the logarithms.

    Times are counted from 1 (as in step 1 is the start), so that a model which knows the rows
    already has a logarithm. ``scratch`` is retrained without the rows; never the unlearned model
    itself, which would make the index 1 for anything.

    Args:
        unlearned: :func:`steps_to` of models that forgot, one for each seed, two or more.
        scratch: The same of retrained models.

    Returns:
        None where a run did not get there (relearn for longer), or no run differs from another:
        then there is no figure.
    """
    if min(len(unlearned), len(scratch)) < 2:
        raise InputError(
            f"{len(unlearned)} and {len(scratch)} runs. Expected two seeds of each at least."
        )
    first, second = ([each for each in runs if each is not None] for runs in (unlearned, scratch))
    if len(first) < len(unlearned) or len(second) < len(scratch):
        return None
    if len({*first}) == 1 and len({*second}) == 1:
        return None
    effect = equivalence.means(_logs(first), _logs(second))
    ends = math.exp(effect.wide[0]), math.exp(effect.wide[1])
    return Anamnesis(math.exp(effect.value), ends, (len(first), len(second)))


def _logs(runs: list[int]) -> Numbers:
    logarithms: Numbers = np.log1p(np.asarray(runs, dtype=np.float64))
    return logarithms
