"""Certified models: what is released is near the minimiser, fresh each time, and paid for."""

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
from expunge import learners
from expunge.core.errors import GuaranteeUnproved, RecipeInvalid
from expunge.core.types import Column, Guarantee, Kind, Role
from expunge.learners.convex import accounting, problems
from expunge.learners.convex.objective import objective
from expunge.learners.convex.solve import minimise
from expunge.learners.protocol import Forgetting, Warm
from expunge.learners.state import dump, parse

ALL = np.arange(200)
SIDE = Column("kind", Role.VALUE, Kind.CATEGORICAL, "int32", categories=("no", "yes"))


def sides():
    rows = table(KIND)
    return replace(
        rows,
        task=replace(rows.task, targets=(SIDE,)),
        targets=(rows.targets > 0).astype(np.int64),
    )


CASES = {
    "logistic": (expunge.Certified(), sides()),
    "logistic, noise": (expunge.Certified(epsilon=1.0), sides()),
    "one against the rest": (expunge.Certified(), table(KIND, weighted=True)),
    "multinomial": (expunge.Certified("multinomial"), table(KIND)),
    "squared hinge": (expunge.Certified("squared-hinge"), table(KIND)),
    "huber": (expunge.Certified("huber", knee=0.2), table(PRICE, COST)),
}
every = pytest.mark.parametrize("name", CASES)


def weights(state):
    arrays = parse(state)[1]
    return np.concatenate([arrays[name].ravel() for name in sorted(arrays)])


def minimisers(learner, rows, chosen):
    """Weights of the minimiser over some rows, solved from nothing."""
    samples = rows.pick(learner, chosen)
    x = np.concatenate([samples.inputs, np.ones((len(chosen), 1))], axis=1, dtype=np.float64)
    found = []
    for loss, targets in problems.each(learner.loss, learner.knee, rows.task, samples.targets):
        whole = objective(loss, x, targets, penalty=learner.penalty, weights=samples.weights)
        found.append(minimise(whole, within=learner.within).weights.ravel())
    return np.concatenate(found)


@every
@settings(max_examples=6)
@given(data=st.data())
def test_what_is_released_after_forgetting_is_near_the_minimiser_over_those_that_stay(name, data):
    learner, rows = CASES[name]
    gone = data.draw(st.lists(st.integers(0, 199), min_size=1, max_size=150, unique=True))
    stay = np.setdiff1d(ALL, gone)
    before = rows.learn(learner, ALL)
    after = learner.forget(
        rows.task, before, rows.pick(learner, stay), rows.pick(learner, np.array(gone))
    )
    distance = np.abs(weights(after.state) - minimisers(learner, rows, stay))
    assert distance.max() <= learner.grid * (1 + 1e-6)
    assert (weights(after.state) / learner.grid % 1 == 0).all()
    assert after.figures == {"rows": len(stay)}


@every
def test_every_release_draws_anew(name):
    learner, rows = CASES[name]
    fine = replace(learner, grid=2.0**-7 if not learner.epsilon else 2.0**-40)
    drawn = {rows.learn(fine, ALL) for _ in range(5)}
    assert len(drawn) > 1


def test_it_declares_its_method_and_no_exactness():
    learner = expunge.Certified()
    assert isinstance(learner, Forgetting)
    assert not isinstance(learner, Warm)
    assert not learner.canonical
    assert learners.declared(learners.to_json(learner)) == learner
    assert learners.declared(learners.to_json(expunge.Convex())) is None


def test_the_deltas_of_all_releases_add_up():
    learner, rows = CASES["logistic"]
    one, ten = (learner.promise(rows.task, releases) for releases in (1, 10))
    # Five weights: four columns and the intercept. δ = √5 · 1e-9 / 2⁻⁷, and 2⁻⁶⁴ a weight.
    delta = math.sqrt(5) * 1e-9 * 2**7
    assert one.guarantee is Guarantee.CERTIFIED
    assert one.parameters["epsilon"] == 0
    assert one.parameters["delta"] == pytest.approx(delta, rel=1e-6)
    assert ten.parameters["delta"] == pytest.approx(10 * delta, rel=1e-6)
    assert ten.parameters["delta"] >= 10 * one.parameters["delta_per_release"]
    assert ten.parameters["delta_per_release"] == one.parameters["delta_per_release"]
    assert one.assumptions
    assert one.comparator


def test_each_problem_counts():
    learner, rows = CASES["one against the rest"]
    four = learner.promise(rows.task, 1).parameters["delta"]
    one = learner.promise(sides().task, 1).parameters["delta"]
    assert four == pytest.approx(4 * one, rel=1e-6)


def test_noise_composes_by_the_root_of_the_sum_of_squares():
    learner, rows = CASES["logistic, noise"]
    mu = accounting.gaussian_mu(1.0, 1e-5)
    found = learner.promise(rows.task, 4).parameters
    assert found["delta"] == 1e-5
    assert found["epsilon"] == pytest.approx(accounting.gaussian_epsilon(2 * mu, 1e-5))
    assert learner.promise(rows.task, 1).parameters["epsilon"] == pytest.approx(1, rel=1e-5)


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


def test_what_cannot_be_promised_is_refused_before_anything_is_trained():
    rows = sides()
    with pytest.raises(GuaranteeUnproved, match="probability up to"):
        expunge.Certified(within=1e-3).check(rows.task)
    with pytest.raises(RecipeInvalid, match="one problem"):
        expunge.Certified(epsilon=1.0).check(table(KIND).task)
    with pytest.raises(RecipeInvalid, match="does not fit"):
        expunge.Certified("huber").check(rows.task)
    with pytest.raises(RecipeInvalid, match="too fine"):
        expunge.Certified(epsilon=1e-3, grid=2.0**-90).check(rows.task)


def test_a_bound_that_cannot_be_proved_releases_nothing():
    rows = sides()
    with pytest.raises(GuaranteeUnproved, match="out of reach"):
        rows.learn(expunge.Certified(within=1e-30), ALL)


@pytest.mark.parametrize(
    "fields",
    [
        {"loss": "hinge"},
        {"penalty": 0.0},
        {"penalty": math.nan},
        {"epsilon": -1.0},
        {"delta": 1.0},
        {"delta": 0.0},
        {"within": math.inf},
        {"grid": -1.0},
    ],
)
def test_bad_fields_are_refused(fields):
    with pytest.raises(RecipeInvalid):
        expunge.Certified(**fields)


def test_a_later_format_is_refused():
    from expunge.core.errors import FormatUnsupported

    learner, rows = CASES["logistic"]
    with pytest.raises(FormatUnsupported):
        learner.predictor(rows.task, [dump({"format": 2}, {})])
