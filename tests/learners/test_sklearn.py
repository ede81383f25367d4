"""The scikit-learn learner: what is canonical, what is refused, and what it computes."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import warnings
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import (
    ColumnTransformer,
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from expunge import learners
from expunge.core.digest import canonical_json
from expunge.core.errors import DataCorrupt, FormatUnsupported, RecipeInvalid, StateNotCanonical
from expunge.core.types import Column, Kind, Role, Task
from expunge.learners import sklearn as module
from expunge.learners.protocol import Samples, Step
from expunge.learners.seeding import seeded
from expunge.learners.sklearn import Sklearn
from expunge.learners.sklearn_arrays import Pool
from expunge.learners.sklearn_state import Reader, Writer
from expunge.learners.state import dump, parse

# Advice about estimators on small data; that it is let through has a test of its own.
pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::FutureWarning", "ignore::RuntimeWarning"
)


def _columns() -> ColumnTransformer:
    categories = make_column_selector(dtype_include="category")
    encoder = OneHotEncoder(handle_unknown="ignore", dtype=np.float64)
    impute = make_pipeline(SimpleImputer(), StandardScaler())
    return make_column_transformer((impute, ["age", "hours"]), (encoder, categories))


def _then(*steps: Any) -> Pipeline:
    return make_pipeline(*steps, GaussianNB())


# Those that the project promises.
NAMED = {
    "Pipeline": make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)),
    "ColumnTransformer": make_pipeline(_columns(), LogisticRegression()),
    "LogisticRegression": LogisticRegression(),
    "RandomForestClassifier": RandomForestClassifier(8, n_jobs=-1),
    "ExtraTreesClassifier": ExtraTreesClassifier(8),
    "GaussianNB": GaussianNB(),
}
NAMED_VALUES = {
    "Ridge": Ridge(),
    "ColumnTransformer": make_pipeline(_columns(), Ridge()),
    "RandomForestRegressor": RandomForestRegressor(8),
    "ExtraTreesRegressor": ExtraTreesRegressor(8),
}
# What else was found to work; None. And what is refused: the attribute that is in the way.
CLASSIFIERS: dict[str, tuple[BaseEstimator, str | None]] = {
    "AdaBoost": (AdaBoostClassifier(n_estimators=5), None),
    "Bagging": (BaggingClassifier(n_estimators=3), None),
    "BernoulliNB": (BernoulliNB(), None),
    "CalibratedClassifierCV": (CalibratedClassifierCV(LinearSVC(), cv=3), None),
    "CalibratedIsotonic": (CalibratedClassifierCV(GaussianNB(), cv=3, method="isotonic"), None),
    "CategoricalNB": (CategoricalNB(), None),
    "ComplementNB": (ComplementNB(), None),
    "DecisionTree": (DecisionTreeClassifier(), None),
    "Dummy": (DummyClassifier(), None),
    "FeatureUnion": (_then(FeatureUnion([("a", PCA(2)), ("b", StandardScaler())])), None),
    "FunctionTransformerIdentity": (_then(FunctionTransformer()), None),
    "GaussianProcess": (
        GaussianProcessClassifier(),
        "GaussianProcessClassifier.base_estimator_.OneVsRestClassifier.estimators_[0]."
        "_BinaryGaussianProcessClassifierLaplace.kernel_",
    ),
    "GradientBoosting": (GradientBoostingClassifier(n_estimators=4), None),
    "GridSearchCV": (
        GridSearchCV(GaussianNB(), {"var_smoothing": [1e-9, 1e-3]}, cv=3),
        "GridSearchCV._checked_cv_orig",
    ),
    "HistGradientBoosting": (HistGradientBoostingClassifier(max_iter=4), None),
    "HistGradientBoostingOnCategories": (
        Pipeline(
            [
                ("columns", ColumnTransformer([("all", "passthrough", ["job", "rooms"])])),
                ("boost", HistGradientBoostingClassifier(max_iter=4, categorical_features=[0, 1])),
            ]
        ).set_output(transform="pandas"),
        None,
    ),
    "KBinsDiscretizer": (
        _then(KBinsDiscretizer(4, encode="ordinal", strategy="uniform")),
        None,
    ),
    "KNNImputer": (_then(KNNImputer()), None),
    "KNeighborsBrute": (KNeighborsClassifier(algorithm="brute"), None),
    "KNeighborsTree": (
        make_pipeline(StandardScaler(), KNeighborsClassifier(algorithm="kd_tree")),
        "Pipeline.steps[1].KNeighborsClassifier._tree",
    ),
    "LDA": (LinearDiscriminantAnalysis(), None),
    "LinearSVC": (LinearSVC(), None),
    "LogisticRegressionCV": (LogisticRegressionCV(cv=3, Cs=2), None),
    "MLP": (MLPClassifier((8,), max_iter=5), None),
    "MLPEarlyStopping": (MLPClassifier((8,), max_iter=5, early_stopping=True), None),
    "MultinomialNB": (MultinomialNB(), None),
    "NearestCentroid": (NearestCentroid(), None),
    "Nystroem": (_then(Nystroem(n_components=8)), None),
    "OneVsRest": (OneVsRestClassifier(LogisticRegression()), None),
    "OrdinalEncoder": (
        _then(
            ColumnTransformer(
                [
                    ("codes", OrdinalEncoder(encoded_missing_value=-1), ["job", "rooms"]),
                    ("hours", "passthrough", slice(1, 2)),
                ]
            )
        ),
        None,
    ),
    "PCA": (_then(PCA(3)), None),
    "Perceptron": (Perceptron(), None),
    "PolynomialFeatures": (_then(PolynomialFeatures()), None),
    "PowerTransformer": (_then(PowerTransformer()), None),
    "QDA": (QuadraticDiscriminantAnalysis(reg_param=0.5), None),
    "QuantileTransformer": (_then(QuantileTransformer(n_quantiles=10)), None),
    "RBFSampler": (_then(RBFSampler(n_components=8)), None),
    "RidgeClassifier": (RidgeClassifier(), None),
    "SGD": (SGDClassifier(), None),
    "SVC": (SVC(), None),
    "Scalers": (_then(MinMaxScaler(), MaxAbsScaler(), RobustScaler(), Normalizer()), None),
    "SelectKBest": (_then(SelectKBest(k=3)), None),
    "SimpleImputer": (_then(SimpleImputer(add_indicator=True)), None),
    "SplineTransformer": (
        _then(SplineTransformer()),
        "Pipeline.steps[0].SplineTransformer.bsplines_[0]",
    ),
    "Stacking": (StackingClassifier([("a", GaussianNB()), ("b", RidgeClassifier())], cv=3), None),
    "TargetEncoder": (_then(ColumnTransformer([("t", TargetEncoder(cv=3), ["job"])])), None),
    "TruncatedSVD": (_then(TruncatedSVD(2)), None),
    "Voting": (
        VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression())], voting="soft"),
        None,
    ),
}
REGRESSORS: dict[str, BaseEstimator] = {
    "Bagging": BaggingRegressor(n_estimators=3),
    "BayesianRidge": BayesianRidge(),
    "DecisionTree": DecisionTreeRegressor(),
    "ElasticNet": ElasticNet(0.01),
    "GradientBoosting": GradientBoostingRegressor(n_estimators=4),
    "HistGradientBoosting": HistGradientBoostingRegressor(max_iter=4),
    "Huber": HuberRegressor(),
    "KNeighborsBrute": KNeighborsRegressor(algorithm="brute"),
    "Lasso": Lasso(0.01),
    "LinearRegression": LinearRegression(),
    "MLP": MLPRegressor(hidden_layer_sizes=(8,), max_iter=5),
    "Poisson": PoissonRegressor(),
    "SGD": SGDRegressor(),
    "SVR": SVR(),
    "Stacking": StackingRegressor([("a", Ridge())], cv=3),
    "TransformedTarget": TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
    "Voting": VotingRegressor([("a", Ridge()), ("b", DecisionTreeRegressor())]),
}


def _fit_directly(learner: Sklearn, table: Any) -> Any:
    estimator = module._seeded(module._build(learner.estimator), Step(100, 1.0))
    targets = table.targets
    if not table.task.classes and targets.shape[1] == 1:
        targets = targets[:, 0]
    with seeded(100):
        return estimator.fit(learner.encode(table.task, table.features), targets)


def _check(estimator: BaseEstimator, table: Any) -> None:
    """A restored state predicts the very bits that the estimator predicts."""
    with warnings.catch_warnings(record=True):  # else the summary of a test run is full of them
        _check_bits(estimator, table)


def _check_bits(estimator: BaseEstimator, table: Any) -> None:
    learner = Sklearn(estimator)
    (state,) = table.chain(learner, [160])
    assert table.chain(Sklearn(learner.estimator), [160]) == [state]
    (found,) = table.predict(learner, [state])

    fitted = _fit_directly(learner, table)
    inputs = learner.encode(table.task, table.features)
    expected = np.zeros_like(found)
    if not table.task.classes:
        expected = fitted.predict(inputs).reshape(expected.shape)
    elif hasattr(fitted, "predict_proba"):
        expected[:, fitted.classes_] = fitted.predict_proba(inputs)
    else:
        expected[np.arange(160), fitted.predict(inputs)] = 1
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", NAMED)
def test_named_classifiers_are_canonical(name: str, kinds: Any, sides: Any) -> None:
    _check(NAMED[name], kinds)
    _check(NAMED[name], sides)


@pytest.mark.parametrize("name", NAMED_VALUES)
def test_named_regressors_are_canonical(name: str, prices: Any, pairs: Any) -> None:
    _check(NAMED_VALUES[name], prices)
    _check(NAMED_VALUES[name], pairs)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_other_classifiers_are_canonical_or_refused_by_name(name: str, kinds: Any) -> None:
    estimator, refused = CLASSIFIERS[name]
    if refused is None:
        _check(estimator, kinds)
        return
    with pytest.raises(StateNotCanonical) as caught:
        kinds.chain(Sklearn(estimator), [160])
    assert caught.value.attribute == refused


@pytest.mark.parametrize("name", REGRESSORS)
def test_other_regressors_are_canonical(name: str, prices: Any) -> None:
    _check(REGRESSORS[name], prices)


def test_isotonic_regression_gets_its_function_back(prices: Any) -> None:
    first = Task(prices.task.features[:1], prices.task.targets)
    known = dataclasses.replace(first.features[0], nullable=False)
    _check(IsotonicRegression(), dataclasses.replace(prices, task=Task((known,), first.targets)))


EVERYTHING = """
import hashlib, importlib.util, json, sys, warnings
warnings.simplefilter("ignore")

