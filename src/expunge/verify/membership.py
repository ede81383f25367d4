"""Can the rows that one model forgot be told from rows that no model saw?

Each row's signal is compared with what shadow models that never saw the row say about it (LiRA,
offline: that is all that can be had for rows which are gone). The scores of forgotten rows are
then compared with those of unseen ones, in both directions. Retrained models are attacked in the
same way: what comes out for them is what an ideal result looks like here, for these rows.

Rows that stay are attacked as well, for two reasons. An attack that does not even find them says
nothing about others. And unlearning may expose them more than retraining would.

References:
    Carlini et al., arXiv:2112.03570, section V-B (offline attack). Hayes et al., arXiv:2403.01218
    (forgotten against never seen; harm to rows that stay). Steinke, Nasr and Jagielski,
    arXiv:2305.08846, section 5 (lower bounds of ε in one run).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import special

from expunge.core import rng
from expunge.metrics import chance, lira, one_run, rmia, roc
from expunge.metrics.arrays import Mask, Numbers
from expunge.verify import beside, score_membership, scores
from expunge.verify.report import RETRAINED, Check
from expunge.verify.score_plan import Ask, Plan, judged, unanswered
from expunge.verify.scores import Scores
from expunge.verify.settings import Settings

_CARLINI: Final = "Carlini et al., arXiv:2112.03570"
_FIRST: Final = Ask(
    "confidence-auc",
    "membership",
    "Is the model surer, or less sure, of forgotten rows than of rows that no model saw?",
    "AUC",
    "Yeom et al., CSF 2018, section III; Newcombe 2006, method 5",
    ("forgotten", "unseen"),
)
_LIRA: Final = Ask(
    "lira-auc",
    "membership",
    "Do likelihood ratios, row by row, tell forgotten rows from unseen ones?",
    "AUC",
    f"{_CARLINI}, section V-B",
    ("forgotten", "unseen"),
)
_EPSILON: Final = Ask(
    "epsilon-bound",
    "membership",
    "How much must the model give away about forgotten rows, at the very least?",
    "ε",
    "Steinke et al., arXiv:2305.08846, theorem 5.2; as if chance had chosen who is forgotten",
    ("forgotten", "unseen"),
    needed=False,
)
_CONTROL: Final = Ask(
    "control-retained",
    "retained",
    "Would these questions have seen rows that the model did learn?",
    "AUC",
    f"{_CARLINI}, section V-B",
    ("retained", "unseen"),
    needed=False,
)
_RMIA: Final = Ask(
    "rmia-auc",
    "membership",
    "Are forgotten rows more probable, against other models, than unseen ones are?",
    "AUC",
    "Zarifzadeh et al., arXiv:2312.03262, section 3",
    ("forgotten", "unseen"),
    needed=False,
)
_LABELS: Final = Ask(
    "label-only-auc",
    "membership",
    "Is it right about forgotten rows more often than about unseen ones? (classes alone)",
    "AUC",
    "Choquette-Choo et al., arXiv:2007.14321, section 3.1",
    ("forgotten", "unseen"),
    needed=False,
)
_EXPOSED: Final = Ask(
    "retained-exposure",
    "retained",
    "Are rows that stay easier to tell than they are in retrained models?",
    "AUC",
    "Hayes et al., arXiv:2403.01218, section 5",
    ("retained", "unseen"),
    needed=False,
)
_SEES: Final = 0.05
"""An attack that finds rows which were learnt with an AUC this near to chance sees nothing."""

_GUESSED: Final = 5
"""One canary in so many is guessed, those at either end; the others are abstained from."""

_BLIND: Final = (
    " But rows that the model did learn pass the same test: this way of looking sees nothing in "
    "this model, so that it finds nothing says nothing."
)


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What models said about one group of rows.

    Attributes:
        served: Signals (phi) of the audited model, (n,).
        retrained: Of retrained models, (retrained, n).
        ratios: Scores of the audited model by LiRA, (n,).
        again: Of retrained models, (retrained, n).
        robust: Scores by RMIA: of the audited model, and behind it of retrained ones.
        hits: Whether they are right: of the audited model, and behind it of retrained ones.
    """

    served: Numbers
    retrained: Numbers
    ratios: Numbers
    again: Numbers
    robust: Numbers
    hits: Numbers

    @classmethod
    def of(
        cls,
        signals: tuple[Numbers, Numbers],
        shadows: Numbers,
        member: Mask,
        a: float,
        hits: Numbers,
    ) -> Told:
        """From signals (phi).

        Args:
            signals: Of the audited model, (n,), and of retrained ones, (retrained, n).
            shadows: Of shadow models, (shadows, n).
            member: Which of them was trained on which row, (shadows, n).
            a: Of RMIA, as shadow models have it among themselves: :func:`chosen_a`.
            hits: As the attribute.
        """
        served, retrained = signals
        fit = lira.outside(shadows, member)
        again = np.array([fit.surprise(one) for one in retrained])
        robust = np.array(
            [
                rmia.ratios_offline(_chances(one), _chances(shadows), member, a)
                for one in (served, *retrained)
            ]
        )
        return cls(served, retrained, fit.surprise(served), again, robust, hits)


