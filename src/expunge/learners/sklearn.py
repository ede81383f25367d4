"""Any scikit-learn estimator whose fitted state is made of numbers, arrays and trees.

Each slice fits a fresh estimator to all samples so far, so that there is no state to carry
on and nothing that a framework hides in it. The fitted estimator is kept without pickle.

References:
    Pedregosa et al., "Scikit-learn: Machine Learning in Python", JMLR 12, 2011.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, ClassVar, Final

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from expunge.core import rng
from expunge.core.digest import Json, canonical_json
from expunge.core.errors import FormatUnsupported, RecipeInvalid, StateNotCanonical
from expunge.core.types import Kind, Task
from expunge.learners.constant import always, only_class
from expunge.learners.encoding import dense
from expunge.learners.protocol import Features, Inputs, Predictor, Samples, Step
from expunge.learners.seeding import seeded
from expunge.learners.sklearn_arrays import Inline, Pool
from expunge.learners.sklearn_state import Reader, Writer
from expunge.learners.state import dump, parse
from expunge.learners.tables import frame

_FORMAT: Final = 1
# What scikit-learn's own estimators keep for another `fit`, which never comes: generators,
# optimisers, losses, and the address of a list of stop words.
_ONLY_FOR_FITTING: Final = frozenset(
    {
        "_feature_subsample_rng",
        "_loss_function_",
        "_optimizer",
        "_random_state",
        "_rng",
        "_stop_words_id",
    }
)


@dataclass(frozen=True)
class Sklearn:
    """Fit a scikit-learn estimator to all samples so far, again at each slice.

    While the samples so far are of one class only, the state is that class, for any
    estimator: many cannot be fitted to a single class, and the others predict it too.
    Classifiers without ``predict_proba`` give probability 1 to the class they predict.

    Every ``random_state`` comes from the recipe's seed and ``n_jobs`` is one, whatever the estimator
    says. Callables and caches on disk are refused.

    Attributes:
        estimator: Give an estimator, fitted or not, as scikit-learn has it; kept as the
            canonical JSON of its class and parameters.
        table: Whether the estimator gets a pandas table of the view's columns rather than a
            matrix of scaled and one-hot encoded numbers. None: where it holds a
            ``ColumnTransformer``. A single text column without table is given as strings.

    Raises:
        StateNotCanonical: A parameter has no canonical form; it is named.
        RecipeInvalid: It is not an estimator, or keeps a cache.
    """

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn", "numpy", "scipy", "pandas")

    estimator: Any
    table: bool | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "estimator", _describe(self.estimator))

    def encode(self, task: Task, features: Features) -> Inputs:
        """As a table, a column of text, or a float64 matrix; see ``table``."""
        table = _wants_table(self.estimator) if self.table is None else self.table
        if table:
            return frame(task.features, features)
        if [column.kind for column in task.features] == [Kind.TEXT]:
            return features[task.features[0].name]
        return dense(task.features, features).astype(np.float64)

    def learn(self, task: Task, parent: bytes | None, samples: Samples, step: Step) -> bytes:
        """Fit afresh to all samples so far; ``parent`` is not needed.

        Raises:
            StateNotCanonical: The fitted estimator holds what has no canonical bytes.
            RecipeInvalid: The estimator does not fit the targets, or takes no weights.
        """
        estimator = _seeded(_build(self.estimator), step)
        _check_targets(task, estimator)
        weights = _weights(estimator, samples)
        only = only_class(task, samples)
        if only is not None:
            return dump({"format": _FORMAT, "only": only}, {})
        one_column = not task.classes and len(task.targets) == 1
        targets = samples.targets[:, 0] if one_column else samples.targets
        with seeded(step.seed), warnings.catch_warnings():
            # Said, but never raised: whether an optimiser converged is no reason to stop.
            warnings.simplefilter("default", ConvergenceWarning)
            # A copy: steps with `copy=False` would write into the next slices' rows.
            estimator.fit(samples.inputs.copy(), targets, **weights)
        return _freeze(estimator)

    def predictor(self, task: Task, states: Sequence[bytes]) -> Predictor:
        """Probabilities per declared class, or values per target, of each state."""
        _build(self.estimator)  # brings the modules of its own classes
        models = [_model(task, state) for state in states]

        def predict(inputs: Inputs) -> NDArray[np.float64]:
            if not len(inputs):
                return np.zeros((len(models), 0, task.outputs))
            return np.stack([model(inputs.copy()) for model in models])

        return predict


def _describe(estimator: object) -> str:
    if isinstance(estimator, str) and estimator.startswith('{"estimator":'):
        return estimator
    if not isinstance(estimator, BaseEstimator):
        raise RecipeInvalid(
            f"`estimator` must be a scikit-learn estimator, got a {type(estimator).__name__}. "
            f"Give an instance, for example `Sklearn(LogisticRegression())`."
        )
    return canonical_json(Writer(Inline(), _parameters).write(estimator)).decode()


def _parameters(estimator: BaseEstimator, path: str) -> Mapping[str, Any]:
    found = dict(estimator.get_params(deep=False))
    if found.get("memory") is not None:
        raise RecipeInvalid(
            f"`{path}.memory` is set: such a cache keeps pickles of what was fitted on samples. "
            f"Leave it None."
        )
    if getattr(estimator, "_metadata_request", None) is not None:
        raise StateNotCanonical(f"{path}._metadata_request", "metadata routing request")
    for name in found.keys() & {"random_state", "n_jobs"}:
        if found[name] != "deprecated":
            found[name] = None  # the recipe's seed, and one job
    output = getattr(estimator, "_sklearn_output_config", None)
    return found | ({_OUTPUT: output["transform"]} if output else {})


_OUTPUT: Final = "set_output()"  # beside the parameters' names, none of which has brackets


def _build(description: str) -> Any:  # noqa: ANN401 - an estimator
    return Reader(Inline(), _construct, may_import=True).read(json.loads(description))


def _construct(kind: type, values: dict[str, Any]) -> BaseEstimator:
    output = values.pop(_OUTPUT, None)
    estimator = kind(**values)
    return estimator if output is None else estimator.set_output(transform=output)


@lru_cache
def _wants_table(description: str) -> bool:
    whole = _build(description)
    parts = [whole, *whole.get_params(deep=True).values()]
    return any(isinstance(part, ColumnTransformer | make_column_selector) for part in parts)


def _seeded(estimator: Any, step: Step) -> Any:  # noqa: ANN401 - an estimator
    paths = [
        path
        for path, value in estimator.get_params(deep=True).items()
        if path.rpartition("__")[2] == "random_state" and value is None
    ]
    # NumPy's old generators take 32 bits; some estimators add small numbers to theirs.
    seeds = {path: rng.seed("sklearn", step.seed, path) & 0x7FFF_FFFF for path in paths}
    return estimator.set_params(**seeds)


def _check_targets(task: Task, estimator: Any) -> None:  # noqa: ANN401 - an estimator
    fits = is_classifier(estimator) if task.classes else is_regressor(estimator)
    if not fits:
        wanted = "classifier" if task.classes else "regressor"
        raise RecipeInvalid(
            f"The view's target needs a {wanted}, and {type(estimator).__name__} is none."
        )


def _weights(estimator: Any, samples: Samples) -> dict[str, Any]:  # noqa: ANN401 - an estimator
    if samples.weights is None:
        return {}
    name = _weight_name(estimator)
    if name is None:
        raise RecipeInvalid(
            f"The view has a weight, but {type(estimator).__name__} takes none when it is "
            f"fitted. Leave `weight` out of the view, or take another estimator."
        )
    return {name: samples.weights}


def _weight_name(estimator: Any) -> str | None:  # noqa: ANN401 - an estimator
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        inner = _weight_name(last)
        return inner and f"{name}__{inner}"
    return "sample_weight" if has_fit_parameter(estimator, "sample_weight") else None


def _freeze(estimator: BaseEstimator) -> bytes:
    pool = Pool()
    written = Writer(pool, _fitted).write(estimator)
    meta: Json = {"format": _FORMAT, "sklearn": sklearn.__version__, "estimator": written}
    return dump(meta, pool.joined())


def _fitted(estimator: BaseEstimator, path: str) -> Mapping[str, Any]:
    state = dict(estimator.__getstate__())
    if state.pop("_sklearn_version", None) is None:  # somebody else's class: all of it counts
        return state
    kept = {name: value for name, value in state.items() if name not in _ONLY_FOR_FITTING}
    if isinstance(kept.get("random_state"), np.random.RandomState):
        kept["random_state"] = None  # boosting hands its own generator to its trees
    if "n_threads" in kept:
        kept["n_threads"] = 1  # as many as the process had, which changes no result
    return kept


def _model(task: Task, state: bytes) -> Callable[[Inputs], NDArray[np.float64]]:
    meta, arrays = parse(state)
    if meta["format"] != _FORMAT:
        raise FormatUnsupported("A scikit-learn checkpoint", meta["format"], _FORMAT)
    if "only" in meta:
        return partial(always, task, meta["only"])

    def revive(kind: Any, values: dict[str, Any]) -> BaseEstimator:  # noqa: ANN401 - a class
        restored: BaseEstimator = kind.__new__(kind)
        ours = kind.__module__.startswith("sklearn.")
        restored.__setstate__(values | ({"_sklearn_version": meta["sklearn"]} if ours else {}))
        return restored

    estimator = Reader(Pool(arrays), revive, may_import=False).read(meta["estimator"])
    if not task.classes:
        return lambda inputs: np.reshape(estimator.predict(inputs), (-1, task.outputs))
    return lambda inputs: _probabilities(task, estimator, inputs)


def _probabilities(task: Task, estimator: Any, inputs: Inputs) -> NDArray[np.float64]:  # noqa: ANN401 - an estimator
    if not hasattr(estimator, "predict_proba"):
        one_hot: NDArray[np.float64] = np.eye(task.outputs)[estimator.predict(inputs)]
        return one_hot
    found = np.zeros((len(inputs), task.outputs))
    found[:, estimator.classes_] = estimator.predict_proba(inputs)
    return found
