"""An audit from scores alone: which questions its arrays answer, and the report of it.

References:
    Yeom et al., "Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting", IEEE
    CSF 2018, section III: one threshold for all rows. The other questions name theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from expunge.core.errors import InputError
from expunge.verify import score_curves, score_membership, score_models, score_planted
from expunge.verify.report import FORMAT, Check, Report, level_of
from expunge.verify.score_plan import Ask, Plan, missing, unanswered
from expunge.verify.scores import Scores

_FORGOTTEN: Final = ("forgotten", "unseen")
_MODELS: Final = ("forgotten_models", "never_models")
_HAYES: Final = "Hayes et al., arXiv:2403.01218, section 4"

ASKS: Final = (
    Ask(
        "membership-auc",
        "membership",
        "Do forgotten rows score higher, or lower, than rows that no model saw?",
        "AUC",
        "Yeom et al., CSF 2018, section III; Newcombe 2006, method 5",
        _FORGOTTEN,
    ),
    Ask(
        "membership-tpr",
        "membership",
        "Do some forgotten rows stand out as hardly any unseen row does?",
        "",
        "Carlini et al., arXiv:2112.03570, section III",
        _FORGOTTEN,
    ),
    Ask(
        "lira",
        "membership",
        "Do likelihood ratios, row by row, tell forgotten rows from unseen ones?",
        "AUC",
        "Carlini et al., arXiv:2112.03570, algorithm 1",
        (*_FORGOTTEN, "shadow_in", "shadow_out"),
    ),
    Ask(
        "ulira",
        "membership",
        "Can models that forgot the rows be told from models that never saw them?",
        "",
        _HAYES,
        _MODELS,
    ),
    Ask(
        "gold-scores",
        "gold-standard",
        "Does it score forgotten rows as models that were retrained without them do?",
        "",
        f"Retrained models as reference: {_HAYES}; sign test by rows",
        ("retrained_forgotten", "forgotten"),
    ),
    Ask(
        "unseen-scores",
        "gold-standard",
        "Does it score unseen rows as retrained models do?",
        "",
        "Sign test by rows",
        ("retrained_unseen", "unseen"),
    ),
    Ask(
        "klom",
        "gold-standard",
        "Are scores distributed over models that forgot as over retrained ones?",
        "nats",
        "Georgiev et al., arXiv:2410.23232, section 3",
        _MODELS,
    ),
    Ask(
        "forgetting-quality",
        "gold-standard",
        "Is the forgetting quality F that of retraining itself?",
        "",
        "Triantafillou et al., arXiv:2406.09073, section 3; calibrated by retraining",
        _MODELS,
        needed=False,
    ),
    Ask(
        "canary-exposure",
        "canaries",
        "Are planted secrets better known than others of their form, which nobody learnt?",
        "bits",
        "Carlini et al., arXiv:1802.08232, section 4.3",
        ("canaries", "references"),
    ),
    Ask(
        "backdoor-hits",
        "canaries",
        "Do planted triggers work as seldom as in models that never learnt them?",
        "share of queries",
        "Sommer et al., arXiv:2003.04247, section 4",
        ("backdoor_hits", "backdoor_never"),
    ),
    Ask(
        "relearn-time",
        "relearn",
        "Does it learn the forgotten rows again as slowly as models that never saw them?",
        "times",
        "Chundawat et al., arXiv:2201.05629, section V-C",
        ("relearn_served", "relearn_retrained"),
    ),
    Ask(
        "control-retained",
        "retained",
        "Would the first question have seen rows that the model did learn?",
        "AUC",
        "Yeom et al., CSF 2018, section III",
        ("retained", "unseen"),
        needed=False,
    ),
)
"""All questions, in the order of the report."""

_ANSWERS: Final[Mapping[str, Callable[[Ask, Scores, Plan], Check]]] = MappingProxyType(
    {
        "membership-auc": score_membership.auc,
        "membership-tpr": score_membership.tpr,
        "lira": score_membership.by_shadows,
        "ulira": score_models.told_apart,
        "gold-scores": score_models.wins,
        "klom": score_models.divergent,
        "forgetting-quality": score_models.quality,
        "canary-exposure": score_planted.canaries,
        "backdoor-hits": score_planted.backdoors,
        "relearn-time": score_planted.relearning,
        "control-retained": score_membership.control,
        "unseen-scores": score_models.wins,
    }
)
_BLIND: Final = (
    " But rows that the model did learn pass the same test: this way of looking sees nothing in "
    "this model, so that it finds nothing says nothing."
)


def audit(scores: Scores, subject: str, plan: Plan | None = None) -> Report:
    """Ask all that the arrays can answer.

    Args:
        scores: Of the audited model, and of others to compare it with.
        subject: Name of the model or file. No identities.
        plan: Margins and all else that is fixed beforehand.

    Raises:
        InputError: Not one question can be answered by these arrays.
    """
    started, fixed = time.monotonic(), plan or Plan()
    checks = tuple(_answered(ask, scores, fixed) for ask in ASKS)
    if not any(check.needed for check in checks):
        raise InputError(
            "These arrays answer no question. Expected `forgotten` and `unseen` at least, or "
            "`forgotten_models` and `never_models`."
        )
    level, name = level_of(checks)
    return Report(
        format=FORMAT,
        subject=subject,
        version=None,
        guarantee=None,
        made=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        level=level,
        level_name=name,
        checks=checks,
        curves=score_curves.of(scores),
        settings=_settings(scores, fixed),
        seconds=time.monotonic() - started,
    )


def _answered(ask: Ask, scores: Scores, plan: Plan) -> Check:
    if absent := [name for name in ask.needs if name not in scores.arrays]:
        return missing(ask, absent)
    try:
        check = _ANSWERS[ask.name](ask, scores, plan)
    except InputError as error:  # too few models, or of a kind that it cannot use: it says so
        return unanswered(ask, str(error))
    if "retained" in ask.needs or ask.needs != _FORGOTTEN or check.verdict != "passed":
        return check
    if score_membership.is_blind(scores, plan):
        return replace(check, verdict="inconclusive", why=check.why + _BLIND)
    return check


def _settings(scores: Scores, plan: Plan) -> dict[str, Any]:
    return {
        "source": "scores",
        "sha256": scores.sha256,
        "kind": scores.kind,
        "margin": plan.margin,
        "fpr": plan.fpr,
        "klom_margin": plan.nats,
        "quality_margin": plan.ratio,
        "exposure_margin": plan.bits,
        "relearn_margin": plan.speed,
        "draws": plan.draws,
        "seed": plan.seed,
        "arrays": {
            name: " × ".join(map(str, array.shape)) for name, array in scores.arrays.items()
        },
    }
