"""Every learner that is made of sums: forgetting is a subtraction, byte for byte."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sums_tables import CASES, COST, KIND, LEARNERS, PRICE, table

import expunge
from expunge.core.errors import RecipeInvalid, ViewInvalid
from expunge.learners.protocol import Changing
from expunge.learners.sums import integers, learning

every = pytest.mark.parametrize(("learner", "rows"), CASES)
ALL = np.arange(200)


@every
@settings(max_examples=10)
@given(data=st.data())
def test_forgetting_equals_never_having_seen(learner, rows, data):
    order = np.array(data.draw(st.permutations(range(200))))
    cut, back = data.draw(st.integers(0, 199)), data.draw(st.integers(0, 50))
    gone, stay = order[:cut], order[cut:]
    state = rows.change(learner, rows.learn(learner, ALL), gone)
    assert state == rows.learn(learner, np.sort(stay))
    come = gone[:back]
    assert rows.change(learner, state, (), come) == rows.learn(learner, np.union1d(stay, come))


@every
def test_neither_order_nor_slices_count(learner, rows):
    assert isinstance(learner, Changing)
    whole = rows.learn(learner, ALL)
    assert rows.learn(learner, ALL[::-1]) == whole
    parent = rows.learn(learner, ALL[:77])
    assert rows.learn(learner, ALL, parent) == whole


@pytest.mark.parametrize("name", LEARNERS)
def test_ten_thousand_deletions_leave_the_bytes_of_a_fresh_build(name):
    rows, learner = table(KIND, rows=12_000), LEARNERS[name]
    rng = np.random.default_rng(1)
    alive, arrived = np.arange(9_000), 9_000
    state, gone = rows.learn(learner, alive), 0
    order = rng.permutation(alive).tolist()
    while gone < 10_000:
        batch = [order.pop() for _ in range(min(int(rng.integers(1, 400)), 10_000 - gone))]
        come = np.arange(arrived, min(arrived + int(rng.integers(0, 200)), 12_000))
        arrived += len(come)
        state = rows.change(learner, state, sorted(batch), come)
        gone += len(batch)
        order = rng.permutation([*order, *come]).tolist()
        if not gone % 7 or gone == 10_000:
            assert state == rows.learn(learner, np.sort(order))
    assert gone == 10_000


@every
def test_a_weight_of_two_is_two_samples(learner, rows):
    if rows.weights is not None:
        rows = replace(rows, weights=None)
    double = replace(rows, weights=np.where(ALL < 60, 2.0, 1.0))
    twice = np.concatenate([ALL[:60], ALL])
    np.testing.assert_allclose(
        rows.predict(learner, rows.learn(learner, twice)),
        double.predict(learner, double.learn(learner, ALL)),
        atol=1e-7,
    )


def test_a_ridge_by_hand():
    # Two samples at x = 0 and 1 with y = -4 and 4, centred: x = ±1/2, y = ±4. With a penalty of
    # 1/2 the slope is Σxy / (Σx² + 1/2) = 4 / (1/2 + 1/2) = 4, around the means 1/2 and 0.
    rows = table(PRICE, rows=2)
    cells = {name: np.zeros(2) for name in "abcd"} | {"a": np.array([0.0, 1.0])}
    rows = replace(rows, cells=cells, targets=np.array([[-4.0], [4.0]]))
    learner = expunge.Ridge(penalty=0.5, target_bits=24)
    found = rows.predict(learner, rows.learn(learner, np.arange(2)))
    assert found[:, 0] == pytest.approx([-2, 2], abs=1e-5)


def test_ridge_agrees_with_scikit_learn():
    from sklearn.linear_model import Ridge

    rows = table(PRICE, COST)
    x = np.stack(list(rows.cells.values()), axis=1)
    theirs = Ridge(alpha=0.7).fit(x, rows.targets).predict(x)
    learner = expunge.Ridge(penalty=0.7, target_bits=24)
    ours = rows.predict(learner, rows.learn(learner, ALL))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_lda_agrees_with_scikit_learn():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    rows = table(KIND)
    x = np.stack(list(rows.cells.values()), axis=1)
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(x, rows.targets).predict_proba(x)
    learner = expunge.LDA(shrinkage=0.0)
    ours = rows.predict(learner, rows.learn(learner, ALL))
    np.testing.assert_allclose(ours[:, :3], theirs, atol=1e-7)
    assert (ours[:, 3] == 0).all()


@pytest.mark.parametrize("name", ["gaussian", "multinomial", "bernoulli"])
def test_naive_bayes_agrees_with_scikit_learn(name):
    from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB

    rows = table(KIND)
    x = np.stack(list(rows.cells.values()), axis=1)
    theirs, learner = {
        "gaussian": (GaussianNB(var_smoothing=0.0), expunge.GaussianBayes(smoothing=1e-9)),
        "multinomial": (MultinomialNB(alpha=2.0), expunge.MultinomialBayes(smoothing=2.0)),
        "bernoulli": (BernoulliNB(binarize=127 / 255), expunge.BernoulliBayes(above=127)),
    }[name]
    ours = rows.predict(learner, rows.learn(learner, ALL))
    np.testing.assert_allclose(ours[:, :3], theirs.fit(x, rows.targets).predict_proba(x), atol=1e-7)
    assert (ours[:, 3] == 0).all()


def test_sums_are_as_narrow_as_they_can_be():
    from expunge.learners.state import parse

    few, many = table(KIND), table(KIND, rows=120_000)
    for rows, kind in ((few, np.int32), (many, np.int64)):
        state = rows.learn(LEARNERS["ridge"], np.arange(len(rows.targets)))
        assert parse(state)[1]["sum.square"].dtype == kind


@pytest.mark.parametrize("name", LEARNERS)
def test_samples_without_weight_teach_nothing(name):
    rows = replace(table(KIND), weights=np.zeros(200))
    found = rows.predict(LEARNERS[name], rows.learn(LEARNERS[name], ALL))
    np.testing.assert_allclose(found, 0.25)


def test_one_class_alone_is_all_there_is():
    rows = table(KIND)
    alone = np.flatnonzero(rows.targets == 1)
    for learner in LEARNERS.values():
        assert (rows.predict(learner, rows.learn(learner, alone)).argmax(axis=1) == 1).all()


def test_sums_say_how_many_they_are():
    rows = table(KIND, weighted=True)
    state = rows.change(LEARNERS["ridge"], rows.learn(LEARNERS["ridge"], ALL), ALL[:30])
    sums = learning.sums_of(state)
    assert sums["count"].tolist() == [170, 170]
    assert sums["cross"][-1, -1] == np.rint(rows.weights[30:] * 256).sum()


def test_a_solution_says_how_well_it_was_conditioned():
    rows = table(KIND)
    good = learning.fit_of(rows.learn(LEARNERS["ridge"], ALL))["solution"]
    assert good[0] > 1e-4
    assert good[1] == 0
    same = replace(rows, cells=rows.cells | {"b": rows.cells["a"]})
    singular = learning.fit_of(same.learn(LEARNERS["least squares"], ALL))
    assert singular["solution"][1] > 0
    np.testing.assert_allclose(singular["coefficients"][0], singular["coefficients"][1], rtol=0.1)


def test_what_cannot_be_summed_is_refused():
    numbers, classes = table(PRICE), table(KIND)
    for name in ("lda", "gaussian", "multinomial", "bernoulli"):
        with pytest.raises(RecipeInvalid, match="number"):
            numbers.learn(LEARNERS[name], ALL)
    undeclared = replace(numbers, task=replace(numbers.task, targets=(replace(PRICE, low=None),)))
    with pytest.raises(RecipeInvalid, match="no declared range"):
        undeclared.learn(LEARNERS["ridge"], ALL)
    heavy = replace(classes, weights=np.full(200, 1e3))
    with pytest.raises(ViewInvalid, match="weigh more than"):
        heavy.learn(LEARNERS["lda"], ALL)
    for wrong in (
        lambda: expunge.Ridge(penalty=-1.0),
        lambda: expunge.Ridge(target_bits=25),
        lambda: expunge.LDA(shrinkage=1.5),
        lambda: expunge.GaussianBayes(smoothing=0.0),
        lambda: expunge.MultinomialBayes(smoothing=-1.0),
        lambda: expunge.BernoulliBayes(smoothing=0.0),
        lambda: expunge.Ridge(features={"map": "columns", "bit": 3}),
    ):
        with pytest.raises(RecipeInvalid):
            wrong()


def test_a_target_is_rounded_to_its_declared_range():
    scale = integers.scale(PRICE, 3)
    found = scale.integers(np.array([-9.0, -4.0, -2.9, 4.0, 9.0]), 7)
    assert found.tolist() == [0, 0, 1, 7, 7]
    assert scale.values(np.array([0.0, 7.0])).tolist() == [-4, 4]
