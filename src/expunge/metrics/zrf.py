"""Zero retrain forgetting: are answers about forgotten rows like those of a model that knows nothing?

References:
    Chundawat, Tarun, Mandal and Kankanhalli, "Can Bad Teaching Induce Forgetting?", AAAI 2023,
    arXiv:2205.08096, section 4.3, equation 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from numpy.typing import ArrayLike

from expunge.metrics import divergence, intervals
from expunge.metrics.intervals import Interval


def zrf(model: ArrayLike, incompetent: ArrayLike) -> float:
    """1 − mean Jensen–Shannon divergence (base 2) of predictions, (n, classes) twice: [0, 1].

    1 is *not* ideal: a retrained model knows forgotten rows as it knows any unseen row, and one
    that answers at random about them has been told which they were. The ideal is
    :func:`retrained`.

    Args:
        model: Probabilities for the forgotten rows.
        incompetent: The same of a model with random weights, never trained.
    """
    return 1 - float(divergence.jensen_shannon(model, incompetent).mean()) / math.log(2)


def retrained(models: Sequence[ArrayLike], incompetent: ArrayLike) -> Interval:
    """Where one more retrained model's figure would lie, 95 %; from two or more retrained ones."""
    return intervals.one_more([zrf(each, incompetent) for each in models])
