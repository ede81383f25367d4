"""Convex models as learners: the same bytes, whatever they began with."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "sums" / "importable"))

from sums_tables import COST, KIND, PRICE, table

import expunge
from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column, Kind, Role
from expunge.learners.protocol import Changing, Warm

ALL = np.arange(200)
SIDE = Column("kind", Role.VALUE, Kind.CATEGORICAL, "int32", categories=("no", "yes"))
COUNT = Column("count", Role.VALUE, Kind.NUMERIC, "float64", low=0, high=9)


def sides(weighted=False):
    rows = table(KIND, weighted=weighted)
    return replace(
        rows,
        task=replace(rows.task, targets=(SIDE,)),
        targets=(rows.targets > 0).astype(np.int64),
    )


def counts():
    rows = table(PRICE)
    drawn = np.random.default_rng(0).poisson(np.exp(rows.cells["a"]))
    return replace(rows, task=replace(rows.task, targets=(COUNT,)), targets=drawn[:, None] * 1.0)


CASES = {
    "logistic": (expunge.Convex(), sides()),
    "logistic, weighted": (expunge.Convex(penalty=0.1), sides(weighted=True)),
    "one against the rest": (expunge.Convex(), table(KIND)),
    "multinomial": (expunge.Convex("multinomial"), table(KIND, weighted=True)),
    "squared hinge": (expunge.Convex("squared-hinge"), table(KIND)),
    "huber": (expunge.Convex("huber", knee=0.2), table(PRICE, COST, weighted=True)),
    "poisson": (expunge.Convex("poisson"), counts()),
}
every = pytest.mark.parametrize("name", CASES)


@every
@settings(max_examples=8)
@given(data=st.data())
def test_forgetting_equals_never_having_seen(name, data):
    learner, rows = CASES[name]
    order = np.array(data.draw(st.permutations(range(200))))
    cut = data.draw(st.integers(0, 190))
    before = rows.learn(learner, ALL)
    assert rows.learn(learner, order[cut:], before) == rows.learn(learner, np.sort(order[cut:]))


def test_it_is_warm_and_does_not_subtract():
    assert isinstance(expunge.Convex(), Warm)
    assert not isinstance(expunge.Convex(), Changing)
    assert not isinstance(expunge.Ridge(), Warm)


def test_logistic_regression_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    rows = sides()
    x = np.stack([*rows.cells.values(), np.ones(200)], axis=1)
    theirs = LogisticRegression(C=2.0, fit_intercept=False, tol=1e-9, max_iter=1000)
    expected = theirs.fit(x, rows.targets).predict_proba(x)
    learner = expunge.Convex(penalty=0.5, grid=2.0**-20)
    ours = rows.predict(learner, rows.learn(learner, ALL))
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_multinomial_regression_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    rows = table(KIND)
    x = np.stack([*rows.cells.values(), np.ones(200)], axis=1)
    theirs = LogisticRegression(C=2.0, fit_intercept=False, tol=1e-9, max_iter=1000)
    expected = theirs.fit(x, rows.targets).predict_proba(x)
    learner = expunge.Convex("multinomial", penalty=0.5, grid=2.0**-20)
    ours = rows.predict(learner, rows.learn(learner, ALL))
    # Our fourth class has no samples, and is not known to them.
    np.testing.assert_allclose(ours[:, :3].argmax(axis=1), expected.argmax(axis=1))


@every
def test_it_learns_something(name):
    learner, rows = CASES[name]
    found = rows.predict(learner, rows.learn(learner, ALL))
    if rows.task.classes:
        weight = rows.weights if rows.weights is not None else np.ones(200)
        assert np.average(found.argmax(axis=1) == rows.targets, weights=weight) > 0.8
        np.testing.assert_allclose(found.sum(axis=1), 1)
    else:
        assert ((found - rows.targets) ** 2).mean() < rows.targets.var(axis=0).sum()


def test_a_case_by_hand():
    # One sample with y = 1 and no features but the intercept, whose column is 255 units of
    # 1/255: with a parabola for a loss, w = 1/(1 + λ) = 1/2, and so is the answer.
    rows = table(PRICE, rows=1)
    rows = replace(rows, cells={n: np.zeros(1) for n in "abcd"}, targets=np.ones((1, 1)))
    learner = expunge.Convex("huber", penalty=1.0, knee=9.0, grid=2.0**-30)
    found = rows.predict(learner, rows.learn(learner, np.arange(1)))
    assert found[0, 0] == pytest.approx(0.5, abs=1e-6)


def test_what_cannot_be_learnt_is_refused():
    for wrong in (
        {"loss": "absolute"},
        {"penalty": 0.0},
        {"penalty": math.nan},
        {"grid": -1.0},
        {"knee": math.inf},
    ):
        with pytest.raises(RecipeInvalid):
            expunge.Convex(**wrong)
    with pytest.raises(RecipeInvalid, match="does not fit"):
        table(PRICE).learn(expunge.Convex(), ALL)
    with pytest.raises(RecipeInvalid, match="does not fit"):
        table(KIND).learn(expunge.Convex("huber"), ALL)