def chosen_a(shadows: Numbers, member: Mask) -> float:
    """RMIA's ``a``, from shadow models and rows that half of them learnt; never from the audited."""
    return rmia.choose_a(_chances(shadows), member)


def _chances(signals: Numbers) -> Numbers:
    """Probability of the true class, from phi."""
    chances: Numbers = special.expit(signals)
    return chances


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """All groups of rows; ``unseen`` is None where the caller gave none."""

    forgotten: Told
    retained: Told
    unseen: Told | None


def checks(asked: Asked, settings: Settings) -> tuple[Check, ...]:
    """Ask all questions.

    Args:
        asked: What models said.
        settings: Margins, and all else that was fixed beforehand.
    """
    plan = Plan(margin=settings.margin, seed=settings.seed)
    rates = [
        (_rate(fpr, needed=number == 0), replace(plan, fpr=fpr, margin=margin))
        for number, (fpr, margin) in enumerate(settings.rates)
    ]
    asks = (_FIRST, _LIRA, *(ask for ask, _ in rates), _RMIA, _LABELS, _EPSILON, _CONTROL, _EXPOSED)
    if asked.unseen is None:
        why = (
            "No rows were given that no model has seen (`unseen`). Forgotten rows can only be told "
            "from such rows, of the same kind: give some that were never in the dataset."
        )
        return tuple(unanswered(one, why) for one in asks)
    plain, ratios = _signals(asked, asked.unseen), _ratios(asked, asked.unseen)
    robust = _behind(asked, asked.unseen, lambda told: told.robust)
    hits = _behind(asked, asked.unseen, lambda told: told.hits)
    found = [
        _seeing(score_membership.auc(_FIRST, plain, plan), plain, plan),
        _seeing(score_membership.auc(_LIRA, ratios, plan), ratios, plan),
        *(_rated(ask, ratios, of_rate) for ask, of_rate in rates),
        _seeing(score_membership.auc(_RMIA, robust, plan), robust, plan),
        _seeing(score_membership.auc(_LABELS, hits, plan), hits, plan),
        _bound(ratios, settings.epsilon, settings.seed),
        score_membership.control(_CONTROL, ratios, plan),
        _exposed(asked, asked.unseen, plan),
    ]
    return tuple(found)


def scored(asked: Asked) -> Scores:
    """Scores by LiRA, as far as there are any, for plots."""
    if asked.unseen is not None:
        return _ratios(asked, asked.unseen)
    return scores.of({"forgotten": asked.forgotten.ratios, "retained": asked.retained.ratios})


def _rate(fpr: float, *, needed: bool) -> Ask:
    return Ask(
        f"lira-tpr-{fpr:g}",
        "membership",
        f"Do some forgotten rows stand out as only {fpr:.2g} of unseen rows do?",
        "",
        f"{_CARLINI}, section III",
        ("forgotten", "unseen"),
        needed=needed,
    )


def _signals(asked: Asked, unseen: Told) -> Scores:
    return scores.of(
        {
            "forgotten": asked.forgotten.served,
            "unseen": unseen.served,
            "retained": asked.retained.served,
            "retrained_forgotten": asked.forgotten.retrained,
            "retrained_unseen": unseen.retrained,
        },
        "phi",
    )


