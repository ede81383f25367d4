"""Gradient-boosted trees by LightGBM; boosting goes on slice by slice.

References:
    Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision Tree", NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final

import lightgbm
import numpy as np
from numpy.typing import NDArray

from expunge.core.digest import Json
from expunge.core.errors import FormatUnsupported, RecipeInvalid
from expunge.core.types import Task
from expunge.learners.boosting import check, rounds_of, seed_of
from expunge.learners.constant import always, only_class
from expunge.learners.options import Options
from expunge.learners.protocol import Features, Inputs, Predictor, Samples, Step
from expunge.learners.state import dump, parse
from expunge.learners.tables import categorical, codes

_FORMAT: Final = 1
_FIELDS: Final = (
    "num_leaves",
    "max_depth",
    "learning_rate",
    "min_data_in_leaf",
    "lambda_l2",
    "bagging_fraction",
    "feature_fraction",
)
_FIXED: Final[Mapping[str, Any]] = {
    "boost_from_average": False,  # a base from the first slice would stay for good
    "deterministic": True,
    "feature_pre_filter": False,  # else small slices lose columns that later ones can split
    "force_row_wise": True,  # else it times both ways and takes the faster
    "num_threads": 1,
    "verbosity": -1,
}
_OURS: Final = (
    *_FIELDS,
    *_FIXED,
    *("base_score", "objective", "num_class", "seed", "random_state", "nthread", "n_jobs"),
    *("device_type", "device", "num_iterations", "init_score", "categorical_feature"),
    *("input_model", "output_model", "data", "machines", "force_col_wise"),
)


@dataclass(frozen=True)
class LightGBM:
    """Boost trees: each slice adds its share of the rounds, on all samples so far.

    Classes by ``binary`` or ``multiclass``, one target's values by ``regression``. Categories
    are split natively, by their codes; missing cells go where the split sends them; tensors
    are laid flat; text is refused.

    While the samples so far are of one class only, LightGBM can split nothing: the state is
    that class and the rounds that it owes, and the first slice with another class boosts
    those too. A slice on which no split is possible adds no rounds.

    Attributes:
        rounds: Over the whole schedule.
        max_depth: -1 for no limit.
        learning_rate: Factor on each tree's values.
        min_data_in_leaf: Fewest samples in a leaf; below twice as many nothing is split.
        lambda_l2: Strength of the squared-norm penalty on leaf values.
        bagging_fraction: Part of the samples that each tree sees, drawn anew for each.
        feature_fraction: Part of the columns that each tree sees.
        base_score: What is predicted before the first tree, declared instead of estimated from
            the first slice. Regression only: classes start equally likely.
        options: Further parameters under LightGBM's own names, as ``max_bin``.

    Raises:
        RecipeInvalid: No rounds, or an option that the learner sets itself.
    """

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("lightgbm", "numpy", "scipy")

    rounds: int = 100
    num_leaves: int = 31
    max_depth: int = -1
    learning_rate: float = 0.1
    min_data_in_leaf: int = 20
    lambda_l2: float = 0.0
    bagging_fraction: float = 1.0
    feature_fraction: float = 1.0
    base_score: float = 0.0
    options: Mapping[str, Json] = field(default_factory=Options)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", Options(self.options))
        check(self.rounds, self.options, _OURS)

    def encode(self, task: Task, features: Features) -> NDArray[np.float64]:
        """As float64, (n, width): categories as codes, missing as NaN."""
        return codes(task.features, features, np.float64)

    def learn(self, task: Task, parent: bytes | None, samples: Samples, step: Step) -> bytes:
        """Add this slice's rounds, and those owed, to the parent's trees.

        Raises:
            RecipeInvalid: There are several targets.
        """
        if not task.classes and len(task.targets) > 1:
            raise RecipeInvalid(
                f"LightGBM predicts one target, the view has {len(task.targets)}. Train a model "
                f"for each, or use `XGBoost`."
            )
        meta, arrays = ({}, {}) if parent is None else _open(parent)
        rounds = rounds_of(step, self.rounds) + meta.get("owed", 0)
        only = only_class(task, samples)
        if only is not None:
            return dump({"format": _FORMAT, "only": only, "owed": rounds}, {})
        parameters = self._parameters(task, len(samples), step)
        booster = lightgbm.train(
            parameters,
            self._rows(task, samples, parameters, fresh="model" not in arrays),
            num_boost_round=rounds,
            init_model=_booster(arrays["model"]) if "model" in arrays else None,
        )
        text = booster.model_to_string(num_iteration=-1).encode()
        return dump({"format": _FORMAT}, {"model": np.frombuffer(text, np.uint8)})

    def predictor(self, task: Task, states: Sequence[bytes]) -> Predictor:
        """Probabilities per declared class, or values of the target, of each state."""
        models = [self._model(task, state) for state in states]

        def predict(inputs: Inputs) -> NDArray[np.float64]:
            if not len(inputs):
                return np.zeros((len(models), 0, task.outputs))
            return np.stack([model(inputs) for model in models])

        return predict

    def _parameters(self, task: Task, samples: int, step: Step) -> dict[str, Any]:
        classes = len(task.classes)
        objective: dict[str, Any] = {"objective": "regression"}
        if classes > 2:
            objective = {"objective": "multiclass", "num_class": classes}
        elif classes:
            objective = {"objective": "binary"}
        # LightGBM fails where a draw would be empty.
        draws = self.bagging_fraction < 1 and samples * self.bagging_fraction >= 1
        return {
            **self.options,
            "bagging_freq": int(draws) and self.options.get("bagging_freq", 1),
            **{name: getattr(self, name) for name in _FIELDS},
            **_FIXED,
            **objective,
            "seed": seed_of(step, "lightgbm"),
        }

    def _rows(
        self, task: Task, samples: Samples, parameters: Mapping[str, Any], *, fresh: bool
    ) -> lightgbm.Dataset:
        targets = samples.targets if task.classes else samples.targets[:, 0] - self.base_score
        many = len(task.classes) > 2
        start = np.zeros((len(samples), len(task.classes)) if many else len(samples))
        return lightgbm.Dataset(
            samples.inputs,
            label=targets,
            weight=samples.weights,
            # Given, it keeps LightGBM from starting at a base that it makes up itself; a class
            # without samples would start at exp(-34) and never be learnt.
            init_score=start if fresh else None,
            categorical_feature=np.flatnonzero(categorical(task.features)).tolist(),
            params=dict(parameters),
        )

    def _model(self, task: Task, state: bytes) -> Callable[[Inputs], NDArray[np.float64]]:
        meta, arrays = _open(state)
        if "only" in meta:
            return partial(always, task, meta["only"])
        return partial(_outputs, task, _booster(arrays["model"]), self.base_score)


def _outputs(
    task: Task, booster: lightgbm.Booster, base: float, inputs: Inputs
) -> NDArray[np.float64]:
    found = np.asarray(booster.predict(inputs), np.float64)
    if len(task.classes) == 2:
        return np.stack([1 - found, found], axis=1)
    return found.reshape(len(inputs), task.outputs) + (0.0 if task.classes else base)


def _booster(text: NDArray[np.uint8]) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=text.tobytes().decode())


def _open(state: bytes) -> tuple[Any, dict[str, NDArray[Any]]]:
    meta, arrays = parse(state)
    if meta["format"] != _FORMAT:
        raise FormatUnsupported("A LightGBM checkpoint", meta["format"], _FORMAT)
    return meta, arrays
