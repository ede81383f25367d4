"""Can forgotten rows be told from rows that no model saw, by the scores of one model?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from expunge.metrics import arrays, intervals, lira, power, roc
from expunge.verify import report
from expunge.verify.report import RETRAINED, Check, Range
from expunge.verify.score_plan import Ask, Found, Plan, judged, seen, shown, span, unanswered
from expunge.verify.scores import Numbers, Scores

_STILL = "forgotten rows still look learnt"
_OVER = "forgotten rows stand out by scoring too low, which gives them away as well"


def auc(ask: Ask, scores: Scores, plan: Plan) -> Check:
    """The area under the ROC curve of forgotten against unseen rows; both directions count."""
    forgotten, unseen = scores.arrays["forgotten"], scores.arrays["unseen"]
    again = [roc.auc(*pair) for pair in _retrained(scores)]
    return judged(ask, _area(forgotten, unseen, again, plan), plan.margin)


def tpr(ask: Ask, scores: Scores, plan: Plan) -> Check:
    """How many forgotten rows stand out so that hardly an unseen one does; both directions."""
    forgotten, unseen = scores.arrays["forgotten"], scores.arrays["unseen"]
    sizes = len(forgotten), len(unseen)
    rows = max(power.proportion_rows(plan.margin, plan.fpr), power.rate_rows(plan.fpr))
    enough = f"{rows:,} rows of each kind"
    if sizes[1] < power.rate_rows(plan.fpr):
        why = (
            f"{sizes[1]:,} unseen rows know no rate of {plan.fpr:g}. It takes at least "
            f"{power.rate_rows(plan.fpr):,}, and about {enough} to pass."
        )
        return unanswered(ask, why)
    ideal, null = _reference_rates(scores, sizes, plan.fpr)
    found = Found(
        value=_both(forgotten, unseen, plan.fpr, 0.95)[0],
        # To pass, either direction has to lie within: no correction. To fail, one is enough.
        narrow=_both(forgotten, unseen, plan.fpr, 0.9)[1],
        wide=_both(forgotten, unseen, plan.fpr, 0.975)[1],
        null=null,
        ideal=ideal,
        least=power.proportion_effect(plan.fpr, *sizes),
        counts=_counts(scores),
        more=None if min(sizes) >= rows else enough,
        high="some rows stand out clearly",
        low="",
    )
    return judged(ask, found, plan.margin, upper=True)


def by_shadows(ask: Ask, scores: Scores, plan: Plan) -> Check:
    """The same AUC, of likelihood ratios that shadow models give for every single row."""
    cut = len(scores.arrays["forgotten"])
    told, *again = (_ratios(target, scores) for target in _targets(scores))
    areas = [roc.auc(each[:cut], each[cut:]) for each in again]
    found = _area(told[:cut], told[cut:], areas, plan)
    shadows = sum(len(scores.arrays[name]) for name in ("shadow_in", "shadow_out"))
    counts = {**_counts(scores), "shadow models": shadows}
    return judged(ask, replace(found, counts=counts), plan.margin)


def control(ask: Ask, scores: Scores, plan: Plan) -> Check:
    """Whether the AUC tells rows that the model did learn: else, that it finds nothing is nothing."""
    retained, unseen = scores.arrays["retained"], scores.arrays["unseen"]
    found = _area(retained, unseen, [], plan)
    sees = report.judge(found.narrow, found.wide, found.ideal, plan.margin, found.null)
    why = {
        "failed": "They stand out, so this way of looking does see what the model has learnt.",
        "passed": "They do not stand out: this way of looking sees nothing in this model, and that "
        "it finds nothing in forgotten rows says nothing.",
        "inconclusive": "It is not clear that they stand out, so it may be that this way of looking "
        "sees nothing in this model.",
    }[sees]
    return replace(
        judged(ask, found, plan.margin),
        verdict="passed" if sees == "failed" else "inconclusive",
        why=f"AUC {found.value:.3f}, between {span(found.wide)}. {why}",
        counts={"retained rows": len(retained), "unseen rows": len(unseen)},
        ideal=None,
        margin=None,
    )


def is_blind(scores: Scores, plan: Plan) -> bool:
    """Whether rows that the model did learn would have passed as forgotten, by the same test."""
    retained, unseen = scores.get("retained"), scores.get("unseen")
    if retained is None or unseen is None:
        return False
    found = _area(retained, unseen, [], plan)
    return report.judge(found.narrow, found.wide, found.ideal, plan.margin) == "passed"


def _area(positive: Numbers, negative: Numbers, again: Sequence[float], plan: Plan) -> Found:
    """An AUC, beside those of retrained models; without two of these, beside what theory says."""
    sizes = len(positive), len(negative)
    value = roc.auc(positive, negative)
    ideal, error, null = 0.5, 0.0, _null_area(sizes)
    if again:
        ideal, null = float(np.mean(again)), _within(intervals.one_more(again))
        # An area over so few rows is known to half a row at best, though models agree on it.
        spread = max(float(np.std(again, ddof=1)), 0.5 / min(sizes))
        error = spread / math.sqrt(len(again))
    narrow, wide = (
        _widened(value, roc.auc_interval(value, *sizes, level), _off(error, len(again), level))
        for level in (0.9, 0.95)
    )
    return Found(
        value=value,
        narrow=narrow,
        wide=wide,
        null=null,
        ideal=ideal,
        least=math.hypot(power.auc_effect(*sizes), seen() * error),
        counts={"forgotten rows": sizes[0], "unseen rows": sizes[1], RETRAINED: len(again)},
        more=_more(sizes, len(again), error, plan.margin),
        high=_STILL,
        low=_OVER,
    )


def _more(sizes: tuple[int, int], models: int, error: float, margin: float) -> str | None:
    """What there is too little of to show a pass, with its number."""
    of_rows = roc.null_standard_error(*sizes)
    if shown() * math.hypot(of_rows, error) <= margin:
        return None
    if shown() * of_rows > margin or error <= of_rows:
        return f"{math.ceil(power.auc_rows(margin) * (1 + (error / of_rows) ** 2)):,} rows of each kind"
    return f"{math.ceil(models * (shown() * error / margin) ** 2) + 1:,} retrained models"


def _null_area(sizes: tuple[int, int]) -> Range:
    half = intervals.normal(0.95) * roc.null_standard_error(*sizes)
    return _within((0.5 - half, 0.5 + half))


def _off(error: float, models: int, confidence: float) -> float:
    """How far the retrained models' mean may be from what it would be of very many."""
    return error * intervals.student(confidence, models - 1) if models else 0.0


