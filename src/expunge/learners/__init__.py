"""One adapter per framework, each a canonical function of its ordered samples.

A learner of your own needs no registration: a frozen dataclass that keeps
:class:`expunge.learners.protocol.Learner` is named ``package.module:Class`` in recipes, and
workers import it by that name. :func:`expunge.testing.check_exact` says whether it is canonical.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final

from expunge.core.catalogue import Catalogue
from expunge.core.digest import Json
from expunge.core.errors import FormatUnsupported, RecipeInvalid, UnknownName
from expunge.learners import features
from expunge.learners.protocol import Forgetting, Learner

__all__ = ["LEARNERS", "declared", "foreign_code", "from_json", "libraries", "subtracts", "to_json"]

_PATH: Final = re.compile(r'"([A-Za-z_][\w.]*):[A-Za-z_]\w*\\*"')
_LIBRARIES: Final = frozenset({"expunge", "sklearn", "torch", "numpy", "scipy"})

LEARNERS: Final[Catalogue[type[Learner]]] = Catalogue(
    "learner",
    "expunge.learners",
    {
        "bernoulli-bayes": "expunge.learners.sums.bernoulli:BernoulliBayes",
        "certified": "expunge.learners.convex.certified:Certified",
        "convex": "expunge.learners.convex.learner:Convex",
        "gaussian-bayes": "expunge.learners.sums.gaussian:GaussianBayes",
        "influence": "expunge.methods.empirical.influence.learner:Influence",
        "lda": "expunge.learners.sums.lda:LDA",
        "lightgbm": "expunge.learners.lightgbm:LightGBM",
        "multinomial-bayes": "expunge.learners.sums.multinomial:MultinomialBayes",
        "ridge": "expunge.learners.sums.ridge:Ridge",
        "sklearn": "expunge.learners.sklearn:Sklearn",
        "torch": "expunge.learners.torch:Torch",
        "xgboost": "expunge.learners.xgboost:XGBoost",
    },
)


_SUBTRACTING: Final = frozenset(
    {"bernoulli-bayes", "gaussian-bayes", "lda", "multinomial-bayes", "ridge"}
)
_REBUILT: Final = _SUBTRACTING | {"convex", "lightgbm", "sklearn", "torch", "xgboost"}


def subtracts(learner: Mapping[str, Any]) -> bool:
    """Whether a recipe's learner takes samples out without seeing those that stay.

    Says so of ours alone: nothing is imported for it.

    Args:
        learner: As :func:`to_json` gives it.
    """
    return learner["name"] in _SUBTRACTING


def declared(learner: Mapping[str, Any]) -> Forgetting | None:
    """A recipe's learner, if models of it forget by a method of its own; None where they rebuild.

    Imports the learner's framework, but for those of ours that rebuild.

    Args:
        learner: As :func:`to_json` gives it.
    """
    if learner["name"] in _REBUILT:
        return None
    found = from_json(learner)
    return found if isinstance(found, Forgetting) else None


def to_json(learner: Learner) -> dict[str, Json]:
    """As plain JSON, for recipes and workers: name, revision and fields.

    The name is that in the catalogue (ours, and entry points of the group
    ``expunge.learners``), or ``package.module:Class``.

    Raises:
        RecipeInvalid: Its class cannot be imported by name, so workers would not find it.
    """
    return {
        "name": _name(type(learner)),
        "revision": learner.revision,
        "fields": {f.name: _plain(getattr(learner, f.name)) for f in fields(learner)},  # type: ignore[arg-type]  # a frozen dataclass, as the protocol says
    }


def from_json(value: Mapping[str, Any]) -> Learner:
    """Read what :func:`to_json` wrote; imports the learner's framework.

    Raises:
        UnknownName: No installed learner has this name.
        FormatUnsupported: The installed one computes something else by now, or not yet.
    """
    kind = _kind(value["name"])
    if kind.revision != value["revision"]:
        raise FormatUnsupported(
            f"The recipe's learner {value['name']!r}", value["revision"], kind.revision
        )
    return kind(**{name: _frozen(field) for name, field in value["fields"].items()})


def _name(kind: type[Learner]) -> str:
    try:
        return LEARNERS.name_of(kind)
    except UnknownName:
        name = f"{kind.__module__}:{kind.__qualname__}"
    found = None if kind.__module__ == "__main__" else _found(name)
    if found is not kind:
        raise RecipeInvalid(
            f"Learner {kind.__qualname__!r} cannot be imported as {name!r}, so worker processes "
            f"would not find it. Define it at the top level of a module that can be imported."
        )
    return name


def _kind(name: str) -> type[Learner]:
    if ":" not in name:
        return LEARNERS[name]
    kind = _found(name)
    if kind is None:
        raise UnknownName("learner", name, LEARNERS)
    return kind


def _found(name: str) -> type[Learner] | None:
    try:
        found: type[Learner] = resolve_name(name)
    except (ImportError, AttributeError, ValueError):  # a local class's name is no path
        return None
    return found


def libraries(learner: Learner) -> tuple[str, ...]:
    """The distributions whose versions a learner's bytes depend on, sorted: its parts' as well."""
    parts = [getattr(learner, field.name) for field in fields(learner)]  # type: ignore[arg-type]  # a frozen dataclass, as the protocol says
    named = [part.libraries for part in parts if is_dataclass(part) and hasattr(part, "libraries")]
    return tuple(sorted({*learner.libraries, *(name for names in named for name in names)}))


def _plain(value: Any) -> Json:  # noqa: ANN401 - any field
    if hasattr(value, "learn"):
        return to_json(value)  # a learner in a learner
    if is_dataclass(value):
        return features.to_json(value)  # type: ignore[arg-type]  # no other dataclass is in fields
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value  # type: ignore[no-any-return]  # what is not JSON fails where it is encoded


def _frozen(value: Any) -> Any:  # noqa: ANN401 - any JSON
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def foreign_code(learner: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the source files of a recipe's learner that are neither ours nor a library's.

    Own learners, and own modules, optimisers and estimators that a learner names by import
    path (``module:name``): whoever edits them gets another runtime, so that no checkpoint of
    the old code is continued by the new. What these files import in turn is not covered.

    Args:
        learner: As :func:`to_json` gives it.
    """
    paths = _PATH.findall(json.dumps(learner))
    modules = sorted({module for module in paths if module.split(".")[0] not in _LIBRARIES})
    return {module: _source_digest(module) for module in modules}


def _source_digest(module: str) -> str:
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:  # its parent: then the text only looks like a path
        spec = None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return "no source file"
    return sha256(Path(spec.origin).read_bytes()).hexdigest()