def _ratios(asked: Asked, unseen: Told) -> Scores:
    return scores.of(
        {
            "forgotten": asked.forgotten.ratios,
            "unseen": unseen.ratios,
            "retained": asked.retained.ratios,
            "retrained_forgotten": asked.forgotten.again,
            "retrained_unseen": unseen.again,
        }
    )


def _behind(asked: Asked, unseen: Told, of: Callable[[Told], Numbers]) -> Scores:
    """Scores of which the first is the audited model's, and those behind it retrained ones'."""
    forgotten, retained, other = (of(told) for told in (asked.forgotten, asked.retained, unseen))
    return scores.of(
        {
            "forgotten": forgotten[0],
            "unseen": other[0],
            "retained": retained[0],
            "retrained_forgotten": forgotten[1:],
            "retrained_unseen": other[1:],
        }
    )


def _rated(ask: Ask, told: Scores, plan: Plan) -> Check:
    # Whether the attack sees anything is asked of the area: few rows that stay may stand out.
    return _seeing(score_membership.tpr(ask, told, plan), told, replace(plan, margin=_SEES))


def _seeing(check: Check, told: Scores, plan: Plan) -> Check:
    """A pass counts only where the same test would have found rows that were learnt."""
    if check.verdict == "passed" and score_membership.is_blind(told, plan):
        return replace(check, verdict="inconclusive", why=check.why + _BLIND)
    return check


def _bound(told: Scores, margin: float, seed: int) -> Check:
    """A lower bound of ε, in either direction; it can fail a model, and pass none."""
    forgotten, unseen = told.arrays["forgotten"], told.arrays["unseen"]
    again = zip(told.arrays["retrained_forgotten"], told.arrays["retrained_unseen"], strict=True)
    null = [_epsilon(*pair, seed) for pair in again]
    value = _epsilon(forgotten, unseen, seed)
    canaries = min(len(forgotten), len(unseen))
    guesses = max(2 * (canaries // _GUESSED), 1)
    ceiling = one_run.epsilon(guesses, guesses, max(2 * canaries, 1), confidence=0.975)
    failed = value > max(margin, *null)
    why = (
        f"At least {value:.2f} with 95 % confidence, beyond {margin:g} and all of the retrained "
        f"models: forgotten rows can be told."
        if failed
        else f"At least {value:.2f}. A lower bound shows what is there, never that nothing is; so "
        f"few rows could have shown {ceiling:.2f} at most."
    )
    return replace(
        unanswered(_EPSILON, why),
        value=value,
        null=(0.0, max(null, default=0.0)),
        ideal=0.0,
        margin=margin,
        counts={"canaries": 2 * canaries, RETRAINED: len(null)},
        verdict="failed" if failed else "inconclusive",
    )


def _epsilon(forgotten: Numbers, unseen: Numbers, seed: int) -> float:
    """The better bound of both directions, each at half of the doubt; equal numbers of rows."""
    size = min(len(forgotten), len(unseen))
    guesses = 2 * (size // _GUESSED)
    if not guesses:
        return 0.0
    parts = [
        each[chance.shuffled(len(each), rng.seed("canaries", seed))[:size]]
        for each in (forgotten, unseen)
    ]
    told, truth = np.concatenate(parts), np.arange(2 * size) < size
    correct = [one_run.correct_guesses(way * told, truth, guesses) for way in (1, -1)]
    return max(one_run.epsilon(each, guesses, 2 * size, confidence=0.975) for each in correct)


def _exposed(asked: Asked, unseen: Told, plan: Plan) -> Check:
    """The area for rows that stay, beside those of retrained models, which learnt them too."""
    pairs = zip(asked.retained.again, unseen.again, strict=True)
    areas = [roc.auc(*pair) for pair in pairs]
    value = roc.auc(asked.retained.ratios, unseen.ratios)
    counts = {"retained rows": len(asked.retained.ratios), "unseen rows": len(unseen.ratios)}
    words = ("rows that stay are easier to tell", "rows that stay are harder to tell")
    if len(areas) < 2:
        return unanswered(_EXPOSED, beside.TOO_FEW)
    found = beside.found(value, areas, counts, words, plan.margin)
    return judged(_EXPOSED, found, plan.margin, upper=True)
