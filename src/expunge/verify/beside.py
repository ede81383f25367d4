"""One served model's figure beside the same figure of retrained models.

How much such a figure varies from one training to the next is known from the retrained ones
alone. So the interval of the served one is that of *one more* training: m ± t·s·√(1 + 1/n).
More retrained models make it surer, and narrower only as far as training itself varies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from expunge.metrics import equivalence, intervals, power
from expunge.verify.report import RETRAINED, Range
from expunge.verify.score_plan import POWER, Found

TOO_FEW: Final = "It takes two retrained models at least to know how retraining itself varies."


def found(
    value: float,
    again: Sequence[float],
    counts: Mapping[str, int],
    words: tuple[str, str],
    least: float = 1e-9,
) -> Found:
    """The figure, before it is judged.

    Args:
        value: Of the audited model.
        again: Of retrained models, two at least.
        counts: Of rows.
        words: What more and less than retrained models have mean.
        least: What the figure is known to at best; deterministic trainings do not vary at all.
    """
    mean, spread = float(np.mean(again)), max(float(np.std(again, ddof=1)), least)
    error = spread * math.sqrt(1 + 1 / len(again))
    effect = equivalence.effect(value - mean, error, len(again) - 1)
    half = intervals.student(0.95, len(again) - 1) * error
    return Found(
        value=value,
        narrow=_moved(effect.narrow, mean),
        wide=_moved(effect.wide, mean),
        null=(mean - half, mean + half),
        ideal=mean,
        least=power.mean_effect(spread, 1, len(again), POWER),
        counts={**counts, RETRAINED: len(again)},
        more="more retrained models, or a margin above what retraining itself varies by "
        f"({2 * spread:.2g} for two standard deviations)",
        high=words[0],
        low=words[1],
    )


def _moved(ends: Range, by: float) -> Range:
    return ends[0] + by, ends[1] + by
