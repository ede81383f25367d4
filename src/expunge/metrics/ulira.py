"""Can models that forgot a row be told from models that never saw it?

That is the question, not whether a member can be told from a non-member. Two populations of
models are compared, row by row: ``forgotten`` ones were trained with the row and then forgot
it, ``never`` ones were trained without. Both must vary their training seeds, not only seeds of
forgetting.

Nothing is judged by itself: each pair of one model from either population is judged by
distributions fitted to all others. Leaving out the pair, rather than one model, makes chance
exactly one half where the populations are alike: they can be exchanged.

A row's figure is the share of pairs that were told apart rightly, 0.5 … 1. It sees departures
of either direction, because a likelihood ratio does. Costs F · N · n.

References:
    Hayes, Shumailov, Triantafillou, Khalifa and Papernot, "Inexact Unlearning Needs More Careful
    Evaluations to Avoid a False Sense of Privacy", SaTML 2025, arXiv:2403.01218, section 4 (U-LiRA:
    per example; population U-MIA). Airola et al., "An experimental comparison of cross-validation
    techniques for estimating the area under the ROC curve", CSDA 55 (2011) (leaving pairs out).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from expunge.core import rng
from expunge.core.errors import InputError
from expunge.metrics import arrays, chance, signals
from expunge.metrics.arrays import Numbers

_LEAST: Final = 4
# A variance below this part of the common one is rounding, not knowledge.
_FLOOR: Final = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """How often two populations of models were told apart.

    Attributes:
        rows: Share of pairs of models that were ordered rightly, for each row: (n,), in [0, 1].
        mean: Over rows. 0.5 is ideal; what its chance is, :func:`p_value` tells.
    """

    rows: Numbers
    mean: float


def per_example(forgotten: ArrayLike, never: ArrayLike) -> Told:
    """Judge each row by normal distributions of its own.

    Args:
        forgotten: Signals (``signals.phi``) of models that forgot the rows, (F, n), F ≥ 4.
        never: Of models that never saw them, (N, n), N ≥ 4.

    Raises:
        InputError: Too few models, hits and misses for signals, rows that do not fit.
    """
    first, second = _checked(forgotten, never)
    return _told(first, second, together=False)


def population(forgotten: ArrayLike, never: ArrayLike) -> Told:
    """Judge all rows by the same two distributions: weaker, and misses single rows."""
    first, second = _checked(forgotten, never)
    return _told(first, second, together=True)


def p_value(forgotten: ArrayLike, never: ArrayLike, draws: int = 199, key: int = 0) -> float:
    """How often populations mixed at random are told apart as well as these (per example).

    Exact whatever the rows have in common, because whole models are exchanged. A small one
    shows that the populations differ; a large one shows nothing.
    """
    first, second = _checked(forgotten, never)
    seen = _told(first, second, together=False).mean
    everybody = np.concatenate([first, second])
    beaten = 1
    for draw in range(draws):
        order = chance.shuffled(len(everybody), rng.seed("ulira", key, draw))
        mixed = everybody[order]
        beaten += _told(mixed[: len(first)], mixed[len(first) :], together=False).mean >= seen
    return beaten / (draws + 1)


def _told(forgotten: Numbers, never: Numbers, together: bool) -> Told:
    first, second = _Sums.of(forgotten, together), _Sums.of(never, together)
    rows = np.zeros(forgotten.shape[1])
    for one in forgotten:
        held = first.without(one)
        for other in never:
            fresh = second.without(other)
            gain = held.ratio(one, fresh) - held.ratio(other, fresh)
            rows += np.where(gain == 0, 0.5, gain > 0)
    rows /= len(forgotten) * len(never)
    return Told(rows, float(rows.mean()))


@dataclass(frozen=True, slots=True, eq=False)
class _Normal:
    mean: Numbers
    variance: Numbers

    def log_density(self, values: Numbers) -> Numbers:
        density: Numbers = -((values - self.mean) ** 2) / self.variance - np.log(self.variance)
        return density / 2

    def ratio(self, values: Numbers, other: _Normal) -> Numbers:
        return self.log_density(values) - other.log_density(values)


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Enough of a population to leave any of its models out; centred, so that nothing cancels."""

    centre: Numbers
    squares: Numbers
    models: int
    together: bool

    @classmethod
    def of(cls, signal: Numbers, together: bool) -> _Sums:
        centre = signal.mean(axis=0)
        return cls(centre, ((signal - centre) ** 2).sum(axis=0), len(signal), together)

    def without(self, one: Numbers) -> _Normal:
        """Leave out a model: the update of Welford, backwards."""
        left, off = self.models - 1, one - self.centre
        mean = self.centre - off / left
        squares = np.maximum(self.squares - off * (one - mean), 0.0)
        if self.together:
            within = squares.sum() / len(squares) + left * mean.var()
            mean, squares = np.full_like(mean, mean.mean()), np.full_like(squares, within)
        variance = squares / max(left - 1, 1)
        floor = max(_FLOOR * float(variance.mean()), 1e-12)
        return _Normal(mean, np.maximum(variance, floor))


def _checked(forgotten: ArrayLike, never: ArrayLike) -> tuple[Numbers, Numbers]:
    first = arrays.population(forgotten, "forgotten")
    second = arrays.population(never, "never")
    arrays.same_rows(first, second)
    if min(len(first), len(second)) < _LEAST:
        raise InputError(
            f"{len(first)} models that forgot and {len(second)} that never saw the rows. Expected "
            f"at least {_LEAST} of each, trained with different seeds."
        )
    for each, name in ((first, "forgotten"), (second, "never")):
        signals.need_spread(each, name)
    return first, second
