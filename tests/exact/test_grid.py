"""Forgetting equals never having seen: every learner, over a grid of cases, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from cases import EXAMPLES, Case, cases
from hypothesis import Phase, given, settings
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import expunge
from expunge.learners.protocol import Learner
from expunge.testing import FreshProcess, check_exact


def torch_mlp_adam() -> Learner:
    adam = {"lr": 0.01}
    return expunge.Torch(
        "mlp", {"hidden": [4]}, optimiser="Adam", optimiser_options=adam, epochs=2, batch=8
    )


def torch_mlp_dropout_batch_norm() -> Learner:
    options = {"hidden": [4], "dropout": 0.3, "batch_norm": True}
    return expunge.Torch("mlp", options, epochs=2, batch=8)


def columns() -> ColumnTransformer:
    encoder = OneHotEncoder(handle_unknown="ignore")
    return ColumnTransformer(
        [("numbers", StandardScaler(), ["a", "b"]), ("colors", encoder, ["color"])]
    )


CLASSIFIERS: Mapping[str, Callable[[], Learner]] = {
    "torch linear, SGD with momentum": lambda: expunge.Torch("linear", epochs=2, batch=16),
    "torch MLP, Adam": torch_mlp_adam,
    "torch MLP, dropout, batch norm": torch_mlp_dropout_batch_norm,
    "scaler and logistic regression": lambda: expunge.Sklearn(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=20))
    ),
    "logistic regression": lambda: expunge.Sklearn(LogisticRegression(max_iter=20)),
    "random forest classifier": lambda: expunge.Sklearn(
        RandomForestClassifier(n_estimators=2, max_depth=3)
    ),
    "extra trees classifier": lambda: expunge.Sklearn(
        ExtraTreesClassifier(n_estimators=2, max_depth=3)
    ),
    "Gaussian naive Bayes": lambda: expunge.Sklearn(GaussianNB()),
    "ridge by sums": lambda: expunge.Ridge(),
    "least squares by sums": lambda: expunge.Ridge(penalty=0.0),
    "logistic regression, rounded": lambda: expunge.Convex(),
    "multinomial regression, rounded": lambda: expunge.Convex("multinomial"),
    "LDA": lambda: expunge.LDA(),
    "Gaussian naive Bayes by sums": lambda: expunge.GaussianBayes(),
    "multinomial naive Bayes": lambda: expunge.MultinomialBayes(),
    "Bernoulli naive Bayes": lambda: expunge.BernoulliBayes(above=100),
    "xgboost, subsample": lambda: expunge.XGBoost(rounds=4, max_depth=2, subsample=0.6),
    "lightgbm, bagging": lambda: expunge.LightGBM(
        rounds=4, num_leaves=3, min_data_in_leaf=2, bagging_fraction=0.6
    ),
}
REGRESSORS: Mapping[str, Callable[[], Learner]] = {
    "torch linear": lambda: expunge.Torch("linear", epochs=2, batch=16),
    "columns, one-hot and ridge": lambda: expunge.Sklearn(make_pipeline(columns(), Ridge())),
    "ridge": lambda: expunge.Sklearn(Ridge()),
    "ridge by sums": lambda: expunge.Ridge(),
    "least squares by sums": lambda: expunge.Ridge(penalty=0.0),
    "Huber regression, rounded": lambda: expunge.Convex("huber"),
    "random forest regressor": lambda: expunge.Sklearn(
        RandomForestRegressor(n_estimators=2, max_depth=3)
    ),
    "extra trees regressor": lambda: expunge.Sklearn(
        ExtraTreesRegressor(n_estimators=2, max_depth=3)
    ),
}

# A case is one number: there is nothing to shrink.
proved = settings(max_examples=EXAMPLES, phases=[Phase.reuse, Phase.generate])


@pytest.mark.prove
@pytest.mark.parametrize("name", CLASSIFIERS)
@proved
@given(case=cases(numbers=False))
def test_classes(builder: FreshProcess, name: str, case: Case) -> None:
    prove(builder, CLASSIFIERS[name](), case)


@pytest.mark.prove
@pytest.mark.parametrize("name", REGRESSORS)
@proved
@given(case=cases(numbers=True))
def test_numbers(builder: FreshProcess, name: str, case: Case) -> None:
    prove(builder, REGRESSORS[name](), case)


def prove(builder: FreshProcess, learner: Learner, case: Case) -> None:
    recipe = expunge.Sharded(learner, shards=case.shards, slices=case.slices, seed=case.seed)
    check_exact(recipe, case.data, *case.operations, builder=builder, probes=6, seed=case.seed)
