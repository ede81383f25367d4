"""The plots of an audit from scores."""

from __future__ import annotations

import math
from typing import Final, Literal

import numpy as np

from expunge.core.errors import InputError
from expunge.metrics import forgetting, roc
from expunge.verify import score_models
from expunge.verify.report import Curve, Series
from expunge.verify.scores import Numbers, Scores

_POINTS: Final = 150
_SHOWN_MODELS: Final = 8
_HIGHEST: Final = 6.5  # where the bins of F end


def of(scores: Scores) -> tuple[Curve, ...]:
    """All plots for which there are arrays."""
    found: list[Curve | None] = [
        _roc(scores),
        _histogram(scores),
        _epsilon(scores),
        _tradeoff(scores),
    ]
    return tuple(curve for curve in found if curve is not None)


def _roc(scores: Scores) -> Curve | None:
    forgotten, unseen = scores.get("forgotten"), scores.get("unseen")
    if forgotten is None or unseen is None:
        return None
    least = 1 / max(len(forgotten), len(unseen), 10)
    diagonal = tuple(np.geomspace(least, 1.0, 20).tolist())
    series = [
        _rates("this model", forgotten, unseen, "served"),
        Series("chance", diagonal, diagonal, "reference"),
    ]
    pairs = _retrained(scores)[:_SHOWN_MODELS]
    series += [_rates("retrained models", *pair, "null") for pair in pairs]
    return Curve(
        "roc",
        "Forgotten rows found, at each rate of false alarms",
        "unseen rows taken for forgotten ones",
        "forgotten rows found",
        tuple(series),
    )


def _rates(
    name: str, positive: Numbers, negative: Numbers, role: Literal["served", "null"]
) -> Series:
    curve = roc.roc(positive, negative)
    kept = _some(curve.fpr, curve.tpr)
    x, y = curve.fpr[kept].tolist(), curve.tpr[kept].tolist()
    return Series(name, tuple(x), tuple(y), role)


def _some(fpr: Numbers, tpr: Numbers) -> list[int]:
    """Places spread evenly along the logarithms of both rates, with the ends."""
    least = 1e-6
    length = np.log(np.maximum(fpr, least)) + np.log(np.maximum(tpr, least))
    wanted = np.linspace(length[0], length[-1], _POINTS)
    return sorted({0, len(fpr) - 1, *np.clip(np.searchsorted(length, wanted), 0, len(fpr) - 1)})


def _histogram(scores: Scores) -> Curve | None:
    roles = {"forgotten": "served", "unseen": "null", "retained": "reference"}
    arrays = {name: scores.arrays[name] for name in roles if name in scores.arrays}
    if "forgotten" not in arrays:
        return None
    everything = np.concatenate(list(arrays.values()))
    low, high = (float(end) for end in np.quantile(everything, (0.005, 0.995)))
    if low == high:
        low, high = low - 0.5, high + 0.5
    bins = min(30, max(8, math.ceil(2 * len(arrays["forgotten"]) ** (1 / 3))))
    edges = np.linspace(low, high, bins + 1)
    series = [_bars(name, array, edges) for name, array in arrays.items()]
    return Curve("histogram", "Scores of this model", "score", "share of rows", tuple(series))


def _bars(name: str, array: Numbers, edges: Numbers) -> Series:
    """What lies beyond the edges counts in the outermost bins."""
    counts, _ = np.histogram(np.clip(array, edges[0], edges[-1]), edges)
    shares = tuple((counts / len(array)).tolist())
    x = tuple(edges.tolist())
    if name == "forgotten":
        return Series("forgotten rows", x, shares, "served")
    return Series(f"{name} rows", x, shares, "null" if name == "unseen" else "reference")


def _epsilon(scores: Scores) -> Curve | None:
    if not {"forgotten_models", "never_models"} <= scores.arrays.keys():
        return None
    try:
        found = forgetting.calibrated(*score_models.halves(scores))
    except InputError:  # too few models, which the check of the same name says
        return None
    return Curve(
        "epsilon",
        "Estimates of what single rows give away",
        "share of rows",
        f"ε, at most {_HIGHEST:g}",
        (
            _ranked("models that forgot", found.unlearned.epsilon, served=True),
            _ranked("retrained models", found.retrained.epsilon, served=False),
        ),
    )


def _ranked(name: str, epsilon: Numbers, *, served: bool) -> Series:
    ranked = np.sort(np.minimum(epsilon, _HIGHEST))
    shares = (np.arange(len(ranked)) + 1) / len(ranked)
    kept = np.unique(np.linspace(0, len(ranked) - 1, _POINTS).astype(int))
    x, y = tuple(shares[kept].tolist()), tuple(ranked[kept].tolist())
    return Series(name, x, y, "served" if served else "null")


def _tradeoff(scores: Scores) -> Curve | None:
    pairs, cut = _retrained(scores), _even_odds(scores.kind)
    if not pairs or cut is None:
        return None
    served = _place(scores.arrays["forgotten"], scores.arrays["unseen"], cut)
    again = [_place(*pair, cut) for pair in pairs]
    return Curve(
        "tradeoff",
        "Forgetting against utility",
        "distance of the AUC from 0.5",
        "unseen rows, odds above even",
        (
            Series("this model", (served[0],), (served[1],), "served"),
            Series(
                "retrained models", tuple(a for a, _ in again), tuple(b for _, b in again), "null"
            ),
        ),
    )


def _place(forgotten: Numbers, unseen: Numbers, cut: float) -> tuple[float, float]:
    return abs(roc.auc(forgotten, unseen) - 0.5), float((unseen > cut).mean())


def _even_odds(kind: str) -> float | None:
    """The score above which the true class has more than even odds; None where nobody knows."""
    return {"margin": 0.0, "phi": 0.0, "confidence": 0.0, "loss": -math.log(2)}.get(kind)


def _retrained(scores: Scores) -> list[tuple[Numbers, Numbers]]:
    names = ("forgotten", "unseen", "retrained_forgotten", "retrained_unseen")
    if not set(names) <= scores.arrays.keys():
        return []
    forgotten, unseen = (scores.arrays[name] for name in names[2:])
    return list(zip(forgotten, unseen, strict=True))
