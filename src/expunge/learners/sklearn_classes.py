"""Which classes a scikit-learn estimator may be made of, and their import paths."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final

import numpy as np
from sklearn._loss._loss import CyHalfMultinomialLoss, CyLossFunction
from sklearn._loss.link import BaseLink, Interval
from sklearn._loss.loss import BaseLoss
from sklearn.base import BaseEstimator
from sklearn.calibration import _CalibratedClassifier
from sklearn.compose import make_column_selector
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.feature_selection import (
    chi2,
    f_classif,
    f_regression,
    mutual_info_classif,
    mutual_info_regression,
    r_regression,
)
from sklearn.tree._tree import Tree
from sklearn.utils import check_array

from expunge.core.errors import DataCorrupt, StateNotCanonical

OBJECTS: Final = (
    BaseLink,
    BaseLoss,
    Interval,
    TreePredictor,
    _CalibratedClassifier,
    make_column_selector,
)
"""Ordinary objects: all that they are is in their attributes."""

REDUCIBLE: Final = (CyHalfMultinomialLoss, CyLossFunction, Tree)
"""Compiled objects: made by their class from arguments, then given a state."""

_FUNCTIONS: Final = (
    check_array,  # histogram boosting's, on tables
    chi2,
    f_classif,
    f_regression,
    mutual_info_classif,
    mutual_info_regression,
    r_regression,
)
_VALUES: Final = (BaseEstimator, np.generic)
_BUILTIN: Final = (bool, int, float, str, object)
_ALWAYS: Final = ("builtins", "numpy", "sklearn")


def name_of(thing: Any, path: str) -> str:  # noqa: ANN401 - a class or function
    """Its shortest import path: that outlives moves between a library's private modules.

    Raises:
        StateNotCanonical: It cannot be imported by a name.
    """
    name: str = thing.__name__
    parts = thing.__module__.split(".")
    for end in range(1, len(parts) + 1):
        module = ".".join(parts[:end])
        if module != "__main__" and getattr(sys.modules[module], name, None) is thing:
            return f"{module}:{name}"
    raise StateNotCanonical(path, f"{name} that cannot be imported by its name")


def is_value(thing: object) -> bool:
    """Whether a class or function may stand as a value: few may, all known to be pure."""
    if isinstance(thing, type):
        return issubclass(thing, _VALUES) or thing in _BUILTIN
    return any(thing is function for function in _FUNCTIONS)


def find(name: str, bases: Any = (), *, may_import: bool) -> Any:  # noqa: ANN401 - a class or function
    """Find what :func:`name_of` named.

    Args:
        name: Import path.
        bases: It must be a class derived from one of these; if none, as :func:`is_value` says.
        may_import: Whether modules that are neither scikit-learn's nor imported may be.

    Raises:
        DataCorrupt: It is something else, or not there.
    """
    module, _, attribute = name.partition(":")
    known = may_import or module in sys.modules or module.split(".")[0] in _ALWAYS
    thing = getattr(import_module(module), attribute, None) if known else None
    derived = isinstance(thing, type) and issubclass(thing, bases)
    if not (derived if bases else is_value(thing)):
        raise DataCorrupt("A class that an estimator names")
    return thing
