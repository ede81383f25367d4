"""Do models that forgot behave like models that never saw the rows? By scores of many models.

Populations of models are compared with what comes out when they are mixed at random: whole
models change sides, so that it does not matter how much their rows have in common. How much the
mixed figures vary also stands for how much the true one would, as it does near the ideal.

References:
    Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 3rd edition 2005,
    section 3.2 (exchanging whole units). Shao and Wu, "A General Theory for Jackknife Variance
    Estimation", Annals of Statistics 17 (1989), section 2 (leaving out half).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from expunge.core import rng
from expunge.core.errors import InputError
from expunge.metrics import arrays, chance, divergence, forgetting, intervals, ulira
from expunge.verify.report import RETRAINED, Check, Range
from expunge.verify.score_plan import Ask, Found, Plan, judged, seen, shown, unanswered
from expunge.verify.scores import Numbers, Scores

_FEW_DRAWS: Final = 19
_LEAST: Final = 4
_ROWS: Final = 2
# What n rows never showed may still be true of 3 rows in n (the rule of three, for 95 %), each of
# which is at most ½ away.
_UNSEEN: Final = 1.5


def wins(ask: Ask, scores: Scores, plan: Plan) -> Check:
    """How often the model scores a row higher than models retrained without it do."""
    served, retrained = (scores.arrays[name] for name in reversed(ask.needs))
    if len(served) < _ROWS:
        return unanswered(ask, "It takes two rows at least to know how rows differ.")
    others = arrays.population(retrained, ask.needs[0], models=2)
    rows = arrays.vector(_wins(served, others), ask.needs[1], least=_ROWS)
    again = [
        float(_wins(one, np.delete(others, at, axis=0)).mean()) for at, one in enumerate(others)
    ]
    of_rows = float(rows.std(ddof=1)) / math.sqrt(len(rows))
    of_models = float(np.std(again, ddof=1)) / math.sqrt(len(again))
    value = float(rows.mean())
    narrow, wide = (
        _around(
            value,
            math.hypot(
                max(of_rows * intervals.student(level, len(rows) - 1), _UNSEEN / len(rows)),
                of_models * intervals.student(level, len(again) - 1),
            ),
        )
        for level in (0.9, 0.95)
    )
    error = math.hypot(of_rows, of_models)
    found = Found(
        value=value,
        narrow=narrow,
        wide=wide,
        null=_clipped(intervals.one_more(again)),
        ideal=0.5,
        least=seen() * error,
        counts={"rows": len(rows), RETRAINED: len(again)},
        more=_more((of_rows, len(rows), "rows"), (of_models, len(again), RETRAINED), plan.margin),
        high="the model scores these rows higher than models that never saw them",
        low="the model scores these rows lower than models that never saw them",
    )
    return judged(ask, found, plan.margin)


def told_apart(ask: Ask, scores: Scores, plan: Plan) -> Check:
    """U-LiRA: how often a likelihood ratio, fitted to each row, orders two models rightly."""
    found = _mixed_found(scores, plan, lambda a, b: ulira.per_example(a, b).mean, plan.margin, 0.5)
    return judged(ask, found, plan.margin)


def divergent(ask: Ask, scores: Scores, plan: Plan) -> Check:
    """KLOM: divergence of margins over models, mean over rows; more is worse."""
    found = _mixed_found(
        scores, plan, lambda a, b: float(divergence.klom(a, b).mean()), plan.nats, None
    )
    return judged(ask, found, plan.nats, upper=True)


def quality(ask: Ask, scores: Scores, plan: Plan) -> Check:
    """F over the F that retraining itself has: half of the retrained models against the rest."""
    groups = halves(scores)
    size, rows = groups[0].shape
    value = _ratio(groups)
    pool = np.concatenate(groups)
    drawn, thinned = [], []
    for draw in range(_FEW_DRAWS):
        order = chance.shuffled(len(pool), rng.seed("quality", plan.seed, draw))
        mixed = pool[order]
        drawn.append(_ratio((mixed[:size], mixed[size : 2 * size], mixed[2 * size :])))
        kept = chance.shuffled(size, rng.seed("quality", plan.seed, draw, "half"))[: size // 2]
        if size >= 2 * _LEAST:
            thinned.append(_ratio((groups[0][kept], groups[1][kept], groups[2][kept])))
    # Mixing populations that differ makes a wide one; their halves vary as they do themselves.
    spread = _spread(thinned or drawn)
    found = Found(
        value=value,
        narrow=_half(value, spread, 0.9),
        wide=_half(value, spread, 0.95),
        null=intervals.one_more(drawn),
        ideal=1.0,
        least=seen() * spread,
        counts={"rows": rows, "models that forgot": size, RETRAINED: 2 * size},
        more=_models(
            size, spread, plan.ratio, "models that forgot, and twice as many retrained ones"
        ),
        high="the models are more alike than retrained ones are",
        low="the models can be told from retrained ones",
    )
    return judged(ask, found, plan.ratio)


def _ratio(groups: tuple[Numbers, Numbers, Numbers]) -> float:
    found = forgetting.calibrated(*groups)
    if found.retrained.value == 0:
        raise InputError(
            "By these few rows and models, retrained models can be told from one another without "
            "an error. Expected more of both."
        )
    return found.ratio


def halves(scores: Scores) -> tuple[Numbers, Numbers, Numbers]:
    """As many models that forgot as never saw the rows, and as many of these again.

    Raises:
        InputError: Fewer than four of each.
    """
    forgotten, never = scores.arrays["forgotten_models"], scores.arrays["never_models"]
    size = min(len(forgotten), len(never) // 2)
    arrays.population(forgotten, "forgotten_models", models=_LEAST)
    arrays.population(never, "never_models", models=2 * _LEAST)
    return forgotten[:size], never[:size], never[size : 2 * size]


def _mixed_found(
    scores: Scores,
    plan: Plan,
    statistic: Callable[[Numbers, Numbers], float],
    margin: float,
    ideal: float | None,
) -> Found:
    """A statistic of two populations, beside that of the same models mixed at random."""
    forgotten, never = scores.arrays["forgotten_models"], scores.arrays["never_models"]
    value = statistic(forgotten, never)
    everybody, size = np.concatenate([forgotten, never]), len(forgotten)
    drawn = np.empty(plan.draws)
    for draw in range(plan.draws):
        mixed = everybody[chance.shuffled(len(everybody), rng.seed("mixed", plan.seed, draw))]
        drawn[draw] = statistic(mixed[:size], mixed[size:])
    spread = _spread(drawn)
    fewest, most = min(size, len(never)), math.inf if ideal is None else 1.0
    return Found(
        value=value,
        narrow=_half(value, spread, 0.9, most),
        wide=_half(value, spread, 0.95, most),
        null=(float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))),
        ideal=float(drawn.mean()) if ideal is None else ideal,
        least=seen() * spread,
        counts={
            "rows": forgotten.shape[1],
            "models that forgot": size,
            RETRAINED: len(never),
        },
        more=_models(fewest, spread, margin, "models of each kind"),
        high="models that forgot can be told from models that never saw the rows",
        low="models that forgot are told from the others less often than by chance",
    )


def _spread(drawn: ArrayLike) -> float:
    """Standard deviation of drawn figures.

    Raises:
        InputError: They are all the same.
    """
    found = float(np.asarray(drawn, dtype=np.float64).std(ddof=1))
    if found == 0:
        raise InputError(
            "The models do not differ from one another, so nothing is known of how they vary. "
            "Expected models whose training had seeds of its own; compare equal ones byte by byte."
        )
    return found


def _wins(one: Numbers, others: Numbers) -> Numbers:
    """Share of ``others`` that score a row lower than ``one``, ties counting half: (n,)."""
    shares: Numbers = np.mean((one > others) + 0.5 * (one == others), axis=0)
    return shares


def _half(value: float, spread: float, confidence: float, most: float = math.inf) -> Range:
    half = intervals.normal(confidence) * spread
    return max(value - half, 0.0), min(value + half, most)


def _around(value: float, half: float) -> Range:
    return _clipped((value - half, value + half))


def _clipped(ends: Range) -> Range:
    return max(ends[0], 0.0), min(ends[1], 1.0)


def _models(have: int, error: float, margin: float, what: str) -> str | None:
    """How many it takes for a standard error with which equality can be shown, if more."""
    takes = math.ceil(have * (shown() * error / margin) ** 2)
    return f"{takes:,} {what}" if takes > have else None


def _more(
    rows: tuple[float, int, str], models: tuple[float, int, str], margin: float
) -> str | None:
    """Likewise where rows and models both err; each is allowed half of the variance."""
    if shown() * math.hypot(rows[0], models[0]) <= margin:
        return None
    half = margin / math.sqrt(2)
    parts = (_models(have, error, half, what) for error, have, what in (rows, models))
    return " and ".join(part for part in parts if part is not None)
