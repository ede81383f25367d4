"""How far a model's answers or weights are from those of a retrained one.

None has 0 for its ideal in practice: two retrainings differ as well. Each figure is to be read
beside the same figure between two retrained models, or two groups of them.

References:
    Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Information Theory 37
    (1991), section IV (JS). Golatkar, Achille and Soatto, ECCV 2020, arXiv:2003.02960, section 5
    (activation distance). Georgiev, Rinberg, Park, Garg, Ilyas, Madry and Neel, "Attribute-to-
    Delete", 2024, arXiv:2410.23232, section 3 (KLOM). Naeini, Cooper and Hauskrecht, AAAI 2015, and
    Guo et al., ICML 2017, arXiv:1706.04599, section 2 (calibration error).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from expunge.core import rng
from expunge.core.errors import InputError
from expunge.metrics import arrays, chance
from expunge.metrics.arrays import Numbers

_CLIP: Final = 100.0
_EMPTY: Final = 1e-5


def jensen_shannon(first: ArrayLike, second: ArrayLike) -> Numbers:
    """Jensen–Shannon divergence of two predictions for each row, (n,), in nats: 0 … log 2."""
    a, b = _pair(first, second)
    middle = (a + b) / 2
    parts = special.rel_entr(a, middle).sum(axis=1) + special.rel_entr(b, middle).sum(axis=1)
    found: Numbers = np.clip(parts / 2, 0, np.log(2))
    return found


def activation_distance(first: ArrayLike, second: ArrayLike) -> float:
    """Mean Euclidean distance of predictions, (n, classes) twice: 0 … √2."""
    a, b = _pair(first, second)
    return float(np.linalg.norm(a - b, axis=1).mean())


def klom(unlearned: ArrayLike, oracle: ArrayLike, bins: int = 20) -> Numbers:
    """KL divergence of margins over models for each row, (n,), in nats: unlearned ‖ retrained.

    As published: margins clipped to ±100, ``bins`` equal bins over the joint range of a row, and
    1e-5 where a bin holds unlearned but no retrained models. So it is 0 … 11.5, one far model
    moves all bins, and *equal* populations are far from 0 when models are few: see
    :func:`klom_null`.

    Args:
        unlearned: Margins (``signals.margin``) of models that forgot, (models, n).
        oracle: Of retrained models, (models, n).
        bins: At least 2.
    """
    a = np.clip(arrays.population(unlearned, "unlearned"), -_CLIP, _CLIP)
    b = np.clip(arrays.population(oracle, "oracle"), -_CLIP, _CLIP)
    arrays.same_rows(a, b)
    if bins < 2:
        raise InputError(f"{bins} bins. Expected at least 2.")
    low = np.minimum(a.min(axis=0), b.min(axis=0))
    high = np.maximum(a.max(axis=0), b.max(axis=0))
    p, q = (_shares(each, low, high - low, bins) for each in (a, b))
    found: Numbers = special.rel_entr(p, np.where((p > 0) & (q == 0), _EMPTY, q)).sum(axis=0)
    # Where the two sums are not both one (the floor), a divergence may come out below zero.
    return np.maximum(found, 0.0)


def klom_null(oracle: ArrayLike, draws: int = 8, key: int = 0, bins: int = 20) -> Numbers:
    """:func:`klom` between random halves of retrained models, mean over draws: (n,).

    What is ideal with half as many models: compare it with ``klom`` of populations of that size.
    """
    models = arrays.population(oracle, "oracle", models=4)
    half = len(models) // 2
    found = np.zeros(models.shape[1])
    for draw in range(draws):
        mixed = models[chance.shuffled(len(models), rng.seed("klom", key, draw))]
        found += klom(mixed[:half], mixed[half : 2 * half], bins)
    return found / draws


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error: |accuracy − confidence| of the top class, in [0, 1].

    Over equal bins of confidence, weighted by their rows. Biased upwards when rows are few: a
    perfectly calibrated model of n rows has about √(bins / n).
    """
    given = arrays.probabilities(probabilities)
    truth = arrays.labels(labels, *given.shape)
    top = given.max(axis=1)
    hits = (given.argmax(axis=1) == truth).astype(np.float64)
    # A bin holds its upper end, as in the paper.
    place = np.clip(np.ceil(top * bins).astype(int) - 1, 0, bins - 1)
    off = np.bincount(place, weights=hits - top, minlength=bins)
    return float(np.abs(off).sum() / len(top))


@dataclass(frozen=True, slots=True)
class Moved:
    """How far two models' parameters are apart.

    Attributes:
        distance: Euclidean.
        relative: The same, in lengths of the second model's parameters.
    """

    distance: float
    relative: float


def parameters(first: Sequence[ArrayLike], second: Sequence[ArrayLike]) -> Moved:
    """Distance of all parameters of two models of one shape, tensor by tensor.

    Says little: permuted units are far apart and answer alike, and models with equal answers on
    every row may differ here. Compare it with the distance of two retrainings.

    Raises:
        InputError: Tensors that differ in shape, or no parameters, or only zeros in the second.
    """
    one, two = ([np.asarray(each, np.float64) for each in model] for model in (first, second))
    if not one or [a.shape for a in one] != [b.shape for b in two]:
        raise InputError("Parameters differ in number or shape. Expected two models of one recipe.")
    moved = math.hypot(*(float(np.linalg.norm(a - b)) for a, b in zip(one, two, strict=True)))
    length = math.hypot(*(float(np.linalg.norm(b)) for b in two))
    return Moved(moved, moved / arrays.positive(length, "length of the second model's parameters"))


def _shares(margins: Numbers, low: Numbers, width: Numbers, bins: int) -> Numbers:
    """Share of models in each bin, (bins, n); a row without width has all of them in the first."""
    scaled = np.divide(margins - low, width, out=np.zeros_like(margins), where=width > 0)
    place = np.minimum((scaled * bins).astype(int), bins - 1)
    return np.stack([(place == each).mean(axis=0) for each in range(bins)])


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Numbers, Numbers]:
    a, b = arrays.probabilities(first, "first"), arrays.probabilities(second, "second")
    if a.shape != b.shape:
        raise InputError(f"Predictions of shapes {a.shape} and {b.shape}. Expected the same rows.")
    return a, b
