"""Learners and filters as people write them in a shell."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from expunge.cli.endings import Unavailable
from expunge.core.errors import InputError, RecipeInvalid, UnknownName

if TYPE_CHECKING:
    from expunge.learners.protocol import Learner

_CONDITION: Final = re.compile(
    r"\s*(?P<column>.+?)\s*(?P<op>==|!=|<=|>=|<|>|\bin\b)\s*(?P<value>.+)"
)
_EXTRAS: Final = {
    "lightgbm": "lightgbm",
    "pandas": "sklearn",
    "scipy": "linear",
    "sklearn": "sklearn",
    "torch": "torch",
    "xgboost": "xgboost",
}
_PRESENT: Final = re.compile(r"\s*(?P<column>.+?)\s+present\s*")


def made(name: str, settings: Mapping[str, Any]) -> Learner:
    """The learner ``name`` of the catalogue, or a scikit-learn estimator by its import path.

    Raises:
        RecipeInvalid: It does not take these settings.
        UnknownName: There is no such learner.
        Unavailable: Its framework is not installed.
    """
    from expunge.learners import LEARNERS

    if name == "sklearn":
        raise RecipeInvalid(
            "Give the estimator by its import path, such as "
            "`--learner sklearn.linear_model.LogisticRegression --set C=0.5`."
        )
    try:
        if name in list(LEARNERS):
            learner: Learner = _with(LEARNERS[name], name, settings)
            return learner
        if "." not in name:
            raise UnknownName("learner", name, LEARNERS)
        estimator = _with(_imported(name), name, settings)
        from expunge.learners.sklearn import Sklearn

        return Sklearn(estimator)
    except ModuleNotFoundError as missing:
        raise _not_installed(name, missing) from None


def settings(pairs: Iterable[str]) -> dict[str, Any]:
    """``key=value`` pairs; a value is JSON, or else a string. ``a.b=1`` sets ``{"a": {"b": 1}}``.

    >>> settings(["rounds=40", "tree_method=approx", "options.gamma=0.5"])
    {'rounds': 40, 'tree_method': 'approx', 'options': {'gamma': 0.5}}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"--set {pair!r} is no key=value. Example: --set rounds=40.")
        *path, last = key.split(".")
        inner = found
        for step in path:
            inner = inner.setdefault(step, {})
            if not isinstance(inner, dict):
                raise InputError(f"--set {key!r}: {step!r} was given a value of its own before.")
        inner[last] = plain(value)
    return found


def plain(value: str) -> Any:  # noqa: ANN401 - any JSON
    """A value as JSON, or the string that it is."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def condition(text: str) -> tuple[Any, ...]:
    """A filter: ``column op value``.

    >>> condition("age >= 18"), condition('job in ["a", "b"]'), condition("income present")
    (('age', '>=', 18), ('job', 'in', ['a', 'b']), ('income', 'present'))
    """
    if match := _PRESENT.fullmatch(text):
        return match["column"], "present"
    if match := _CONDITION.fullmatch(text):
        return match["column"], match["op"], plain(match["value"])
    raise InputError(
        "--where is no condition. Expected `column op value`, with op one of == != < <= > >= in, "
        "or `column present`. Example: --where 'age >= 18'."
    )


def _not_installed(name: str, missing: ModuleNotFoundError) -> Exception:
    top = (missing.name or name).partition(".")[0]
    if top not in _EXTRAS:
        return RecipeInvalid(f"Learner {name!r} cannot be imported: there is no module {top!r}.")
    return Unavailable(
        f"Learner {name!r} needs {top!r}, which is not installed. "
        f"Try: pip install 'expunge[{_EXTRAS[top]}]'."
    )


def _with(kind: Any, name: str, given: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any class
    known = _parameters(kind)
    if unknown := sorted(set(given) - known):
        raise RecipeInvalid(
            f"Learner {name!r} has no setting {unknown[0]!r}. It has: {', '.join(sorted(known))}."
        )
    try:
        return kind(**given)
    except TypeError as error:
        raise RecipeInvalid(f"The settings do not fit learner {name!r}: {error}.") from None


def _parameters(kind: Any) -> set[str]:  # noqa: ANN401 - any class
    if dataclasses.is_dataclass(kind):
        return {field.name for field in dataclasses.fields(kind)}
    return set(inspect.signature(kind).parameters)


def _imported(path: str) -> Any:  # noqa: ANN401 - a class
    module, _, name = path.rpartition(".")
    found = getattr(import_module(module), name, None)
    if not inspect.isclass(found):
        raise RecipeInvalid(f"There is no class {name!r} in {module!r}.")
    return found
