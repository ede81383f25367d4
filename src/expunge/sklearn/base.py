"""What both estimators do: check, fit, forget, and predict with all constituents."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from operator import index
from typing import Any, Final, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils import Tags, check_array, check_random_state, get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

from expunge.core.errors import ExpungeError, InputError, ModelWithdrawn, NothingToForget
from expunge.core.types import Column, Kind, Role, Task
from expunge.learners.protocol import Learner
from expunge.learners.sklearn import Sklearn
from expunge.sklearn.chains import Chains
from expunge.sklearn.rows import Rows, find, place, texts
from expunge.training.ensemble import ballots, combine
from expunge.training.recipe import Sharded

_SPLIT_MISSING: Final = ("expunge.learners.lightgbm", "expunge.learners.xgboost")


# Not in `core.errors`: scikit-learn's own error may not be imported there.
class EverythingForgotten(ModelWithdrawn, NotFittedError):
    """All samples were forgotten: there is nothing left to predict from."""

    def __init__(self, model: str) -> None:
        self.model = model
        ExpungeError.__init__(
            self, f"{model} has forgotten all of its samples. Call `fit` with others."
        )


class Forgetful(BaseEstimator):
    """An estimator that holds its rows and its constituents' chains, and can forget."""

    _default: BaseEstimator

    def forget(
        self,
        sample_ids: Iterable[str | int] = (),
        *,
        subjects: Iterable[str | int] = (),
        missing: str = "raise",
    ) -> Self:
        """Forget samples, or all samples of subjects; their rows leave this object.

        The result has the same bytes as a `fit` that never saw them. What saw them is dropped
        first, then rebuilt: if rebuilding fails they are forgotten all the same, and the next
        `forget` builds what is missing. Nothing is kept about what was forgotten, so
        an id that was forgotten before is unknown. Costs the slices behind the first touched
        one, in each touched shard.

        Args:
            sample_ids: As given to `fit`; numbers of rows, from 0, where none were. They stay
                the same when others are forgotten.
            subjects: As given to `fit`.
            missing: ``raise`` or ``ignore`` ids and subjects that are not here.

        Raises:
            NothingToForget: Neither samples nor subjects are named.
            SamplesUnknown: Some are not here; nothing is forgotten.
        """
        check_is_fitted(self)
        if missing not in ("raise", "ignore"):
            raise InputError(f"`missing` must be 'raise' or 'ignore', got {missing!r}.")
        samples, people = texts(sample_ids, "sample id"), texts(subjects, "subject")
        if not samples and not people:
            raise NothingToForget
        gone = _gone(self._chains.rows, samples, people, missing)
        if gone.any():
            self._serve(self._chains.without(gone))
        self._serve(self._chains.built())
        return self

    @property
    def constituents_(self) -> list[bytes | None]:
        """Canonical state of each shard's model; None where the shard has no samples."""
        check_is_fitted(self)
        return [chain[-1].state if chain else None for chain in self._chains.chains]

    def _fit(
        self,
        x: NDArray[np.float64],
        y: NDArray[Any],
        targets: tuple[Column, ...],
        sample_weight: ArrayLike | None,
        sample_ids: Iterable[str | int] | None,
        subjects: Iterable[str | int] | None,
    ) -> None:
        recipe = self._recipe()
        weights = _weights(sample_weight, len(x))
        rows = place(x, y, weights, sample_ids, subjects, recipe.seed)
        _warn_of_crowds(rows, recipe.shards * recipe.slices)
        task = Task(_columns(self, x.shape[1]), targets)
        self._serve(Chains.empty(recipe, task, rows).built())

    def _serve(self, chains: Chains) -> None:
        # First what answers: no prediction may come from a model that saw forgotten samples.
        self._loaded = chains.load()
        self._chains = chains

    def _outputs(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities (n, classes), or values (n, targets)."""
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, **self._checks())
        chains, loaded = self._chains, self._loaded
        if loaded is None:
            raise EverythingForgotten(type(self).__name__)
        predictor, weights = loaded
        each = predictor(chains.inputs(x))
        if chains.task.classes and chains.recipe.aggregate == "vote":
            return combine(ballots(each), np.ones_like(weights))
        return combine(each, weights)

    def _recipe(self) -> Sharded:
        given, state = (
            self._default if self.estimator is None else self.estimator,
            self.random_state,
        )
        ours = hasattr(given, "learn") and hasattr(given, "encode")
        if state is None or isinstance(state, np.random.RandomState):
            state = check_random_state(state).randint(2**31)
        return Sharded(
            learner=cast("Learner", given) if ours else Sklearn(given),
            shards=index(self.shards),
            slices=index(self.slices),
            seed=index(state),
            aggregate=self._aggregate(),
        )

    def _aggregate(self) -> str:
        return "mean"

    def _checks(self) -> dict[str, Any]:
        finite: bool | str = "allow-nan" if self._takes_missing() else True
        return {"dtype": np.float64, "order": "C", "ensure_all_finite": finite}

    def _takes_missing(self) -> bool:
        if isinstance(self.estimator, BaseEstimator):
            return bool(get_tags(self.estimator).input_tags.allow_nan)
        return type(self.estimator).__module__ in _SPLIT_MISSING

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._takes_missing()
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_chains")

    def __getstate__(self) -> dict[str, Any]:
        # What is loaded holds functions, which cannot be pickled.
        return {k: v for k, v in super().__getstate__().items() if k != "_loaded"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_chains" in state:
            self._loaded = self._chains.load()


def _gone(rows: Rows, samples: list[str], people: list[str], missing: str) -> NDArray[np.bool_]:
    if people and rows.subjects is None:
        raise InputError("`fit` was given no subjects. Give it `subjects`, or forget by sample id.")
    gone = find(rows.ids, samples, "sample ids", missing)
    return (
        gone if rows.subjects is None else gone | find(rows.subjects, people, "subjects", missing)
    )


def _columns(estimator: Forgetful, width: int) -> tuple[Column, ...]:
    # No range is declared, so that no learner scales: what `X` happens to span is not ours.
    found = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    names = found if len(set(found)) == width else [f"x{i}" for i in range(width)]
    return tuple(Column(name, Role.FEATURE, Kind.NUMERIC, "float64") for name in names)


def _weights(given: ArrayLike | None, rows: int) -> NDArray[np.float64] | None:
    if given is None:
        return None
    weights: NDArray[np.float64] = check_array(
        given, ensure_2d=False, dtype=np.float64, input_name="sample_weight"
    )
    if weights.shape != (rows,):
        raise InputError(f"`sample_weight` must have shape ({rows},), got {weights.shape}.")
    if (weights < 0).any() or not weights.any():
        raise InputError("Each sample weight must be 0 or more, and one of them not zero.")
    return weights


def _warn_of_crowds(rows: Rows, places: int) -> None:
    crowd = int(np.unique(rows.keys, return_counts=True)[1].max())
    # A few equal rows are not worth a word, however small the slices.
    if places > 1 and crowd > max(10, len(rows) / places / 2):
        warnings.warn(
            f"{crowd:,} rows stay together, more than half of what a slice holds on average: "
            f"they have one subject, or equal features. Give `sample_ids` to spread rows with "
            f"equal features, or take fewer shards and slices.",
            UserWarning,
            stacklevel=4,
        )
