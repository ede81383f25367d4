"""Gradient-boosted trees by XGBoost; boosting goes on slice by slice.

Continuing from a booster in memory gives other trees than continuing from a loaded one where
chance is involved (``subsample``), so a slice always loads its parent's bytes.

References:
    Chen and Guestrin, "XGBoost: A Scalable Tree Boosting System", KDD 2016,
    doi:10.1145/2939672.2939785.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np
import xgboost
from numpy.typing import NDArray

from expunge.core.digest import Json
from expunge.core.errors import FormatUnsupported
from expunge.core.types import Task
from expunge.learners.boosting import check, rounds_of, seed_of
from expunge.learners.options import Options
from expunge.learners.protocol import Features, Inputs, Predictor, Samples, Step
from expunge.learners.state import dump, parse
from expunge.learners.tables import categorical, codes

_FORMAT: Final = 1
_FIELDS: Final = (
    "max_depth",
    "eta",
    "subsample",
    "colsample_bytree",
    "min_child_weight",
    "reg_lambda",
    "tree_method",
)
_OURS: Final = (
    *_FIELDS,
    *("base_score", "objective", "num_class", "seed", "random_state", "nthread", "n_jobs"),
    *("device", "learning_rate", "lambda", "process_type", "updater"),
)


@dataclass(frozen=True)
class XGBoost:
    """Boost trees: each slice adds its share of the rounds, on all samples so far.

    Classes by ``binary:logistic`` or ``multi:softprob``, values by ``reg:squarederror``, one
    tree per class or target and round. Categories are split natively, by their codes; missing
    cells go where the split sends them; tensors are laid flat; text is refused. Numbers are
    compared as float32.

    Attributes:
        rounds: Over the whole schedule.
        eta: Factor on each tree's values.
        subsample: Part of the samples that each tree sees, drawn anew.
        colsample_bytree: Part of the columns that each tree sees.
        min_child_weight: Least sum of second derivatives in a leaf.
        reg_lambda: Strength of the squared-norm penalty on leaf values.
        tree_method: ``hist`` or ``approx``; ``exact`` cannot read categories.
        base_score: What is predicted before the first tree, declared instead of estimated from
            the first slice: a probability (of a class) or a value. None: 0.5 or 0.
        options: Further parameters under XGBoost's own names, as ``gamma`` or ``max_bin``.

    Raises:
        RecipeInvalid: No rounds, or an option that the learner sets itself.
    """

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("xgboost", "xgboost-cpu", "numpy")

    rounds: int = 100
    max_depth: int = 6
    eta: float = 0.3
    subsample: float = 1.0
    colsample_bytree: float = 1.0
    min_child_weight: float = 1.0
    reg_lambda: float = 1.0
    tree_method: str = "hist"
    base_score: float | None = None
    options: Mapping[str, Json] = field(default_factory=Options)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", Options(self.options))
        check(self.rounds, self.options, _OURS)

    def encode(self, task: Task, features: Features) -> NDArray[np.float32]:
        """As float32, (n, width): categories as codes, missing as NaN."""
        return codes(task.features, features, np.float32)

    def learn(self, task: Task, parent: bytes | None, samples: Samples, step: Step) -> bytes:
        """Add this slice's rounds to the parent's trees."""
        booster = xgboost.train(
            self._parameters(task, step),
            _matrix(task, samples.inputs, label=samples.targets, weight=samples.weights),
            num_boost_round=rounds_of(step, self.rounds),
            xgb_model=None if parent is None else _model(parent),
        )
        return dump(
            {"format": _FORMAT}, {"model": np.frombuffer(booster.save_raw("ubj"), np.uint8)}
        )

    def predictor(self, task: Task, states: Sequence[bytes]) -> Predictor:
        """Probabilities per declared class, or values per target, of each state."""
        boosters = [xgboost.Booster(model_file=_model(state)) for state in states]

        def predict(inputs: Inputs) -> NDArray[np.float64]:
            if not len(inputs):
                return np.zeros((len(boosters), 0, task.outputs))
            rows = _matrix(task, inputs)
            return np.stack([_outputs(task, booster.predict(rows)) for booster in boosters])

        return predict

    def _parameters(self, task: Task, step: Step) -> dict[str, Any]:
        classes = len(task.classes)
        objective: dict[str, Any] = {"objective": "reg:squarederror"}
        if classes > 2:
            objective = {"objective": "multi:softprob", "num_class": classes}
        elif classes:
            objective = {"objective": "binary:logistic"}
        base = self.base_score
        if base is None:
            base = 0.5 if classes else 0.0
        return {
            **self.options,
            **{name: getattr(self, name) for name in _FIELDS},
            **objective,
            "base_score": base if classes or task.outputs == 1 else [base] * task.outputs,
            "seed": seed_of(step, "xgboost"),
            "nthread": 1,
        }


def _matrix(task: Task, inputs: Inputs, **labels: NDArray[Any] | None) -> xgboost.DMatrix:
    types = ["c" if one else "q" for one in categorical(task.features)]
    return xgboost.DMatrix(
        inputs, feature_types=types, enable_categorical=True, nthread=1, **labels
    )


def _model(state: bytes) -> bytearray:
    meta, arrays = parse(state)
    if meta["format"] != _FORMAT:
        raise FormatUnsupported("An XGBoost checkpoint", meta["format"], _FORMAT)
    return bytearray(arrays["model"].tobytes())


def _outputs(task: Task, found: NDArray[np.float32]) -> NDArray[np.float64]:
    values = found.astype(np.float64)
    if len(task.classes) == 1:
        return np.ones((len(values), 1))
    if len(task.classes) == 2:
        return np.stack([1 - values, values], axis=1)
    return values.reshape(len(values), task.outputs)
