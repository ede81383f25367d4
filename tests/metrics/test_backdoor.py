"""Athena's test: the paper's example, errors that are what they say, and three verdicts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from expunge.core.errors import InputError
from expunge.metrics import backdoor


def test_thirty_queries_decide_with_errors_below_one_in_a_thousand() -> None:
    plan = backdoor.plan(30, kept=0.9, deleted=0.1)
    assert plan.type_one < 1e-3
    assert plan.type_two < 1e-3
    assert plan.verdict(27) == "failed"
    assert plan.verdict(3) == "passed"


@given(st.integers(1, 60), st.floats(0.3, 0.99), st.floats(1e-6, 0.25))
def test_errors_are_those_of_the_binomial(queries: int, kept: float, deleted: float) -> None:
    plan = backdoor.plan(queries, kept, deleted, alpha=0.05)
    counts = range(plan.threshold, queries + 1)
    assert plan.type_one <= 0.05
    assert plan.type_one == pytest.approx(sum(stats.binom.pmf(k, queries, deleted) for k in counts))
    assert plan.type_two == pytest.approx(
        1 - sum(stats.binom.pmf(k, queries, kept) for k in counts), abs=1e-9
    )
    # One hit fewer for a threshold would alarm too often.
    assert stats.binom.sf(plan.threshold - 2, queries, deleted) > 0.05


def test_too_few_queries_are_inconclusive() -> None:
    plan = backdoor.plan(2, kept=0.5, deleted=0.1)
    assert plan.verdict(0) == "inconclusive"


@pytest.mark.parametrize(("kept", "deleted"), [(0.9, 0.1), (0.5, 0.3), (0.99, 0.0)])
def test_the_least_number_of_queries(kept: float, deleted: float) -> None:
    needed = backdoor.queries_needed(kept, deleted)
    assert backdoor.plan(needed, kept, deleted).type_two <= 1e-3
    assert all(backdoor.plan(n, kept, deleted).type_two > 1e-3 for n in range(1, needed))


def test_impossible_rates_are_refused() -> None:
    for kept, deleted in ((0.1, 0.1), (0.1, 0.2), (1.2, 0.1)):
        with pytest.raises(InputError):
            backdoor.plan(10, kept, deleted)
    with pytest.raises(InputError, match="too close"):
        backdoor.queries_needed(0.5, 0.4999)
    with pytest.raises(InputError, match="hits"):
        backdoor.plan(5, 0.9, 0.1).verdict(6)
