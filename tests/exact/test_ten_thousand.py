"""Ten thousand deletions through a home, appends in between: the bytes of never having seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

import expunge
from expunge.learners.protocol import Learner
from expunge.testing import Append, Data, ForgetSome, FreshProcess, Recover, check_exact
from expunge.testing.script import Operation

LEARNERS: Mapping[str, Callable[[], Learner]] = {
    "ridge": lambda: expunge.Ridge(),
    "least squares": lambda: expunge.Ridge(penalty=0.0),
    "LDA": lambda: expunge.LDA(),
    "Gaussian naive Bayes": lambda: expunge.GaussianBayes(),
    "multinomial naive Bayes": lambda: expunge.MultinomialBayes(),
    "Bernoulli naive Bayes": lambda: expunge.BernoulliBayes(above=100),
}
DELETIONS, BEGINNING, APPENDED = 10_000, 11_000, 250


def rows(count: int, first: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(first)
    a, b = rng.uniform(0, 10, count), rng.integers(0, 50, count)
    return {
        "id": np.array([f"s{number}" for number in range(first, first + count)]),
        "a": a,
        "b": b,
        "color": rng.choice(["red", "green", "blue"], count),
        "kind": np.where(a + b / 10 + rng.normal(size=count) > 7, "high", "low"),
        "w": rng.integers(1, 9, count) / 4,
    }


def operations(seed: int) -> Iterator[Operation]:
    rng, gone, batches = np.random.default_rng(seed), 0, 0
    while gone < DELETIONS:
        count = min(int(rng.choice([1, 2, 30, 500, 900])), DELETIONS - gone)
        yield ForgetSome(count, seed=batches)
        gone, batches = gone + count, batches + 1
        if rng.random() < 0.7:
            yield Recover()
        if batches % 10 == 0 and batches <= 40:
            yield Append(rows(APPENDED, BEGINNING + APPENDED * batches // 10))


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_ten_thousand_deletions(builder: FreshProcess, name: str) -> None:
    data = Data(
        rows(BEGINNING),
        target="kind",
        id="id",
        values=["kind", "w"],
        weight="w",
        features=["a", "b", "color"],
    )
    found = check_exact(LEARNERS[name](), data, *operations(3), builder=builder, workers=1)
    assert found.forgotten == DELETIONS
    assert found.remaining >= BEGINNING + APPENDED - DELETIONS