def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found

tables = load("tables", sys.argv[1] + "/conftest.py")
tests = load("tests", sys.argv[1] + "/test_sklearn.py")
json.dump(tests.digests(tables._table((tables.KIND,)), tables._table((tables.PRICE,))), sys.stdout)
"""


def digests(kinds: Any, prices: Any) -> dict[str, str]:
    """A digest of the state of each estimator above."""
    found = {}
    warnings.simplefilter("ignore")
    for name, (estimator, refused) in CLASSIFIERS.items():
        if refused is None:
            found[f"classify {name}"] = kinds.chain(Sklearn(estimator), [160])
    for name, estimator in NAMED.items():
        found[f"classify named {name}"] = kinds.chain(Sklearn(estimator), [160])
    for name, estimator in (REGRESSORS | NAMED_VALUES).items():
        found[f"regress {name}"] = prices.chain(Sklearn(estimator), [160])
    return {name: sha256(state[0]).hexdigest() for name, state in found.items()}


def test_no_state_depends_on_the_process(kinds: Any, prices: Any) -> None:
    # MALLOC_PERTURB_ fills fresh memory: a byte that nobody wrote would show.
    child = subprocess.run(
        [sys.executable, "-c", EVERYTHING, str(Path(__file__).parent)],
        text=True,
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONHASHSEED": "99", "MALLOC_PERTURB_": "91", "OMP_NUM_THREADS": "2"},
    )
    assert child.returncode == 0, child.stderr
    with warnings.catch_warnings(record=True):
        assert json.loads(child.stdout) == digests(kinds, prices)


# What can be described


def test_an_estimator_is_described_by_its_class_and_parameters() -> None:
    learner = Sklearn(LogisticRegression(max_iter=200))
    described = json.loads(learner.estimator)
    assert described["estimator"][0] == "sklearn.linear_model:LogisticRegression"
    assert described["estimator"][1]["max_iter"] == 200
    assert Sklearn(LogisticRegression(max_iter=200)) == learner
    assert Sklearn(LogisticRegression(max_iter=201)) != learner


def test_seeds_and_threads_are_the_recipes() -> None:
    ours = Sklearn(RandomForestClassifier(3))
    assert Sklearn(RandomForestClassifier(3, n_jobs=-1, random_state=5)) == ours
    assert Sklearn(RandomForestClassifier(3, random_state=np.random.RandomState(1))) == ours


def test_being_fitted_before_leaves_no_trace(kinds: Any) -> None:
    learner = Sklearn(StandardScaler().fit(np.ones((3, 2))))
    assert learner == Sklearn(StandardScaler())


def test_parameters_of_all_kinds_come_back() -> None:
    estimator = make_pipeline(
        ColumnTransformer(
            [
                ("a", OneHotEncoder(categories=[np.array(["x", "y"], object)]), ["a"]),
                ("b", "drop", slice(None, 3)),
                ("c", KBinsDiscretizer(), make_column_selector("^a", dtype_exclude=[np.number])),
                ("d", OneHotEncoder(dtype=np.float32), np.array([True, False])),
            ],
            transformer_weights={"a": np.float64(0.5), "b": float("inf")},
        ),
        GaussianNB(priors=np.array([0.25, np.nan]), var_smoothing=1e-9),
    ).set_output(transform="pandas")
    learner = Sklearn(estimator)
    rebuilt = module._build(learner.estimator)
    assert Sklearn(rebuilt) == learner
    columns = rebuilt.steps[0][1]
    assert columns.transformers[0][1].categories[0].tolist() == ["x", "y"]
    assert columns.transformers[1] == ("b", "drop", slice(None, 3))
    assert columns.transformers[2][2].dtype_exclude == [np.number]
    assert columns.transformers[3][1].dtype is np.float32
    assert columns.transformer_weights == {"a": 0.5, "b": float("inf")}
    assert columns._sklearn_output_config == {"transform": "pandas"}
    assert canonical_json(learners.to_json(learner))


@pytest.mark.parametrize(
    ("estimator", "attribute"),
    [
        (_then(FunctionTransformer(np.log1p)), "Pipeline.steps[0].FunctionTransformer.func"),
        (CountVectorizer(tokenizer=str.split), "CountVectorizer.tokenizer"),
        (CountVectorizer(tokenizer=lambda text: [text]), "CountVectorizer.tokenizer"),
    ],
)
def test_what_has_no_canonical_form_is_refused_when_described(
    estimator: BaseEstimator, attribute: str
) -> None:
    with pytest.raises(StateNotCanonical) as caught:
        Sklearn(estimator)
    assert caught.value.attribute == attribute


def test_routed_metadata_is_refused() -> None:
    with config_context(enable_metadata_routing=True):
        estimator = Ridge().set_fit_request(sample_weight=True)
        with pytest.raises(StateNotCanonical, match="metadata"):
            Sklearn(estimator)


def test_a_class_that_cannot_be_imported_is_refused() -> None:
    class Local(BaseEstimator):
        pass

    with pytest.raises(StateNotCanonical, match="Local that cannot be imported"):
        Sklearn(Local())


@pytest.mark.parametrize("wrong", [LogisticRegression, "LogisticRegression", None, 3])
def test_what_is_no_estimator_is_refused(wrong: object) -> None:
    with pytest.raises(RecipeInvalid, match="Sklearn\\(LogisticRegression\\(\\)\\)"):
        Sklearn(wrong)


def test_a_cache_on_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeInvalid, match=r"Pipeline\.memory"):
        Sklearn(make_pipeline(StandardScaler(), GaussianNB(), memory=str(tmp_path)))


def test_a_users_own_estimator_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: Any
) -> None:
    (tmp_path / "their_estimators.py").write_text(
        "import numpy as np\n"
        "from sklearn.base import BaseEstimator, ClassifierMixin\n"
        "class Prior(ClassifierMixin, BaseEstimator):\n"
        "    def __init__(self, power=1): self.power = power\n"
        "    def fit(self, X, y):\n"
        "        self.classes_, counts = np.unique(y, return_counts=True)\n"
        "        self.shares_ = counts / counts.sum()\n"
        "        self._rng = self.shares_\n"
        "        return self\n"
        "    def predict_proba(self, X): return np.tile(self._rng, (len(X), 1))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import their_estimators

    learner = Sklearn(their_estimators.Prior())
    _check(their_estimators.Prior(), kinds)
    (state,) = kinds.chain(learner, [160])
    monkeypatch.delitem(sys.modules, "their_estimators")
    assert kinds.predict(learner, [state]).shape == (1, 160, 4)  # the recipe brings the module


# What it computes


def test_only_the_classes_so_far_have_probability(kinds: Any) -> None:
    two = dataclasses.replace(kinds, targets=np.where(kinds.targets == 1, 2, 0))
    learner = Sklearn(LogisticRegression())
    (found,) = two.predict(learner, two.chain(learner, [160]))
    assert (found[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(found[:, [0, 2]].sum(axis=1), 1)


@pytest.mark.parametrize("name", ["LogisticRegression", "RandomForestClassifier"])
def test_a_single_class_is_the_state(name: str, kinds: Any) -> None:
    same = dataclasses.replace(kinds, targets=np.full(160, 2))
    learner = Sklearn(NAMED[name])
    states = same.chain(learner, [3, 160])
    assert states == [dump({"format": 1, "only": 2}, {})] * 2
    np.testing.assert_array_equal(
        same.predict(learner, states), np.tile([0.0, 0, 1, 0], (2, 160, 1))
    )


def test_a_slice_needs_no_parent(kinds: Any) -> None:
    learner = Sklearn(RandomForestClassifier(3))
    samples = kinds.samples(learner)
    fresh, with_parent = (
        learner.learn(kinds.task, parent, samples, Step(3, 0.1)) for parent in (None, b"anything")
    )
    assert fresh == with_parent


def test_weights_go_to_the_last_step(kinds: Any) -> None:
    nested = make_pipeline(StandardScaler(), make_pipeline(PCA(3), LogisticRegression()))
    for estimator in (LogisticRegression(), nested, RandomForestClassifier(3)):
        learner = Sklearn(estimator)
        assert kinds.chain(learner, [160], weighted=True) != kinds.chain(learner, [160])
    learner = Sklearn(nested)
    ones = dataclasses.replace(kinds, weights=np.ones(160))
    np.testing.assert_allclose(
        kinds.predict(learner, ones.chain(learner, [160], weighted=True)),
        kinds.predict(learner, kinds.chain(learner, [160])),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "estimator",
    [
        KNeighborsClassifier(algorithm="brute"),
        make_pipeline(PCA(2), LinearDiscriminantAnalysis()),
    ],
)
def test_weights_that_nobody_takes_are_refused(estimator: BaseEstimator, kinds: Any) -> None:
    with pytest.raises(RecipeInvalid, match="takes none"):
        kinds.chain(Sklearn(estimator), [160], weighted=True)


def test_the_estimator_must_fit_the_target(kinds: Any, prices: Any) -> None:
    with pytest.raises(RecipeInvalid, match="needs a classifier"):
        kinds.chain(Sklearn(Ridge()), [160])
    with pytest.raises(RecipeInvalid, match="needs a regressor, and Pipeline"):
        prices.chain(Sklearn(_then(PCA(2))), [160])


def test_not_converging_warns_and_does_not_stop(kinds: Any) -> None:
    with pytest.warns(ConvergenceWarning):
        assert kinds.chain(Sklearn(MLPClassifier(max_iter=1)), [160])


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
def test_not_converging_does_not_stop_even_where_warnings_are_errors(kinds: Any) -> None:
    with pytest.warns(ConvergenceWarning):
        assert kinds.chain(Sklearn(MLPClassifier(max_iter=1)), [160])


def test_an_undeclared_category_encodes_to_nothing(kinds: Any) -> None:
    learner = Sklearn(
        make_pipeline(
            ColumnTransformer([("one", OneHotEncoder(handle_unknown="ignore"), ["job", "rooms"])]),
            LogisticRegression(),
        )
    )
    known = dataclasses.replace(
        kinds, features=kinds.features | {"job": np.abs(kinds.features["job"])}
    )
    (state,) = known.chain(learner, [160])
    inputs = learner.encode(kinds.task, kinds.features)
    assert inputs["job"].isna().sum() == (kinds.features["job"] < 0).sum() > 0
    assert list(inputs["rooms"].cat.categories) == [1, 2, 5]
    found = learner.predictor(kinds.task, [state])(inputs)
    assert np.isfinite(found).all()
    # Whatever stands beside it in the batch.
    some = kinds.features["job"] < 0
    alone = learner.predictor(kinds.task, [state])(
        learner.encode(kinds.task, {k: cells[some] for k, cells in kinds.features.items()})
    )
    np.testing.assert_allclose(alone[0], found[0][some])


TEXT = Column("text", Role.FEATURE, Kind.TEXT, "str")
PIXELS = Column("pixels", Role.FEATURE, Kind.TENSOR, "uint8", shape=(2, 3))


def _texts(kinds: Any) -> Any:
    words = np.array(["red", "green", "blue"])
    rng = np.random.default_rng(3)
    text = [f"{words[k % 3]} {words[rng.integers(3)]}" for k in kinds.targets]
    return dataclasses.replace(
        kinds, features=kinds.features | {"text": np.array(text, dtype=object)}
    )


def test_a_single_text_column_is_given_as_strings(kinds: Any) -> None:
    texts = dataclasses.replace(_texts(kinds), task=Task((TEXT,), kinds.task.targets))
    for vectorizer in (
        TfidfVectorizer(stop_words="english"),
        CountVectorizer(ngram_range=(1, 2)),
        HashingVectorizer(n_features=64),
    ):
        _check(make_pipeline(vectorizer, LogisticRegression()), texts)


def test_text_stands_in_a_table_beside_other_columns(kinds: Any) -> None:
    task = Task((*kinds.task.features, TEXT), kinds.task.targets)
    columns = ColumnTransformer(
        [("words", TfidfVectorizer(), "text"), ("numbers", StandardScaler(), ["hours"])]
    )
    texts = dataclasses.replace(_texts(kinds), task=task)
    _check(make_pipeline(columns, LogisticRegression()), texts)
    with pytest.raises(RecipeInvalid, match="text"):
        texts.chain(Sklearn(LogisticRegression()), [160])


def test_tensors_are_laid_flat_and_do_not_stand_in_tables(kinds: Any) -> None:
    pixels = np.arange(160 * 6).reshape(160, 2, 3).astype(np.uint8)
    images = dataclasses.replace(
        kinds,
        task=Task((PIXELS,), kinds.task.targets),
        features=kinds.features | {"pixels": pixels},
    )
    _check(LogisticRegression(), images)
    with pytest.raises(RecipeInvalid, match="cannot hold the tensor"):
        images.chain(Sklearn(make_pipeline(ColumnTransformer([]), GaussianNB())), [160])


def test_a_table_can_be_asked_for(kinds: Any) -> None:
    learner = Sklearn(HistGradientBoostingClassifier(max_iter=3), table=True)
    inputs = learner.encode(kinds.task, kinds.features)
    assert list(inputs.columns) == ["age", "hours", "job", "rooms"]
    found = kinds.predict(learner, kinds.chain(learner, [160]))
    assert found.shape == (1, 160, 4)


# The form of a state

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)
)
arrays = hnp.arrays(
    st.sampled_from(["float64", "float32", "float16", "int64", "uint8", "bool", "int32"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    elements=None,
)
values = st.recursive(
    st.one_of(scalars, arrays),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.integers(), st.text(max_size=3)), inner, max_size=3),
    ),
    max_leaves=8,
)


def _through(value: Any) -> tuple[Any, bytes]:
    pool = Pool()
    state = dump(Writer(pool, lambda e, _: vars(e)).write(value), pool.joined())
    meta, joined = parse(state)

    def revive(kind: Any, attributes: dict[str, Any]) -> Any:
        restored = kind.__new__(kind)
        vars(restored).update(attributes)
        return restored

    return Reader(Pool(joined), revive, may_import=False).read(meta), state


def _same(one: Any, two: Any) -> bool:
    if type(one) is not type(two):
        return False
    if isinstance(one, np.ndarray):
        kept = one.dtype == two.dtype and one.shape == two.shape
        return kept and np.asarray(one).tobytes() == np.asarray(two).tobytes()
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(_same, one, two))
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(_same(one[k], two[k]) for k in one)
    return bool(one == two) and str(one) == str(two)


@given(values)
@example({1: np.array(False), 0: np.array(True)})
def test_values_come_back_and_are_written_in_one_way(value: Any) -> None:
    read, state = _through(value)
    assert _same(read, value)
    assert _through(read)[1] == state


def test_special_values_come_back() -> None:
    value = [
        float("nan"),
        float("-inf"),
        -0.0,
        np.float32(0.1),
        np.int8(3),
        np.str_("é"),
        slice(1, None, 2),
        {1, 2, 3},
        np.dtype("float32"),
        np.float64,
        int,
        np.array(["a", None, 3.5], object),
        np.array([["ab", "c"]]),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    ]
    read, _ = _through(value)
    assert str(read) == str(value)
    assert read[-1].flags.f_contiguous


def test_dictionaries_and_sets_are_written_in_one_order() -> None:
    assert _through({"b": 1, "a": 2, 3: 4})[1] == _through({3: 4, "a": 2, "b": 1})[1]
    words, more = ({f"word{i}" for i in range(k)} for k in (5, 500))
    assert _through(words)[1] == _through(more - {f"word{i}" for i in range(5, 500)})[1]


def test_sparse_matrices_are_written_in_one_order() -> None:
    tidy = sparse.csr_array(np.array([[0.0, 2, 3], [1, 0, 0]]))
    untidy = sparse.csr_array(
        (np.array([3.0, 2, 0.5, 0.5]), np.int32([2, 1, 0, 0]), np.int32([0, 2, 4])), shape=(2, 3)
    )
    assert _through(tidy)[1] == _through(untidy)[1]
    for kind in (sparse.csr_array, sparse.csc_array, sparse.csr_matrix, sparse.csc_matrix):
        read, _ = _through(kind(tidy))
        assert type(read) is kind
        np.testing.assert_array_equal(read.toarray(), tidy.toarray())


def test_padding_of_records_is_not_written() -> None:
    layout = np.dtype({"names": ["a", "b"], "formats": ["u1", "f8"], "offsets": [0, 8]})
    states = []
    for garbage in (0, 255):
        memory = np.full(3 * layout.itemsize, garbage, np.uint8)
        records = memory.view(layout)
        records["a"], records["b"] = 7, 0.5
        read, state = _through(records)
        assert read.dtype == layout
        np.testing.assert_array_equal(read, records)
        states.append(state)
    assert states[0] == states[1]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (np.random.RandomState(0), "RandomState"),
        (object(), "object"),
        (np.ma.masked_array([1.0]), "MaskedArray"),
        (np.array([1j]), "array of complex128"),
        (np.array([1.0], ">f8"), "array of >f8"),
        (np.array(["2020-01-01"], "datetime64[D]"), "array of datetime64"),
        (sparse.coo_array(np.eye(2)), "coo_array"),
        (os.path.join, "function"),
        (Path, "type"),
        (np.sum, "_ArrayFunctionDispatcher"),
        (b"bytes", "bytes"),
    ],
)
def test_other_values_are_refused_by_their_path(value: object, found: str) -> None:
    estimator = Ridge()
    estimator.odd_ = {"anna@example.org": [1, value]}
    with pytest.raises(StateNotCanonical) as caught:
        _through(estimator)
    assert caught.value.attribute == "Ridge.odd_[…][1]"
    assert found in caught.value.found
    assert "anna" not in str(caught.value)


def test_a_loop_of_references_is_refused() -> None:
    estimator = Ridge()
    estimator.self_ = [estimator]
    with pytest.raises(StateNotCanonical, match="loop of references"):
        _through(estimator)


@pytest.mark.parametrize(
    "meta",
    [
        {"estimator": ["subprocess:Popen", {}]},
        {"estimator": ["no_such_package:Ridge", {}]},
        {"estimator": ["sklearn.linear_model:NoSuchThing", {}]},
        {"call": ["sklearn.linear_model:Ridge", {"tuple": []}, None]},
        {"object": ["sklearn.linear_model:Ridge", {}]},
        {"named": "os:system"},
        {"named": "builtins:eval"},
        {"sparse": ["load_npz", [1, 1], []]},
    ],
)
def test_a_state_brings_nothing_else_to_life(meta: Any) -> None:
    with pytest.raises(DataCorrupt):
        Reader(Pool(), lambda kind, _: kind, may_import=False).read(meta)


def test_a_state_of_another_scikit_learn_says_so(kinds: Any) -> None:
    learner = Sklearn(GaussianNB())
    meta, joined = parse(kinds.chain(learner, [160])[0])
    with pytest.warns(UserWarning, match=r"from version 0\.1"):
        learner.predictor(kinds.task, [dump(meta | {"sklearn": "0.1"}, joined)])
    with pytest.raises(FormatUnsupported):
        learner.predictor(kinds.task, [dump(meta | {"format": 2}, joined)])


def test_samples_are_left_as_they_are(kinds: Any) -> None:
    learner = Sklearn(make_pipeline(StandardScaler(copy=False), LogisticRegression()))
    samples: Samples = kinds.samples(learner)
    before = samples.inputs.copy()
    learner.learn(kinds.task, None, samples, Step(1, 1.0))
    np.testing.assert_array_equal(samples.inputs, before)
