"""RMIA: by hand, by its definition, fair to rows that were never seen."""

from __future__ import annotations

import numpy as np
import pytest
from draws import halves, normal
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import InputError
from expunge.metrics import rmia, roc
from expunge.metrics.arrays import Numbers


def probability(logits: Numbers) -> Numbers:
    return 1 / (1 + np.exp(-logits))


@given(
    st.lists(st.floats(0, 5), min_size=1, max_size=20),
    st.lists(st.floats(0, 5), min_size=1, max_size=20),
    st.sampled_from([1.0, 1.5, 2.0]),
)
def test_a_score_is_the_share_of_ratios_that_are_beaten(
    rows: list[float], population: list[float], gamma: float
) -> None:
    expected = [np.mean([mine >= other * gamma for other in population]) for mine in rows]
    assert rmia.score(rows, population, gamma) == pytest.approx(expected)


def test_ratios_by_hand() -> None:
    references = np.array([[0.2], [0.4], [0.9]])
    member = np.array([[False], [False], [True]])
    # P_out = 0.3; online P = (0.3 + 0.9) / 2; offline, a = 0.5: (1.5 · 0.3 + 0.5) / 2.
    assert rmia.ratios_online([0.6], references, member) == pytest.approx([1.0])
    assert rmia.ratios_offline([0.6], references, member, 0.5) == pytest.approx([0.6 / 0.475])


def test_never_seen_is_chance_and_seen_is_not() -> None:
    rows = 2000
    hard = normal(rows, about="hard")
    member = halves(8, rows)
    references = probability(hard + 0.5 * normal(8, rows, about=1) + 2 * member)
    forgot, pool = np.arange(rows) < 700, np.arange(rows) >= 1400
    unseen = ~forgot & ~pool
    for shift, low, high in ((0.0, 0.46, 0.54), (2.0, 0.8, 1.0), (-2.0, 0.0, 0.2)):
        target = probability(hard + 0.5 * normal(rows, about=2) + shift * forgot)
        for ratios in (
            rmia.ratios_online(target, references, member),
            rmia.ratios_offline(target, references, member),
        ):
            scores = rmia.score(ratios, ratios[pool])
            assert low <= roc.auc(scores[forgot], scores[unseen]) <= high


def test_a_is_chosen_where_the_references_leak_most() -> None:
    rows, member = 400, halves(6, 400)
    hard = 2 * normal(rows, about="hard")
    references = probability(hard + 0.3 * normal(6, rows, about=1) + 3 * member)
    chosen = rmia.choose_a(references, member)

    def leak(a: float) -> float:
        found = []
        for one in range(6):
            rest = np.arange(6) != one
            ratios = rmia.ratios_offline(references[one], references[rest], member[rest], a)
            found.append(roc.auc(ratios[member[one]], ratios[~member[one]]))
        return float(np.mean(found))

    assert leak(chosen) == max(leak(step / 10) for step in range(11))


def test_impossible_arguments_are_refused() -> None:
    member = np.array([[True], [False]])
    with pytest.raises(InputError, match="outside"):
        rmia.ratios_online([1.5], [[0.1], [0.2]], member)
    with pytest.raises(InputError, match="`a`"):
        rmia.ratios_offline([0.5], [[0.1], [0.2]], member, a=2.0)
    with pytest.raises(InputError, match="reference model"):
        rmia.ratios_online([0.5], [[0.1], [0.2]], np.array([[True], [True]]))
    with pytest.raises(InputError, match="member"):
        rmia.ratios_online([0.5], [[0.1], [0.2]], np.array([[True]]))
