"""What a model says about each row, as one number: the raw material of every attack.

All are pure functions of probabilities (n, classes) or logits (n, classes) and true classes
(n,), and return (n,) in float64. Probabilities of zero count as 1e-45, the least that float32
can hold, so that every logarithm is finite; rows beyond that cannot be told apart.

References:
    Carlini, Chien, Nasr, Song, Terzis and Tramèr, "Membership Inference Attacks From First
    Principles", IEEE S&P 2022, arXiv:2112.03570, section V-C (phi). Song and Mittal, "Systematic
    Evaluation of Privacy Risks of Machine Learning Models", USENIX Security 2021,
    arXiv:2003.10595, section 3.2, equation 8 (modified entropy).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from expunge.core.errors import InputError
from expunge.metrics import arrays
from expunge.metrics.arrays import Labels, Mask, Numbers

FLOOR: Final = 1e-45
"""What a probability of zero counts as."""


def confidence(probabilities: ArrayLike, labels: ArrayLike) -> Numbers:
    """Probability of the true class, in [0, 1]."""
    given, truth = _checked(probabilities, labels)
    own: Numbers = given[np.arange(len(given)), truth]
    return own


def loss(probabilities: ArrayLike, labels: ArrayLike) -> Numbers:
    """Cross-entropy −log p_y, in nats, from 0 to 103.6."""
    return -_log(confidence(probabilities, labels))


def entropy(probabilities: ArrayLike) -> Numbers:
    """Shannon entropy of the prediction, in nats, from 0 to log(classes). Ignores the truth."""
    given = arrays.probabilities(probabilities)
    spread: Numbers = -(given * _log(given)).sum(axis=1)
    return spread


def modified_entropy(probabilities: ArrayLike, labels: ArrayLike) -> Numbers:
    """Entropy that knows the truth: −(1−p_y) log p_y − Σ_{c≠y} p_c log(1−p_c), in nats.

    0 for a certain and correct prediction. Needs the logarithm of 1 − p_c: with log p_c in its
    place, as some published code has it, certain mistakes look like certain hits.
    """
    given, truth = _checked(probabilities, labels)
    others = _others(given, truth)
    own = confidence(given, truth)
    wrong: Numbers = np.where(others, given * _log(1 - given), 0.0).sum(axis=1)
    return -(1 - own) * _log(own) - wrong


def phi(probabilities: ArrayLike, labels: ArrayLike) -> Numbers:
    """Logit-scaled confidence log p_y − log Σ_{c≠y} p_c, in nats, within ±103.6.

    Near to normally distributed over models, which LiRA counts on. The sum over the other
    classes is taken as it stands, not as 1 − p_y, which would be lost to rounding.
    """
    given, truth = _checked(probabilities, labels)
    rest = np.where(_others(given, truth), given, 0.0).sum(axis=1)
    scaled: Numbers = _log(confidence(given, truth)) - _log(rest)
    return scaled


def margin(logits: ArrayLike, labels: ArrayLike) -> Numbers:
    """z_y − logsumexp_{c≠y} z_c: :func:`phi` from logits, exact and without bounds."""
    given = arrays.population(logits, "logits", rows=2)
    truth = arrays.labels(labels, *given.shape)
    rest = np.where(_others(given, truth), given, -np.inf)
    top = rest.max(axis=1)
    others = top + np.log(np.exp(rest - top[:, None]).sum(axis=1))
    found: Numbers = given[np.arange(len(given)), truth] - others
    return found


def correctness(probabilities: ArrayLike, labels: ArrayLike) -> Numbers:
    """1 where the true class alone is the likeliest, 0 where it is not, 1/k in a tie of k.

    Two values, so never to be modelled as normal (see :mod:`expunge.metrics.lira`).
    """
    given, truth = _checked(probabilities, labels)
    best = given == given.max(axis=1, keepdims=True)
    hits: Numbers = np.where(best[np.arange(len(given)), truth], 1 / best.sum(axis=1), 0.0)
    return hits


def softmax(logits: ArrayLike) -> Numbers:
    """Probabilities of logits, (n, classes)."""
    given = arrays.population(logits, "logits", rows=2)
    raised = np.exp(given - given.max(axis=1, keepdims=True))
    shares: Numbers = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _checked(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Numbers, Labels]:
    given = arrays.probabilities(probabilities)
    return given, arrays.labels(labels, *given.shape)


def _others(given: Numbers, truth: Labels) -> Mask:
    mask = np.ones(given.shape, dtype=np.bool_)
    mask[np.arange(len(given)), truth] = False
    return mask


def _log(values: Numbers) -> Numbers:
    logarithm: Numbers = np.log(np.maximum(values, FLOOR))
    return logarithm


def need_spread(values: Numbers, name: str) -> None:
    """Check that a signal may be modelled as normal over models.

    Raises:
        InputError: It takes no values but 0 and 1.
    """
    if ((values == 0) | (values == 1)).all():
        raise InputError(
            f"`{name}` holds only 0 and 1, as hits and misses do, and is to be modelled as normal. "
            f"Expected a signal with a scale, such as `signals.phi`."
        )