def _widened(value: float, ends: Range, more: float) -> Range:
    low, high = ends
    return _within((value - math.hypot(value - low, more), value + math.hypot(high - value, more)))


def _within(ends: Range) -> Range:
    return max(ends[0], 0.0), min(ends[1], 1.0)


def _both(
    positive: Numbers, negative: Numbers, fpr: float, confidence: float
) -> tuple[float, Range]:
    """The larger rate of both directions, and from where to where the larger one may lie."""
    rates = roc.tpr_both_ways(positive, negative, fpr, confidence)
    ends = max(rate.low for rate in rates), max(rate.high for rate in rates)
    return max(rate.value for rate in rates), ends


def _reference_rates(scores: Scores, sizes: tuple[int, int], fpr: float) -> tuple[float, Range]:
    """What retrained models have, and where they lie; by theory alone where there are not two."""
    theory = roc.tpr_null(*sizes, fpr, 0.975)
    measured = [_both(*pair, fpr, 0.95)[0] for pair in _retrained(scores)]
    if not measured:
        return fpr, theory
    low, high = intervals.one_more(measured)
    return max(fpr, float(np.mean(measured))), _within((min(theory[0], low), max(theory[1], high)))


def _retrained(scores: Scores) -> list[tuple[Numbers, Numbers]]:
    forgotten, unseen = scores.get("retrained_forgotten"), scores.get("retrained_unseen")
    if forgotten is None or unseen is None:
        return []
    if len(forgotten) < 2:  # one alone says nothing of how retrained models vary
        return []
    return list(zip(forgotten, unseen, strict=True))


def _targets(scores: Scores) -> list[Numbers]:
    pairs = [(scores.arrays["forgotten"], scores.arrays["unseen"]), *_retrained(scores)]
    return [np.concatenate(pair) for pair in pairs]


def _ratios(target: Numbers, scores: Scores) -> Numbers:
    inside, outside = scores.arrays["shadow_in"], scores.arrays["shadow_out"]
    shadows = arrays.population(np.concatenate([inside, outside]), "shadows", models=2)
    member = np.zeros(shadows.shape, dtype=np.bool_)
    member[: len(inside)] = True
    return lira.online(target, shadows, member)


def _counts(scores: Scores) -> dict[str, int]:
    rows = {"forgotten rows": "forgotten", "unseen rows": "unseen"}
    found = {words: len(scores.arrays[name]) for words, name in rows.items()}
    return {**found, RETRAINED: len(_retrained(scores))}
