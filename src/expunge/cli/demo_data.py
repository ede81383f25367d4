"""Real rows for the demonstration; they ship with scikit-learn, so it runs offline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from expunge.cli.endings import Unavailable
from expunge.learners.protocol import Learner

HELD_OUT_EVERY: Final = 5


@dataclass(frozen=True, slots=True)
class Story:
    """What is told.

    Attributes:
        people: What the people are called.
        about: One sentence: what the rows are, and what is real about them.
        target: Column that is learnt.
        learnt: Columns of the rows to train on.
        held_out: Columns of the rows to measure on, never trained on.
        learner: What each shard trains.
        network: Whether that is a neural network.
    """

    people: str
    about: str
    target: str
    learnt: Mapping[str, NDArray[Any]]
    held_out: Mapping[str, NDArray[Any]]
    learner: Learner
    network: bool


def patients() -> Story:
    """569 patients, a row each: the Wisconsin diagnostic breast cancer data."""
    found = _datasets().load_breast_cancer()
    cells = {str(n): found.data[:, i] for i, n in enumerate(found.feature_names)}
    tumour = np.asarray(found.target_names)[found.target]
    about = "569 patients, 30 measurements of a tumour each: is it malignant?"
    return _story("patients", "patient", about, cells | {"tumour": tumour}, epochs=400)


def digits() -> Story:
    """1,797 handwritten digits, 8 × 8 grey values each, of made-up writers, five each."""
    found = _datasets().load_digits()
    cells = {"image": found.images, "digit": np.array([str(one) for one in found.target])}
    about = "1,797 handwritten digits, 8 × 8 grey values each: which is it?"
    return _story("writers", "writer", about, cells, epochs=60, rows_each=5)


STORIES: Final = {"patients": patients, "digits": digits}


def _story(
    people: str,
    person: str,
    about: str,
    cells: Mapping[str, NDArray[Any]],
    *,
    epochs: float,
    rows_each: int = 1,
) -> Story:
    """Rows with made-up ids. Every fifth person is held out, with all their rows."""
    target = list(cells)[-1]
    rows = np.arange(len(cells[target]))
    who = rows // rows_each
    columns = {
        "row": np.array(
            [f"{person}-{one:04d}/{row % rows_each}" for one, row in zip(who, rows, strict=True)]
        ),
        "person": np.array([f"{person}-{one:04d}" for one in who]),
        **cells,
    }
    held = who % HELD_OUT_EVERY == 0
    learner, network = _learner(epochs)
    return Story(
        people,
        about,
        target,
        {name: column[~held] for name, column in columns.items()},
        {name: column[held] for name, column in columns.items()},
        learner,
        network,
    )


def _learner(epochs: float) -> tuple[Learner, bool]:
    try:
        from expunge.learners.torch import Torch
    except ModuleNotFoundError:
        from sklearn.ensemble import ExtraTreesClassifier

        from expunge.learners.sklearn import Sklearn

        return Sklearn(ExtraTreesClassifier(200)), False
    return Torch(module="mlp", module_options={"hidden": [64]}, epochs=epochs, batch=16), True


def _datasets() -> Any:  # noqa: ANN401 - a module without types
    try:
        from sklearn import datasets
    except ModuleNotFoundError:
        raise Unavailable(
            "The demonstration needs scikit-learn, whose real rows it uses. "
            "Try: pip install 'expunge[sklearn,torch]'."
        ) from None
    return datasets
