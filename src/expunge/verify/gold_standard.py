"""Does one model behave as models do that were retrained without the forgotten rows?

Every figure stands beside its null: the same figure of retrained models, each taken against the
others. Rows are scored, classes are counted, and whole predictions are compared, on forgotten
rows and on others: a model may give itself away where nobody asked it to forget.

References:
    Golatkar, Achille and Soatto, arXiv:1911.04933, section 5 (retraining as the measure). Hayes et
    al., arXiv:2403.01218. Chundawat et al., arXiv:2205.08096, section 4.3 (Jensen–Shannon).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from expunge.metrics import divergence
from expunge.metrics.arrays import Numbers
from expunge.verify import beside, gold, gold_figures, score_models, scores
from expunge.verify.gold import GROUPS, ROWS, Answers, Rule
from expunge.verify.report import Check, Curve, Series
from expunge.verify.score_plan import Ask, Plan, unanswered

_GOLATKAR: Final = "Golatkar et al., arXiv:1911.04933, section 5"
_EXACT: Final = 1e-9
_JENSEN: Final = "Chundawat et al., arXiv:2205.08096, section 4.3"
_SCORES: Final = Ask(
    "gold-scores",
    "gold-standard",
    "Is the model as sure of forgotten rows as retrained models are?",
    "",
    "Hayes et al., arXiv:2403.01218, section 4; sign test by rows",
    ("retrained_forgotten", "forgotten"),
)


@dataclass(frozen=True, slots=True)
class Margins:
    """What was fixed beforehand.

    Attributes:
        plan: Of shares of rows.
        accuracy: Of accuracies, as a share of rows.
        divergence: Of Jensen–Shannon divergences. Unit: nats.
        further: Of figures that are not needed to pass.
    """

    plan: Plan
    accuracy: float
    divergence: float
    further: gold_figures.Margins


def checks(groups: dict[str, Answers], margins: Margins) -> tuple[Check, ...]:
    """Ask all questions.

    Args:
        groups: By ``forgotten``, ``retained`` and ``unseen``; the last two may be left out.
        margins: Fixed beforehand.
    """
    found = [_scored(groups["forgotten"], margins.plan)]
    for name, answers in groups.items():
        found.append(_accurate(name, answers, margins.accuracy))
        found.append(_diverging(name, answers, margins.divergence))
    return (*found, *gold_figures.checks(groups, margins.further))


def _scored(answers: Answers, plan: Plan) -> Check:
    if len(answers.retrained) < 2:
        return unanswered(_SCORES, beside.TOO_FEW)
    told = {"forgotten": answers.phi, "retrained_forgotten": answers.retrained_phi}
    return score_models.wins(_SCORES, scores.of(told, "phi"), plan)


def _accurate(name: str, answers: Answers, margin: float) -> Check:
    ask = _ask(
        "accuracy",
        name,
        f"Is the model as often right about {ROWS[name]} as retrained models are?",
        "share of rows",
        _GOLATKAR,
    )
    words = (
        f"it is right more often about {ROWS[name]} than retrained models",
        f"it is right less often about {ROWS[name]} than retrained models",
    )
    # A share of n rows is known to half a row at best.
    rule = Rule(margin, words, least=0.5 / len(answers), fewest=2)
    return gold.compared(ask, answers.accuracies, len(answers), rule)


def _diverging(name: str, answers: Answers, margin: float) -> Check:
    ask = _ask(
        "divergence",
        name,
        f"Are predictions for {ROWS[name]} as near to retrained models' as those are to each other?",
        "nats",
        _JENSEN,
    )
    words = (f"its predictions for {ROWS[name]} are not those of a retrained model", "")
    far = gold.distances(answers.models, _jensen_shannon)
    rule = Rule(margin, words, least=_EXACT, upper=True)
    return gold.compared(ask, far, len(answers), rule)


def _ask(what: str, name: str, question: str, unit: str, source: str) -> Ask:
    group = GROUPS[name]
    return Ask(
        f"gold-{what}-{name}", group, question, unit, source, (), needed=group == "gold-standard"
    )


def _jensen_shannon(one: Numbers, other: Numbers) -> float:
    return float(divergence.jensen_shannon(one, other).mean())


def tradeoff(answers: Mapping[str, Answers]) -> Curve:
    """How often models are right about forgotten rows, against how good they are: a plot."""
    name = "unseen" if "unseen" in answers else "retained"
    x, y = (answers[which].accuracies for which in ("forgotten", name))
    return Curve(
        "tradeoff",
        "Forgetting against utility",
        "right about forgotten rows, share",
        f"right about {ROWS[name]}, share",
        (
            Series("this model", (x[0],), (y[0],), "served"),
            Series("retrained models", tuple(x[1:]), tuple(y[1:]), "null"),
        ),
    )
