"""U-LiRA: forgotten against never seen, with nothing judged by itself."""

from __future__ import annotations

import numpy as np
import pytest
from draws import normal
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import InputError
from expunge.metrics import ulira

ROWS = 400


def populations(shift: float = 0.0, scale: float = 1.0, about: int = 0) -> tuple[object, object]:
    return scale * normal(8, ROWS, about=f"f{about}") + shift, normal(8, ROWS, about=f"n{about}")


def test_models_that_are_alike_are_told_apart_half_of_the_time() -> None:
    # Without leaving pairs out this is biased: models judged by themselves look familiar.
    found = [ulira.per_example(*populations(about=each)).mean for each in range(8)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.01)
    found = [ulira.population(*populations(about=each)).mean for each in range(8)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)


@given(st.integers(0, 10_000))
def test_the_smallest_populations_are_fair_as_well(about: int) -> None:
    drawn = normal(8, 4000, about=about)
    assert ulira.per_example(drawn[:4], drawn[4:]).mean == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("shift", [3.0, -3.0])
def test_a_row_that_was_not_forgotten_or_pushed_away_is_told(shift: float) -> None:
    forgotten, never = populations(shift)
    assert ulira.per_example(forgotten, never).mean > 0.9
    assert ulira.population(forgotten, never).mean > 0.9


def test_a_peak_at_the_same_place_is_told() -> None:
    # A stale statistic: the same mean, but models that all say the same.
    forgotten, never = populations(scale=0.05)
    assert ulira.per_example(forgotten, never).mean > 0.75


def test_one_attacker_for_all_misses_rows_that_go_different_ways() -> None:
    ways = np.where(np.arange(ROWS) % 2, 3.0, -3.0)
    forgotten, never = normal(8, ROWS, about=1) + ways, normal(8, ROWS, about=2)
    hard = 3 * normal(ROWS, about=3)
    alone = ulira.per_example(forgotten + hard, never + hard).mean
    together = ulira.population(forgotten + hard, never + hard).mean
    assert alone > together + 0.2


def test_leaving_a_pair_out_is_what_fitting_the_others_does() -> None:
    forgotten, never = normal(5, 3, about=4) + 1, normal(6, 3, about=5)
    rows = np.zeros(3)
    for i in range(5):
        for j in range(6):
            held, fresh = np.delete(forgotten, i, 0), np.delete(never, j, 0)

            def ratio(value: object, held: object = held, fresh: object = fresh) -> object:
                a, b = np.asarray(held), np.asarray(fresh)
                return sum(
                    sign
                    * (
                        -((value - each.mean(0)) ** 2) / each.var(0, ddof=1) / 2
                        - np.log(each.std(0, ddof=1))
                    )
                    for sign, each in ((1, a), (-1, b))
                )

            rows += np.asarray(ratio(forgotten[i])) > np.asarray(ratio(never[j]))
    np.testing.assert_allclose(ulira.per_example(forgotten, never).rows, rows / 30)


def test_p_values_by_exchange_are_fair_and_see_what_is_there() -> None:
    assert ulira.p_value(*populations(1.0), draws=49) <= 0.04
    fair = [
        ulira.p_value(row[:4], row[4:], draws=19, key=key)
        for key, row in enumerate(normal(120, 8, 20, about=6))
    ]
    assert np.mean(np.array(fair) <= 0.2) == pytest.approx(0.2, abs=0.1)


def test_constant_signals_do_not_divide_by_zero() -> None:
    assert ulira.per_example(np.full((4, 3), 2.0), np.full((4, 3), 2.0)).mean == 0.5


def test_few_models_and_hits_are_refused() -> None:
    with pytest.raises(InputError, match="at least 4"):
        ulira.per_example(normal(3, 5), normal(9, 5))
    with pytest.raises(InputError, match="hits and misses"):
        ulira.per_example(np.eye(4), normal(4, 4))
