"""The estimators that users hold: a classifier and a regressor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import Tags, check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from expunge.core.errors import InputError
from expunge.core.types import Column, Kind, Role
from expunge.sklearn.base import Forgetful


class ShardedClassifier(ClassifierMixin, Forgetful):
    """A classifier that can forget, exactly: one model for each shard, learnt slice by slice.

    Forgetting gives the same bytes as a fit that never saw the samples:

    - without `sample_ids` the model is a function of the rows alone, in any order, and a row of
      weight w counts as w rows. Rows with equal features stay in one slice: where few rows
      are distinct, give ids to spread them;
    - with `sample_ids` it is a function of the rows and their ids, and rows are placed by id;
    - `subjects` keep all rows of a person in one slice, in both cases.

    Preprocessing that is fitted belongs inside, as in
    ``ShardedClassifier(make_pipeline(StandardScaler(), LogisticRegression()))``: a scaler in a
    pipeline around this object forgets nothing. All rows and checkpoints, S·R of them, are held
    in memory, in this object and in its pickles; copies of either do not forget with it.

    Args:
        estimator: A scikit-learn classifier, or a learner of Expunge as ``expunge.Torch`` (it
            gets numbers as they are, unscaled). None: logistic regression.
        shards: S, the number of models. More make forgetting cheaper, and each sees less.
        slices: R, the number of parts in which a shard is learnt, with a checkpoint after each.
        aggregate: ``mean`` of the probabilities, weighted by samples seen, or ``vote``.
        random_state: Fixes places on the ring and all randomness, also for forgetting. It is no
            secret here. With None or a generator it is drawn once, by `fit`.
        classes: Labels that there are; None: those in `y`. A class whose last sample was
            forgotten keeps its place: declare the classes to compare with a fit without it.

    Attributes:
        classes_: The labels, sorted.
        constituents_: Canonical state of each shard's model, as bytes.
        n_features_in_: Number of features seen by `fit`.
        feature_names_in_: Their names, where `X` had such.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = ShardedClassifier(shards=3, slices=2).fit(X, y)
    >>> never = ShardedClassifier(shards=3, slices=2).fit(X[2:], y[2:])
    >>> model.forget([0, 1]).constituents_ == never.constituents_
    True
    """

    _default = LogisticRegression()

    def __init__(
        self,
        estimator: object = None,
        *,
        shards: int = 5,
        slices: int = 1,
        aggregate: str = "mean",
        random_state: int | np.random.RandomState | None = 0,
        classes: ArrayLike | None = None,
    ) -> None:
        self.estimator = estimator
        self.shards = shards
        self.slices = slices
        self.aggregate = aggregate
        self.random_state = random_state
        self.classes = classes

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sample_ids: Iterable[str | int] | None = None,
        subjects: Iterable[str | int] | None = None,
    ) -> Self:
        """Learn from rows of numbers.

        Args:
            X: (n, features).
            y: Labels, (n,): strings, integers or booleans.
            sample_weight: (n,), not negative; 0 is as good as no row.
            sample_ids: One per row, unique. None: numbers of rows.
            subjects: Whom each row is about. None: nobody.

        Raises:
            InputError: The arguments do not fit together.
            StateNotCanonical: The estimator's state has no canonical bytes.
        """
        x, labels = validate_data(self, X, y, **self._checks())
        check_classification_targets(labels)
        classes = np.unique(labels if self.classes is None else np.asarray(self.classes))
        if not np.isin(labels, classes).all():
            raise InputError("`y` has labels that are not in `classes`. Declare them there.")
        codes = np.searchsorted(classes, labels).astype(np.int64)
        # Learners see places in `classes_`, not labels, which may be of any type.
        places = tuple(range(len(classes)))
        target = Column("y", Role.VALUE, Kind.CATEGORICAL, "int32", categories=places)
        self._fit(x, codes, (target,), sample_weight, sample_ids, subjects)
        self.classes_ = classes
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The likeliest label of each row, (n,).

        Raises:
            EverythingForgotten: No sample is left.
        """
        likeliest = self.predict_proba(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[likeliest]
        return labels

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities, or shares of the votes, (n, classes).

        Raises:
            EverythingForgotten: No sample is left.
        """
        return self._outputs(X)

    def _aggregate(self) -> str:
        return self.aggregate


class ShardedRegressor(RegressorMixin, Forgetful):
    """A regressor that can forget, exactly; all else as for :class:`ShardedClassifier`.

    Its prediction is the mean of its constituents', weighted by samples seen.

    Args:
        estimator: A scikit-learn regressor, or a learner of Expunge. None: ridge regression.
        shards: S, the number of models.
        slices: R, the number of parts in which a shard is learnt.
        random_state: Fixes places on the ring and all randomness.

    Attributes:
        constituents_: Canonical state of each shard's model, as bytes.
        n_features_in_: Number of features seen by `fit`.
        feature_names_in_: Their names, where `X` had such.
    """

    _default = Ridge()

    def __init__(
        self,
        estimator: object = None,
        *,
        shards: int = 5,
        slices: int = 1,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.estimator = estimator
        self.shards = shards
        self.slices = slices
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sample_ids: Iterable[str | int] | None = None,
        subjects: Iterable[str | int] | None = None,
    ) -> Self:
        """Learn from rows of numbers.

        Args:
            X: (n, features).
            y: Values, (n,) or (n, targets).
            sample_weight: (n,), not negative; 0 is as good as no row.
            sample_ids: One per row, unique. None: numbers of rows.
            subjects: Whom each row is about. None: nobody.

        Raises:
            InputError: The arguments do not fit together.
            StateNotCanonical: The estimator's state has no canonical bytes.
        """
        x, y = validate_data(self, X, y, multi_output=True, y_numeric=True, **self._checks())
        values = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        table = values.reshape(len(values), -1)
        names = [f"y{i}" for i in range(table.shape[1])]
        targets = tuple(Column(name, Role.VALUE, Kind.NUMERIC, "float64") for name in names)
        self._fit(x, table, targets, sample_weight, sample_ids, subjects)
        self._flat = values.ndim == 1
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """The values of each row, in the shape that `y` had.

        Raises:
            EverythingForgotten: No sample is left.
        """
        outputs = self._outputs(X)
        return outputs[:, 0] if self._flat else outputs

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
