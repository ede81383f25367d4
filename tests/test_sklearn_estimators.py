"""The scikit-learn estimators: they forget exactly, and scikit-learn finds nothing wrong."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_estimator,
    parametrize_with_checks,
)

import expunge
from expunge.core.errors import (
    DuplicateSamples,
    InputError,
    ModelWithdrawn,
    NothingToForget,
    RecipeInvalid,
    SamplesUnknown,
    StateNotCanonical,
)
from expunge.learners.sklearn import Sklearn
from expunge.sklearn import EverythingForgotten, ShardedClassifier, ShardedRegressor

EXAMPLES = int(os.environ.get("EXPUNGE_EXAMPLES", "15"))
CLASSES = ["blue", "green", "red"]
Estimator = ShardedClassifier | ShardedRegressor


def scaled_logistic() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=20))


CLASSIFIERS: Mapping[str, Callable[[], Any]] = {
    "logistic regression, with its scaler": scaled_logistic,
    "tree": lambda: DecisionTreeClassifier(max_features=1),
    "forest": lambda: RandomForestClassifier(n_estimators=2, max_depth=3),
    "torch": lambda: expunge.Torch("linear", epochs=2, batch=4),
    "xgboost": lambda: expunge.XGBoost(rounds=3, subsample=0.5, min_child_weight=0.1),
    "lightgbm": lambda: expunge.LightGBM(rounds=3, bagging_fraction=0.5, min_data_in_leaf=1),
}
REGRESSORS: Mapping[str, Callable[[], Any]] = {
    "ridge": lambda: None,
    "tree": lambda: DecisionTreeRegressor(max_features=1),
    "torch": lambda: expunge.Torch("linear", epochs=2, batch=4),
    "xgboost": lambda: expunge.XGBoost(rounds=3, subsample=0.5),
}


@dataclass(frozen=True)
class Case:
    """Rows, as `fit` takes them, what to forget of them in which calls, and another order."""

    x: NDArray[np.float64]
    codes: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]
    recipe: Mapping[str, Any]
    requests: list[list[int]]
    order: NDArray[np.int64]

    def fit(self, estimator: Estimator, y: NDArray[Any], keep: Any = slice(None)) -> Estimator:
        columns = {name: cells[keep] for name, cells in self.columns.items()}
        return estimator.fit(self.x[keep], y[keep], **columns)

    @property
    def ids(self) -> NDArray[Any]:
        return self.columns.get("sample_ids", np.arange(len(self.x)))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rows = draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    # Few distinct rows, so that many are equal; NumPy's -0.0 is one of them.
    x = rng.integers(-2, 3, size=(rows, 2)) * draw(st.sampled_from([1.0, -0.25]))
    columns: dict[str, NDArray[Any]] = {}
    ids = draw(st.sampled_from(["none", "numbers", "texts"]))
    if ids != "none":
        numbers = rng.permutation(1000)[:rows]
        columns["sample_ids"] = (
            numbers if ids == "numbers" else np.array([f"p{i}" for i in numbers])
        )
    if draw(st.booleans()):
        columns["subjects"] = rng.integers(0, max(rows // 2, 1), size=rows)
    if draw(st.booleans()):
        weights = rng.integers(0, 4, size=rows).astype(float)
        weights[0] = 1
        columns["sample_weight"] = weights
    recipe = {
        "shards": draw(st.integers(1, 5)),
        "slices": draw(st.integers(1, 4)),
        "random_state": draw(st.integers(0, 3)),
    }
    leaving = draw(st.lists(st.integers(0, rows - 1), unique=True, min_size=1))
    cut = draw(st.integers(0, len(leaving)))
    requests = [part for part in (leaving[:cut], leaving[cut:]) if part]
    codes, order = rng.integers(0, 3, size=rows), rng.permutation(rows)
    return Case(x, codes, columns, recipe, requests, order)


def check_forgets(case: Case, make: Callable[[], Estimator], y: NDArray[Any]) -> None:
    forgotten = case.fit(make(), y)
    for request in case.requests:
        assert forgotten.forget(case.ids[request]) is forgotten
    keep = np.ones(len(y), bool)
    keep[[row for request in case.requests for row in request]] = False

    if not (keep & (case.columns.get("sample_weight", np.ones(len(y))) > 0)).any():
        assert not any(forgotten.constituents_)
        with pytest.raises(EverythingForgotten):
            forgotten.predict(case.x)
        return
    never = case.fit(make(), y, case.order[keep[case.order]])
    assert forgotten._chains.chains == never._chains.chains
    assert forgotten.constituents_ == never.constituents_
    predict = "predict_proba" if hasattr(never, "predict_proba") else "predict"
    given, wanted = getattr(forgotten, predict)(case.x), getattr(never, predict)(case.x)
    assert given.tobytes() == wanted.tobytes()


@pytest.mark.prove
@pytest.mark.filterwarnings("ignore:.*rows stay together:UserWarning")
@pytest.mark.parametrize("name", CLASSIFIERS)
@settings(max_examples=EXAMPLES)
@given(case=cases(), aggregate=st.sampled_from(["mean", "vote"]))
def test_a_classifier_that_forgot_equals_one_that_never_saw(
    name: str, case: Case, aggregate: str
) -> None:
    def make() -> ShardedClassifier:
        fixed = {"aggregate": aggregate, "classes": CLASSES}
        return ShardedClassifier(CLASSIFIERS[name](), **fixed, **case.recipe)

    check_forgets(case, make, np.array(CLASSES)[case.codes])


@pytest.mark.prove
@pytest.mark.filterwarnings("ignore:.*rows stay together:UserWarning")
@pytest.mark.parametrize("name", REGRESSORS)
@settings(max_examples=EXAMPLES)
@given(case=cases(), flat=st.booleans())
def test_a_regressor_that_forgot_equals_one_that_never_saw(
    name: str, case: Case, flat: bool
) -> None:
    y = case.codes - case.x[:, 0] / 3

    def make() -> ShardedRegressor:
        return ShardedRegressor(REGRESSORS[name](), **case.recipe)

    check_forgets(case, make, y if flat else np.stack([y, y**2], axis=1))


@parametrize_with_checks([ShardedClassifier(), ShardedRegressor()])
def test_scikit_learn_finds_nothing_wrong(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("estimator", [ShardedClassifier(), ShardedRegressor()])
def test_check_estimator_passes_with_no_expected_failures(estimator: Any) -> None:
    results = check_estimator(estimator, expected_failed_checks={}, on_skip=None)

    assert len(results) > 50
    # The one that is skipped needs SCIPY_ARRAY_API, before anything is imported.
    assert {r["check_name"] for r in results if r["status"] != "passed"} <= {
        "check_array_api_input"
    }
    check_dataframe_column_names_consistency(type(estimator).__name__, estimator)


@pytest.fixture(scope="module")
def iris() -> tuple[NDArray[np.float64], NDArray[Any]]:
    data = load_iris()
    return data.data, data.target_names[data.target]


def test_the_order_of_rows_does_not_matter_without_ids(iris: Any) -> None:
    x, y = iris
    mixed = np.random.default_rng(0).permutation(len(x))
    learner = expunge.Torch("linear", epochs=1)

    assert (
        ShardedClassifier(learner).fit(x, y).constituents_
        == ShardedClassifier(learner).fit(x[mixed], y[mixed]).constituents_
    )


def test_equal_rows_of_different_weight_have_one_order_too() -> None:
    x, weights = np.ones((9, 2)), np.arange(1.0, 10.0)
    learner = expunge.Torch("linear", epochs=1, batch=2)

    up, down = (
        ShardedRegressor(learner, shards=1).fit(x, np.ones(9), column)
        for column in (weights, weights[::-1])
    )

    assert up.constituents_ == down.constituents_


def test_a_weight_counts_as_so_many_rows(iris: Any) -> None:
    x, y = iris
    weights = np.random.default_rng(0).integers(0, 4, size=len(x))
    # Other solvers stop at other digits, with shards or without.
    model = ShardedClassifier(LogisticRegression(solver="newton-cholesky"), slices=2)
    repeated = clone(model).fit(x.repeat(weights, 0), y.repeat(weights))

    weighted = model.fit(x, y, weights)

    np.testing.assert_allclose(weighted.predict_proba(x), repeated.predict_proba(x), rtol=1e-7)


def test_one_shard_is_the_plain_estimator_with_all_of_its_digits() -> None:
    x = 1.7e9 + np.arange(12.0)[:, None]  # as float32, these are one number
    sharded = ShardedRegressor(LinearRegression(), shards=1).fit(x, x[:, 0] - 1.7e9)

    np.testing.assert_allclose(sharded.predict(x), np.arange(12.0), atol=1e-3)


def test_forgetting_by_subject_takes_all_rows_of_a_person(iris: Any) -> None:
    x, y = iris
    people = np.arange(len(x)) // 3
    model = ShardedClassifier(shards=4, slices=3).fit(x, y, subjects=people)
    before = model.constituents_

    model.forget(subjects=[7])

    stays = people != 7
    never = ShardedClassifier(shards=4, slices=3).fit(x[stays], y[stays], subjects=people[stays])
    assert model.constituents_ == never.constituents_
    assert sum(a != b for a, b in zip(model.constituents_, before, strict=True)) == 1


def test_only_what_lost_its_ground_is_built_again(
    iris: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = iris
    model = ShardedClassifier(shards=3, slices=4).fit(x, y)
    last = model._chains.rows.ids[-1]  # in the last slice of the last shard
    before = model._chains.chains[2]
    steps = []
    learn = Sklearn.learn
    monkeypatch.setattr(Sklearn, "learn", lambda *a: (steps.append(a[2:4]), learn(*a))[1])

    model.forget(last)

    ((parent, samples),) = steps
    assert parent == before[2].state
    assert len(samples) == before[3].samples - 1
    assert model._chains.chains[2][:3] == before[:3]


def test_each_slice_continues_the_bytes_before_it(
    iris: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = iris
    parents = []
    learn = Sklearn.learn
    monkeypatch.setattr(Sklearn, "learn", lambda *a: (parents.append(a[2]), learn(*a))[1])

    model = ShardedClassifier(shards=1, slices=3).fit(x, y)

    states = [checkpoint.state for checkpoint in model._chains.chains[0]]
    assert parents == [None, *states[:2]]


def test_equal_rows_are_visited_apart() -> None:
    model = ShardedRegressor(shards=1).fit(np.zeros((9, 2)), np.zeros(9))

    assert len(set(model._chains.rows.tokens.tolist())) == 9


def test_there_is_one_zero_and_one_nan() -> None:
    # Equal numbers with other bits: they would have another place, else.
    nan = np.array([0x7FF8000000000001], np.uint64).view(np.float64)[0]
    plain = np.array([[0.0, np.nan], [1.0, np.nan], [2.0, 0.0], [3.0, 1.0]])
    other = np.array([[-0.0, nan], [1.0, -np.nan], [2.0, -0.0], [3.0, 1.0]])
    learner = expunge.XGBoost(rounds=2)

    a, b = (ShardedRegressor(learner, shards=3).fit(x, np.arange(4)) for x in (plain, other))

    assert a._chains.rows.keys.tolist() == b._chains.rows.keys.tolist()
    assert a.constituents_ == b.constituents_


def test_nothing_of_the_forgotten_rows_stays() -> None:
    x = np.arange(40.0).reshape(20, 2) + 0.123456789
    ids = [f"person-{i:02}" for i in range(20)]
    model = ShardedRegressor(KNeighborsRegressor(2, algorithm="brute"), shards=2, slices=2)
    model.fit(x, x[:, 0] * 3, sample_ids=ids, subjects=[f"name-{i:02}" for i in range(20)])
    marks = [x[3].tobytes(), (x[3, :1] * 3).tobytes()]
    marks += [np.array(text).tobytes() for text in ("person-03", "name-03")]
    assert all(mark in pickle.dumps(model) for mark in marks)
    old = weakref.ref(model._chains.rows.x)

    model.forget("person-03")

    assert not any(mark in pickle.dumps(model) for mark in marks)
    gc.collect()
    assert old() is None


def test_forgetting_everything_leaves_nothing_to_predict_from(iris: Any) -> None:
    x, y = iris
    model = ShardedClassifier(shards=2).fit(x, y)

    model.forget(range(len(x)))

    assert model.constituents_ == [None, None]
    for error in (NotFittedError, ModelWithdrawn, EverythingForgotten):
        with pytest.raises(error, match="forgotten all"):
            pickle.loads(pickle.dumps(model)).predict(x)
    assert model.fit(x, y).score(x, y) > 0.8


def test_a_class_keeps_its_place_when_its_last_sample_is_forgotten(iris: Any) -> None:
    x, y = iris
    model = ShardedClassifier(shards=2).fit(x, y)

    model.forget(np.flatnonzero(y == "versicolor"))

    assert list(model.classes_) == ["setosa", "versicolor", "virginica"]
    assert model.predict_proba(x).shape == (150, 3)
    assert "versicolor" not in model.predict(x)


@pytest.mark.parametrize("labels", [[0, 1], [False, True], ["no", "yes"], [-1.0, 1.0]])
def test_labels_come_back_as_they_were(labels: list[Any]) -> None:
    x = np.arange(20.0)[:, None]
    y = np.array(labels)[(x[:, 0] > 9).astype(int)]

    model = ShardedClassifier(shards=2).fit(x, y)

    assert model.classes_.tolist() == labels
    assert model.predict(x).dtype == y.dtype
    assert model.score(x, y) > 0.8


def test_ids_that_are_not_here(iris: Any) -> None:
    x, y = iris
    model = ShardedClassifier(shards=2).fit(x, y)
    before = model.constituents_

    with pytest.raises(SamplesUnknown) as caught:
        model.forget([0, 150, "nobody"])
    assert caught.value.ids == ["150", "nobody"]
    assert model.constituents_ == before
    assert model.forget(["nobody"], missing="ignore").constituents_ == before
    model.forget([0, 150], missing="ignore")
    with pytest.raises(SamplesUnknown):
        model.forget([0])
    for nothing in ([], ()):
        with pytest.raises(NothingToForget):
            model.forget(nothing)
    with pytest.raises(InputError, match="no subjects"):
        model.forget(subjects=["p"])
    with pytest.raises(InputError, match="missing"):
        model.forget([1], missing="skip")
    with pytest.raises(NotFittedError):
        ShardedClassifier().forget([1])


def test_rows_keep_their_numbers_when_others_are_forgotten(iris: Any) -> None:
    x, y = iris

    twice = ShardedClassifier().fit(x, y).forget([0]).forget([1])

    assert twice.constituents_ == ShardedClassifier().fit(x[2:], y[2:]).constituents_


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"sample_ids": [1, 2]}, "one sample id per row, 4; got 2"),
        ({"sample_ids": [1, 2, 3, None]}, "1 sample ids are neither"),
        ({"subjects": [1.5, 2, 3, 4]}, "1 subjects are neither"),
        ({"sample_weight": [1, 2, 3, -1]}, "0 or more"),
        ({"sample_weight": [0, 0, 0, 0]}, "not zero"),
        ({"sample_weight": [[1], [1], [1], [1]]}, "shape"),
    ],
)
def test_columns_that_do_not_fit(column: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShardedRegressor().fit(np.eye(4), np.arange(4), **column)


def test_ids_must_be_unique() -> None:
    with pytest.raises(DuplicateSamples) as caught:
        ShardedRegressor().fit(np.eye(4), np.arange(4), sample_ids=["7", "8", 7, "7"])
    assert caught.value.rows == [2, 3]


def test_recipes_that_cannot_be(iris: Any) -> None:
    x, y = iris
    for wrong in ({"shards": 0}, {"slices": 0}, {"aggregate": "median"}, {"estimator": Ridge()}):
        with pytest.raises(RecipeInvalid):
            ShardedClassifier(**wrong).fit(x, y)
    with pytest.raises(RecipeInvalid, match="estimator"):
        ShardedClassifier("linear").fit(x, y)
    with pytest.raises(TypeError, match="integer"):
        ShardedClassifier(shards=2.0).fit(x, y)
    with pytest.raises(InputError, match="classes"):
        ShardedClassifier(classes=["setosa"]).fit(x, y)
    with pytest.raises(StateNotCanonical):
        ShardedClassifier(KNeighborsClassifier(metric=lambda a, b: 0.0)).fit(x, y)


def test_a_fit_that_fails_leaves_the_model_as_it_was(iris: Any) -> None:
    x, y = iris
    model = ShardedClassifier(shards=2).fit(x, y)
    before = model.predict_proba(x)

    model.set_params(estimator=KNeighborsClassifier(metric=lambda a, b: 0.0))
    with pytest.raises(StateNotCanonical):
        model.fit(x, y[::-1])

    assert model.predict_proba(x).tobytes() == before.tobytes()


def test_a_rebuild_that_fails_has_forgotten_all_the_same(
    iris: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = iris
    model = ShardedClassifier(shards=3).fit(x, y)
    before = model.constituents_

    def fail(*_: object) -> bytes:
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr(Sklearn, "learn", fail)
        with pytest.raises(MemoryError):
            model.forget([0])
    assert sorted(model.constituents_.count(state) for state in before) == [0, 1, 1]
    assert model.constituents_.count(None) == 1
    assert len(model.predict(x)) == 150

    model.forget([0], missing="ignore")  # what was missing is built
    assert model.constituents_ == ShardedClassifier(shards=3).fit(x[1:], y[1:]).constituents_


def test_copies_predict_and_forget_alike(iris: Any) -> None:
    x, y = iris
    model = ShardedClassifier(scaled_logistic(), shards=2, slices=2).fit(x, y)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    wanted = model.predict_proba(x)
    model.forget([5])

    for each in copies:
        assert each.predict_proba(x).tobytes() == wanted.tobytes()
        assert each.forget([5]).constituents_ == model.constituents_
    fresh = clone(model)
    assert not hasattr(fresh, "_chains")
    assert fresh.fit(x[np.arange(150) != 5], y[np.arange(150) != 5]).constituents_ == (
        model.constituents_
    )


def test_a_drawn_seed_is_kept_for_forgetting(iris: Any) -> None:
    x, y = iris
    model = ShardedClassifier(random_state=np.random.RandomState(4)).fit(x, y)
    drawn = int(np.random.RandomState(4).randint(2**31))

    model.forget([9])

    stays = np.arange(150) != 9
    never = ShardedClassifier(random_state=drawn).fit(x[stays], y[stays])
    assert model.constituents_ == never.constituents_
    assert ShardedClassifier(random_state=None).fit(x, y).score(x, y) > 0.8


def test_columns_of_a_table_can_be_named_inside() -> None:
    x, y = load_diabetes(return_X_y=True, as_frame=True)
    columns = ColumnTransformer([("some", StandardScaler(), ["age", "bmi", "s5"])])
    model = ShardedRegressor(make_pipeline(columns, Ridge()), shards=2).fit(x, y, subjects=x.index)

    assert model.forget(subjects=[3]).score(x, y) > 0.3
    assert model._chains.recipe.learner.encode(model._chains.task, dict(x)).shape == x.shape


@pytest.mark.parametrize("learner", [expunge.XGBoost(rounds=3), expunge.LightGBM(rounds=3)])
def test_missing_cells_go_where_the_learner_takes_them(learner: Any, iris: Any) -> None:
    x, y = iris
    x = x.copy()
    x[::7, 1] = np.nan

    model = ShardedClassifier(learner, shards=2).fit(x, y)

    assert model.score(x, y) > 0.8
    assert model.forget([7]).constituents_ == (
        ShardedClassifier(learner, shards=2).fit(np.delete(x, 7, 0), np.delete(y, 7)).constituents_
    )
    with pytest.raises(ValueError, match="NaN"):
        ShardedClassifier().fit(x, y)


def test_searches_and_cross_validation_reach_inside(iris: Any) -> None:
    x, y = iris
    mixed = np.random.default_rng(1).permutation(150)
    x, y = x[mixed], y[mixed]
    grid = {"estimator__C": [0.001, 1.0], "shards": [2]}

    best = GridSearchCV(ShardedClassifier(LogisticRegression()), grid, cv=3).fit(x, y)
    assert best.best_params_["estimator__C"] == 1.0

    with sklearn.config_context(enable_metadata_routing=True):
        model = ShardedClassifier().set_fit_request(sample_ids=True)
        ids = [f"row {i}" for i in range(150)]
        found = cross_validate(model, x, y, cv=3, params={"sample_ids": ids}, return_estimator=True)
    seen = [set(each._chains.rows.ids.tolist()) for each in found["estimator"]]
    assert set.union(*seen) == set(ids)


def test_many_equal_rows_are_told() -> None:
    x = np.repeat([[0.0], [1.0]], 50, axis=0)
    y = np.arange(100) % 3

    with pytest.warns(UserWarning, match="50 rows stay together"):
        ShardedRegressor().fit(x, y)
    ShardedRegressor().fit(x, y, sample_ids=np.arange(100))
    ShardedRegressor(shards=1).fit(x, y)
