"""Ask with a trigger: a user's marked rows show whether a model still answers to the mark.

A user plants a backdoor in some own rows before they are learnt. A model that has them answers
to the trigger with a chance p, one that never did with a chance q. After forgetting, n queries
decide between the two, with error rates that are known before anybody asks.

References:
    Sommer, Song, Wagh and Mittal, "Athena: Probabilistic Verification of Machine Unlearning",
    PETS 2022, arXiv:2003.04247, section 4, theorem 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from scipy import stats

from expunge.core.errors import InputError
from expunge.metrics import arrays
from expunge.metrics.equivalence import Verdict

_MOST: Final = 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """A test that is fixed before anybody asks.

    Attributes:
        queries: How many answers are asked for.
        threshold: From this many hits on, the rows were not forgotten.
        type_one: Chance of ``not forgotten`` although they were.
        type_two: Chance of fewer hits although they were not.
    """

    queries: int
    threshold: int
    type_one: float
    type_two: float

    def verdict(self, hits: int, tolerated: float = 0.05) -> Verdict:
        """*failed* from the threshold on; below it *passed* if type two errors are rare enough.

        Raises:
            InputError: More hits than queries.
        """
        if not 0 <= hits <= self.queries:
            raise InputError(f"{hits} hits in {self.queries} queries.")
        if hits >= self.threshold:
            return "failed"
        return "passed" if self.type_two <= tolerated else "inconclusive"


def plan(queries: int, kept: float, deleted: float, alpha: float = 1e-3) -> Plan:
    """The test of so many queries whose type one error is at most ``alpha``.

    Args:
        queries: n.
        kept: Chance p of a hit by a model that has the rows.
        deleted: Chance q of a hit by one that does not, below p.
        alpha: Type one error, at most.
    """
    _check(queries, kept, deleted)
    forgotten = stats.binom(queries, deleted)
    threshold = int(forgotten.isf(arrays.share(alpha, "alpha"))) + 1
    missed = float(stats.binom.cdf(threshold - 1, queries, kept))
    return Plan(queries, threshold, float(forgotten.sf(threshold - 1)), missed)


def queries_needed(kept: float, deleted: float, alpha: float = 1e-3, beta: float = 1e-3) -> int:
    """The least number of queries for which both errors stay below their bounds.

    Raises:
        InputError: 100,000 queries are not enough: p and q are too close.
    """
    arrays.share(beta, "beta")
    low, high = 0, 1
    while plan(high, kept, deleted, alpha).type_two > beta:
        low, high = high, 2 * high
        if high > _MOST:
            raise InputError(f"Hit rates {kept} and {deleted} are too close for a test.")
    # Not monotone in n, because counts are whole: the first that does, from below.
    return next(
        n for n in range(low + 1, high + 1) if plan(n, kept, deleted, alpha).type_two <= beta
    )


def _check(queries: int, kept: float, deleted: float) -> None:
    arrays.share(kept, "kept")
    if queries < 1 or not 0 <= deleted < kept:
        raise InputError(
            f"{queries} queries, hit rates {kept} (kept) and {deleted} (deleted). Expected a query "
            f"at least, and 0 ≤ deleted < kept < 1."
        )
