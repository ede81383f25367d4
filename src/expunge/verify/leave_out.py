"""Does a method predict what retraining would have done? Leave groups out, retrain, compare.

The harness knows no method: it is given two callables. One retrains without some samples, the
other predicts, for the model of the first seed, what leaving them out changes. For each output,
predicted and actual changes are correlated over groups; the mean over outputs is the figure.

Retraining is noisy where it depends on a seed, so beside each figure stands its noise ceiling: the
same correlation between the changes of two retrainings with different seeds. Both are taken
against single retrainings, pair by pair, so they can be compared. A predictor that knew the mean
over all seeds would reach the square root of the ceiling; where the ceiling is near zero, no
figure says anything about a method. With one seed there is none, and None is reported.

Groups are drawn by keyed hashes, so equal arguments give equal groups, in any order and anywhere.

References:
    Koh, Ang, Teo and Liang, "On the Accuracy of Influence Functions for Measuring Group Effects",
    NeurIPS 2019, section 4: kinds of groups. Park et al., "TRAK", ICML 2023, section 2: the linear
    datamodelling score (LDS). Bae et al., "If Influence Functions are the Answer, Then What is the
    Question?", NeurIPS 2022: why networks' retraining is noisy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from expunge.core import rng
from expunge.core.errors import InputError
from expunge.verify import statistics
from expunge.verify.statistics import Numbers

Kind: TypeAlias = Literal["random", "class", "cluster", "subset"]
Mask: TypeAlias = NDArray[np.bool_]

_FORMAT: Final = 1
_LLOYD: Final = 50


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Samples to leave out together.

    Attributes:
        kind: How they were chosen; ``subset`` for the masks of the LDS.
        size: As it was asked for: ``"1"``, ``"10"``, ``"1%"`` …
        mask: True for those that leave: (n,).
    """

    kind: Kind
    size: str
    mask: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What a model came out as, or by how much it changes. All numbers are finite.

    Attributes:
        outputs: Margins, losses or any other numbers about it: (q,).
        parameters: (d,); None where they cannot be compared.
    """

    outputs: Numbers
    parameters: Numbers | None = None

    def __post_init__(self) -> None:
        for each in (self.outputs, self.parameters):
            if each is not None and not np.isfinite(each).all():
                raise InputError(
                    "An output or parameter is not finite, so nothing can be compared with it. "
                    "Look for a training or a prediction that diverged."
                )


@dataclass(frozen=True, slots=True)
class Row:
    """How well predictions agreed over the groups of one kind and size.

    All correlations are means over outputs, and over seeds or pairs of them; None is undefined.

    Attributes:
        groups: How many.
        pearson: Of predicted and actual changes.
        spearman: The same of ranks; for ``subset``, this is the LDS.
        parameter_error: Mean over groups of ‖θ̂ − θ′‖ / ‖θ − θ′‖: θ the model, θ′ retrained with
            its seed, θ̂ predicted. 0 is perfect, 1 is what doing nothing gives.
        ceiling_pearson: Between the changes of two retrainings; None for a single seed.
        ceiling_spearman: The same of ranks.
        spread: Root mean square of the actual changes, in the outputs' unit.
    """

    kind: Kind
    size: str
    groups: int
    pearson: float | None
    spearman: float | None
    parameter_error: float | None
    ceiling_pearson: float | None
    ceiling_spearman: float | None
    spread: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the harness found.

    Attributes:
        seeds: How many retrainings stand behind each actual change.
        outputs: How many numbers about a model were compared.
        rows: One for each kind and size, in the order of the groups.
    """

    seeds: int
    outputs: int
    rows: tuple[Row, ...]

    @property
    def lds(self) -> float | None:
        """The linear datamodelling score, if masks of subsets were among the groups."""
        return next((row.spearman for row in self.rows if row.kind == "subset"), None)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for reports."""
        return {"format": _FORMAT, **asdict(self), "rows": [asdict(row) for row in self.rows]}


Retrain: TypeAlias = Callable[[Mask, int], Fitted]
PredictChange: TypeAlias = Callable[[Mask], Fitted]


def measure(
    retrain: Retrain, predict_change: PredictChange, groups: Sequence[Group], seeds: Sequence[int]
) -> Agreement:
    """Leave each group out, retrain once for each seed, and compare with the prediction.

    Costs (groups + 1) · seeds retrainings, and one prediction for each group.

    Args:
        retrain: Trains without the samples that the mask marks, from a seed.
        predict_change: What leaving them out *changes* in the model of the first seed and all
            samples: outputs and, where it is known, parameters.
        groups: From :func:`groups` and :func:`subsets`.
        seeds: Different ones; two or more for a noise ceiling.

    Raises:
        InputError: No group, no seed or one twice, masks or outputs of different shapes.
    """
    _check(groups, seeds)
    nobody = np.zeros_like(groups[0].mask)
    whole = [retrain(nobody, seed) for seed in seeds]
    names = dict.fromkeys((group.kind, group.size) for group in groups)
    parts = [[g for g in groups if (g.kind, g.size) == name] for name in names]
    rows = tuple(_row(part, whole, retrain, predict_change, seeds) for part in parts)
    return Agreement(len(seeds), len(whole[0].outputs), rows)


def _check(groups: Sequence[Group], seeds: Sequence[int]) -> None:
    if not groups or not seeds or len(set(seeds)) != len(seeds):
        raise InputError(
            f"{len(groups)} groups and {len(seeds)} seeds. Expected at least one of each, and no "
            f"seed twice."
        )
    if len({group.mask.shape for group in groups}) != 1:
        raise InputError("Masks of groups differ in shape. Draw all from the same samples.")


def _row(
    groups: Sequence[Group],
    whole: Sequence[Fitted],
    retrain: Retrain,
    predict_change: PredictChange,
    seeds: Sequence[int],
) -> Row:
    actual, predicted, errors = [], [], []
    for group in groups:
        change = predict_change(group.mask)
        again = [retrain(group.mask, seed) for seed in seeds]
        predicted.append(change.outputs)
        actual.append([new.outputs - old.outputs for new, old in zip(again, whole, strict=True)])
        errors.append(_parameter_error(change, again[0], whole[0]))
    return _figures(groups, np.array(predicted), np.array(actual).swapaxes(0, 1), errors)


def _figures(
    groups: Sequence[Group], predicted: Numbers, actual: Numbers, errors: Sequence[float | None]
) -> Row:
    """From changes (groups, outputs), (seeds, groups, outputs), and errors of parameters."""
    if predicted.shape != actual.shape[1:]:
        raise InputError(
            f"Predicted changes have shape {predicted.shape}, actual ones {actual.shape[1:]}. "
            f"Expected (groups, outputs) of both."
        )
    against = [(predicted, each) for each in actual]
    pairs = [(a, b) for i, a in enumerate(actual) for b in actual[:i]]
    return Row(
        groups[0].kind,
        groups[0].size,
        len(groups),
        pearson=_over(statistics.pearson, against),
        spearman=_over(statistics.spearman, against),
        parameter_error=_mean(errors),
        ceiling_pearson=_over(statistics.pearson, pairs),
        ceiling_spearman=_over(statistics.spearman, pairs),
        spread=float(np.sqrt(np.mean(np.square(actual)))),
    )


def _over(
    correlate: Callable[[Numbers, Numbers], float | None], pairs: Sequence[tuple[Numbers, Numbers]]
) -> float | None:
    return _mean([statistics.mean_over_outputs(correlate, a, b) for a, b in pairs])


def _mean(found: Sequence[float | None]) -> float | None:
    known = [each for each in found if each is not None]
    return float(np.mean(known)) if known else None


def _parameter_error(change: Fitted, again: Fitted, whole: Fitted) -> float | None:
    if change.parameters is None or again.parameters is None or whole.parameters is None:
        return None
    moved = np.linalg.norm(again.parameters - whole.parameters)
    missed = np.linalg.norm(whole.parameters + change.parameters - again.parameters)
    return float(missed / moved) if moved > 0 else None


def groups(
    sizes: Sequence[str],
    count: int,
    key: int,
    *,
    classes: NDArray[np.int64],
    features: Numbers | None = None,
) -> list[Group]:
    """Draw ``count`` groups of each size: random ones, of one class, and of one cluster.

    A class's group is a random sample of it. A cluster's group is a random half of the samples
    nearest to its centre, which k-means found: at most 16 centres, and 50 rounds of
    n · centres · features.

    Args:
        sizes: Counts (``"10"``) or shares (``"1%"``, at least one sample).
        count: Groups of each kind and size; classes and clusters take turns.
        key: What all draws depend on, from :func:`expunge.core.rng.seed`.
        classes: (n,).
        features: Where clusters are looked for: (n, f). Without them there are no such groups.
    """
    people = len(classes)
    pools: dict[Kind, list[NDArray[np.int64]]] = {
        "random": [np.arange(people)],
        "class": [np.flatnonzero(classes == each) for each in np.unique(classes)],
    }
    if features is not None:
        pools["cluster"] = _nearness(features, clusters=max(2, min(16, people // 50)), key=key)
    return [
        _drawn(kind, size, pool[number % len(pool)], people, rng.seed(key, kind, size, number))
        for kind, pool in pools.items()
        for size in sizes
        for number in range(count)
    ]


def subsets(people: int, count: int, key: int, *, share: float = 0.5) -> list[Group]:
    """Random masks for the LDS: each leaves ``share`` of the samples out."""
    if not 0 < share < 1:
        raise InputError(f"`share` must be between 0 and 1, got {share}.")
    size, everybody = f"{100 * share:g}%", np.arange(people)
    return [
        _drawn("subset", size, everybody, people, rng.seed(key, "subset", number))
        for number in range(count)
    ]


def _drawn(kind: Kind, size: str, pool: NDArray[np.int64], people: int, key: int) -> Group:
    wanted = _count(size, people)
    if kind == "cluster":
        # The whole order, nearest first; twice as many as wanted, so that groups differ.
        pool = pool[: max(2 * wanted, 10)]
    if not 0 < wanted < people or wanted > len(pool):
        raise InputError(
            f"A group of {size} is {wanted:,} samples; a {kind} group is drawn from {len(pool):,} "
            f"of {people:,}. Ask for fewer, and for at least one."
        )
    mask = np.zeros(people, dtype=np.bool_)
    mask[pool[rng.order(pool.astype(np.uint64), key)[:wanted]]] = True
    return Group(kind, size, mask)


def _count(size: str, people: int) -> int:
    try:
        if size.endswith("%"):
            return max(1, round(float(size[:-1]) / 100 * people))
        return int(size)
    except ValueError:
        raise InputError(
            f"{size!r} is no size. Expected a count ('10') or a share ('1%')."
        ) from None


def _nearness(features: Numbers, clusters: int, key: int) -> list[NDArray[np.int64]]:
    """For each cluster, all samples, nearest to its centre first: ``clusters`` of (n,)."""
    rows = np.asarray(features, dtype=np.float64).reshape(len(features), -1)
    centres = _centres(rows, clusters, key)
    distances = _squared_distances(rows, centres)
    return [np.argsort(distances[:, i], kind="stable") for i in range(len(centres))]


def _centres(rows: Numbers, clusters: int, key: int) -> Numbers:
    """Lloyd's algorithm, from rows in a keyed order: (at most clusters, features)."""
    first = rng.order(np.arange(len(rows), dtype=np.uint64), rng.seed(key, "centres"))[:clusters]
    centres, last = rows[first], None
    for _ in range(_LLOYD):
        nearest = _squared_distances(rows, centres).argmin(axis=1)
        if last is not None and np.array_equal(nearest, last):
            break
        # A centre that nobody is nearest to goes.
        centres = np.stack([rows[nearest == i].mean(axis=0) for i in np.unique(nearest)])
        last = nearest
    return centres


def _squared_distances(rows: Numbers, centres: Numbers) -> Numbers:
    """(n, clusters)."""
    found: Numbers = (centres * centres).sum(axis=1) - 2 * rows @ centres.T
    found += (rows * rows).sum(axis=1)[:, None]
    return found
