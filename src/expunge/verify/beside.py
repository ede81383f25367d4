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
from expunge.verify.score_plan import POWER, Found, shown

TOO_FEW: Final = "It takes two retrained models at least to know how retraining itself varies."


def found(
    value: float,
    again: Sequence[float],
    counts: Mapping[str, int],
    words: tuple[str, str],
    margin: float,
    *,
    least: float = 1e-9,
) -> Found:
    """The figure, before it is judged.

    Args:
        value: Of the audited model.
        again: Of retrained models, two at least.
        counts: Of rows.
        words: What more and less than retrained models have mean.
        margin: Fixed beforehand.
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
        more=_more(spread, len(again), margin),
        high=words[0],
        low=words[1],
    )


def _more(spread: float, models: int, margin: float) -> str | None:
    """What it takes to show a pass, where there is too little of it."""
    if shown() * spread * math.sqrt(1 + 1 / models) <= margin:
        return None
    room = (margin / (shown() * spread)) ** 2 - 1
    if room <= 0:
        return f"a margin of {shown() * spread:.2g}: retraining itself varies by so much"
    return f"{math.ceil(1 / room):,} {RETRAINED}"


def _moved(ends: Range, by: float) -> Range:
    return ends[0] + by, ends[1] + by
