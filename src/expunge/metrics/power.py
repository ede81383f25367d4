"""How much a check needs to see something, and what is the least that it could have seen.

All by large-sample formulas with a normal distribution, so sizes are right to a row or so from
some twenty on. A check whose minimum effect is above its margin cannot conclude anything: it
says inconclusive, and how many rows or models it would have needed.

References:
    Phillips, "Power of the two one-sided tests procedure in bioequivalence", J. Pharmacokinetics
    and Biopharmaceutics 18 (1990). Noether, "Sample size determination for some common
    nonparametric tests", JASA 82 (1987) (variance of the Mann–Whitney statistic). Smirnov, Annals
    of Mathematical Statistics 19 (1948) (critical distance).
"""

from __future__ import annotations

import math

from scipy import special

from expunge.metrics import arrays, intervals, roc
from expunge.metrics.equivalence import ALPHA


def auc_rows(margin: float, power: float = 0.8, alpha: float = ALPHA) -> int:
    """Rows in each group, so that an AUC of 0.5 is shown to be within ``margin`` of it.

    Two one-sided tests; variance 1 / (6 n).

    >>> [auc_rows(margin, 0.8) for margin in (0.1, 0.05, 0.02)]
    [143, 571, 3569]
    """
    arrays.positive(margin, "margin")
    return math.ceil(_equivalent(power, alpha) ** 2 / (6 * margin**2))


def auc_margin(positives: int, negatives: int, power: float = 0.8, alpha: float = ALPHA) -> float:
    """The least margin that groups of this size could show: below it, they are inconclusive."""
    return _equivalent(power, alpha) * roc.null_standard_error(positives, negatives)


def auc_effect(positives: int, negatives: int, power: float = 0.8, alpha: float = ALPHA) -> float:
    """The least |AUC − 0.5| that a two-sided test of this level would have seen."""
    return _different(power, alpha) * roc.null_standard_error(positives, negatives)


def runs(margin: float, deviation: float, power: float = 0.8, alpha: float = ALPHA) -> int:
    """Runs in each group, so that equal means are shown to be within ``margin``; at least 2.

    Args:
        margin: In the unit of the figure.
        deviation: Standard deviation between runs, same unit.
        power: Chance that it is shown.
        alpha: Level of the test.
    """
    arrays.positive(margin, "margin")
    arrays.positive(deviation, "deviation")
    ratio = 2 * (deviation / margin) ** 2
    # Schouten's correction for a deviation that is estimated (z²/4 more, over two groups).
    return max(2, math.ceil(ratio * _equivalent(power, alpha) ** 2 + _z(1 - alpha) ** 2 / 4))


def mean_effect(
    deviation: float, sample: int, reference: int, power: float = 0.8, alpha: float = ALPHA
) -> float:
    """The least difference of means that a two-sided test of groups of this size would have seen."""
    error = arrays.positive(deviation, "deviation") * math.sqrt(1 / sample + 1 / reference)
    freedom = max(sample + reference - 2, 1)
    return error * (intervals.student(1 - alpha, freedom) + float(special.stdtrit(freedom, power)))


def proportion_rows(
    margin: float, share: float = 0.5, power: float = 0.8, alpha: float = ALPHA
) -> int:
    """Rows in each group, so that two equal proportions are shown to be within ``margin``."""
    arrays.positive(margin, "margin")
    return math.ceil(2 * share * (1 - share) * (_equivalent(power, alpha) / margin) ** 2)


def proportion_effect(
    share: float, sample: int, reference: int, power: float = 0.8, alpha: float = ALPHA
) -> float:
    """The least difference of proportions near ``share`` that a two-sided test would have seen."""
    error = math.sqrt(share * (1 - share) * (1 / sample + 1 / reference))
    return _different(power, alpha) * error


def epsilon_ceiling(trials: int, confidence: float = 0.95) -> float:
    """The highest lower bound of ε that this many trials can give: those without one error.

    ``trials`` rows or models in each group; each bound takes half of 1 − ``confidence``.

    >>> [round(epsilon_ceiling(n), 2) for n in (16, 64, 1000)]
    [1.35, 2.82, 5.6]
    """
    worst = intervals.clopper_pearson(0, trials, confidence)[1]
    return max(0.0, math.log((1 - worst) / worst))


def epsilon_trials(epsilon: float, confidence: float = 0.95) -> int:
    """Trials in each group that are needed, without one error, to show ε of at least this."""
    arrays.positive(epsilon, "epsilon")
    tail = (1 - arrays.share(confidence, "confidence")) / 2
    return math.ceil(math.log(tail) / math.log(1 - 1 / (1 + math.exp(epsilon))))


def rate_rows(fpr: float, least: int = 1) -> int:
    """Negatives that are needed, so that ``least`` of them may be false positives at this rate."""
    return math.ceil(least / arrays.share(fpr, "fpr") - 1e-9)


def smirnov_critical(first: int, second: int, alpha: float = ALPHA) -> float:
    """Distance of two distribution functions beyond which they differ at this level.

    Staying below it shows nothing: see :mod:`expunge.metrics.equivalence`.
    """
    return math.sqrt(-math.log(alpha / 2) / 2 * (1 / first + 1 / second))


def _equivalent(power: float, alpha: float) -> float:
    """The z of the test, plus z of the power, which two tests share."""
    return _z(1 - alpha) + _z((1 + arrays.share(power, "power")) / 2)


def _different(power: float, alpha: float) -> float:
    return _z(1 - alpha / 2) + _z(arrays.share(power, "power"))


def _z(chance: float) -> float:
    return float(special.ndtri(arrays.share(chance, "chance")))
