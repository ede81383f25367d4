"""What was planted beforehand, and how fast it is learnt again: canaries, backdoors, relearning.

References:
    Carlini et al., arXiv:1802.08232, section 4.3 (exposure). Sommer et al., "Athena", PoPETs 2022,
    arXiv:2003.04247, section 4 (hits of backdoors as binomial). Chundawat et al., arXiv:2201.05629,
    section V-C (anamnesis index).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from expunge.core.errors import InputError
from expunge.metrics import equivalence, exposure, intervals, power, relearn
from expunge.verify.report import Check
from expunge.verify.score_plan import Ask, Found, Plan, judged, seen, shown, unanswered
from expunge.verify.scores import Numbers, Scores

_RUNS: Final = 2


def canaries(ask: Ask, scores: Scores, plan: Plan) -> Check:
    """Do secrets that were planted, and are to be forgotten, stand ahead of others of their form?"""
    planted, others = scores.arrays["canaries"], scores.arrays["references"]
    found = exposure.exposure(-planted, -others)
    ideal, spread = _by_chance(len(others) + 1)
    # Not less than by chance: few canaries that happen to agree know no more.
    error = max(float(found.std()), spread) / math.sqrt(len(found))
    value = float(found.mean())
    null = intervals.normal(0.95) * spread / math.sqrt(len(found))
    enough = math.ceil((shown() * spread / plan.bits) ** 2)
    return judged(
        ask,
        Found(
            value=value,
            narrow=_around(value, intervals.normal(0.9) * error),
            wide=_around(value, intervals.normal(0.95) * error),
            null=_around(ideal, null),
            ideal=ideal,
            least=seen() * error,
            counts={"canaries": len(planted), "references": len(others)},
            more=None if len(planted) >= enough else f"{enough:,} canaries",
            high="canaries are still known",
            low="canaries stand behind others, which gives them away as well",
        ),
        plan.bits,
    )


def backdoors(ask: Ask, scores: Scores, plan: Plan) -> Check:
    """Does the model answer to triggers as models do that never learnt them?"""
    hits, never = (_hits(scores, name) for name in ask.needs)
    value = hits[0] / hits[1] - never[0] / never[1]
    rate = never[0] / never[1]
    enough = power.proportion_rows(plan.margin, rate) if 0 < rate < 1 else None
    return judged(
        ask,
        Found(
            value=value,
            narrow=intervals.difference(hits, never, 0.9),
            wide=intervals.difference(hits, never, 0.95),
            null=intervals.difference(never, never, 0.95),
            ideal=0.0,
            least=power.proportion_effect(min(max(rate, 0.01), 0.99), hits[1], never[1]),
            counts={"queries": hits[1], "queries of models that never learnt them": never[1]},
            more=None
            if enough is None or min(hits[1], never[1]) >= enough
            else f"{enough:,} queries",
            high="triggers still work",
            low="triggers work less often than in models that never learnt them",
        ),
        plan.margin,
    )


def relearning(ask: Ask, scores: Scores, plan: Plan) -> Check:
    """Does it learn the forgotten rows again as slowly as models that never saw them?"""
    served, retrained = (scores.arrays[name] for name in ask.needs)
    if min(len(served), len(retrained)) < _RUNS:
        return unanswered(ask, "It takes two runs of each at least, with seeds of their own.")
    if min(served.min(), retrained.min()) < 0:
        return unanswered(ask, "A run did not get there. Relearn for longer.")
    index = relearn.anamnesis(*([int(one) for one in runs] for runs in (served, retrained)))
    if index is None:
        return unanswered(ask, "No run differs from another, so no interval can be stated.")
    logs = equivalence.means(np.log1p(served), np.log1p(retrained))
    apart = relearn.anamnesis(*([int(one) for one in retrained],) * 2)
    error = (math.log(index.interval[1]) - math.log(index.interval[0])) / (
        2 * intervals.normal(0.95)
    )
    return judged(
        ask,
        Found(
            value=index.value,
            narrow=(math.exp(logs.narrow[0]), math.exp(logs.narrow[1])),
            wide=index.interval,
            null=None if apart is None else apart.interval,
            ideal=1.0,
            least=math.expm1(seen() * error),
            counts={"runs": len(served), "runs of retrained models": len(retrained)},
            more=f"more runs than {len(served):,}" if shown() * error > plan.speed else None,
            high="it takes longer than models that never saw them: the rows were pushed away",
            low="it takes less time than models that never saw them: something was left",
        ),
        plan.speed,
    )


def _by_chance(ranks: int) -> tuple[float, float]:
    """Mean and standard deviation of the exposure of a secret that was never there, in bits."""
    bits = math.log2(ranks) - np.log2(np.arange(1, ranks + 1))
    return float(bits.mean()), float(bits.std())


def _hits(scores: Scores, name: str) -> tuple[int, int]:
    found: Numbers = scores.arrays[name]
    if not np.isin(found, (0.0, 1.0)).all():
        raise InputError(f"`{name}` holds something other than hits (1) and misses (0).")
    return int(found.sum()), len(found)


def _around(value: float, half: float) -> tuple[float, float]:
    return value - half, value + half
