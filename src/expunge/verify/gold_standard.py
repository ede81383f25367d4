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

import numpy as np

from expunge.metrics import divergence
from expunge.metrics.arrays import Labels, Numbers
from expunge.verify import beside, gold_figures, score_models, scores
from expunge.verify.gold_figures import Told
from expunge.verify.report import Check, Curve, Group, Series
from expunge.verify.score_plan import Ask, Plan, judged, unanswered

_GOLATKAR: Final = "Golatkar et al., arXiv:1911.04933, section 5"
_JENSEN: Final = "Chundawat et al., arXiv:2205.08096, section 4.3"
_SCORES: Final = Ask(
    "gold-scores",
    "gold-standard",
    "Is the model as sure of forgotten rows as retrained models are?",
    "",
    "Hayes et al., arXiv:2403.01218, section 4; sign test by rows",
    ("retrained_forgotten", "forgotten"),
)
_NAMES: Final = {
    "forgotten": "forgotten rows",
    "retained": "rows that stay",
    "unseen": "unseen rows",
}
_GROUPS: Final[dict[str, Group]] = {
    "forgotten": "gold-standard",
    "retained": "retained",
    "unseen": "utility",
}


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What models answered about one group of rows.

    Attributes:
        classes: True ones, (n,).
        served: Probabilities of the audited model, (n, classes).
        retrained: Of retrained models, (retrained, n, classes).
        phi: How sure the audited model is of the truth, (n,).
        retrained_phi: The same of retrained ones, (retrained, n).
    """

    classes: Labels
    served: Numbers
    retrained: Numbers
    phi: Numbers
    retrained_phi: Numbers


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
    further = {name: Told(of.classes, [of.served, *of.retrained]) for name, of in groups.items()}
    return (*found, *gold_figures.checks(further, margins.further))


def _scored(answers: Answers, plan: Plan) -> Check:
    if len(answers.retrained) < 2:
        return unanswered(_SCORES, beside.TOO_FEW)
    told = {"forgotten": answers.phi, "retrained_forgotten": answers.retrained_phi}
    return score_models.wins(_SCORES, scores.of(told, "phi"), plan)


def _accurate(name: str, answers: Answers, margin: float) -> Check:
    ask = _ask(
        "accuracy",
        name,
        f"Is the model as often right about {_NAMES[name]} as retrained models are?",
        "share of rows",
        _GOLATKAR,
    )
    if len(answers.retrained) < 2:
        return unanswered(ask, beside.TOO_FEW)
    again = [_accuracy(each, answers.classes) for each in answers.retrained]
    counts = {"rows": len(answers.classes)}
    words = (
        f"it is right more often about {_NAMES[name]} than retrained models",
        f"it is right less often about {_NAMES[name]} than retrained models",
    )
    # A share of n rows is known to half a row at best.
    least = 0.5 / len(answers.classes)
    value = _accuracy(answers.served, answers.classes)
    found = beside.found(value, again, counts, words, margin, least=least)
    return judged(ask, found, margin)


def _diverging(name: str, answers: Answers, margin: float) -> Check:
    ask = _ask(
        "divergence",
        name,
        f"Are predictions for {_NAMES[name]} as near to retrained models' as those are to each other?",
        "nats",
        _JENSEN,
    )
    if len(answers.retrained) < 3:
        return unanswered(ask, "It takes three retrained models to compare them with each other.")
    again = [
        _apart(one, np.delete(answers.retrained, at, axis=0))
        for at, one in enumerate(answers.retrained)
    ]
    counts = {"rows": len(answers.classes)}
    words = (f"its predictions for {_NAMES[name]} are not those of a retrained model", "")
    value = _apart(answers.served, answers.retrained)
    found = beside.found(value, again, counts, words, margin)
    return judged(ask, found, margin, upper=True)


def _ask(what: str, name: str, question: str, unit: str, source: str) -> Ask:
    group = _GROUPS[name]
    return Ask(
        f"gold-{what}-{name}", group, question, unit, source, (), needed=group == "gold-standard"
    )


def _accuracy(answers: Numbers, classes: Labels) -> float:
    return float((answers.argmax(axis=1) == classes).mean())


def _apart(one: Numbers, others: Numbers) -> float:
    """Mean divergence from each of the others, over rows and models, in nats."""
    return float(np.mean([divergence.jensen_shannon(one, each).mean() for each in others]))


def tradeoff(answers: Mapping[str, Answers]) -> Curve:
    """How often models are right about forgotten rows, against how good they are: a plot."""
    name = "unseen" if "unseen" in answers else "retained"
    x, y = (_accuracies(answers[which]) for which in ("forgotten", name))
    return Curve(
        "tradeoff",
        "Forgetting against utility",
        "right about forgotten rows, share",
        f"right about {_NAMES[name]}, share",
        (
            Series("this model", (x[0],), (y[0],), "served"),
            Series("retrained models", tuple(x[1:]), tuple(y[1:]), "null"),
        ),
    )


def _accuracies(told: Answers) -> list[float]:
    """Of the audited model, and behind it of retrained ones."""
    return [_accuracy(one, told.classes) for one in (told.served, *told.retrained)]
