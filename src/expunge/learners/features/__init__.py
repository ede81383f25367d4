"""Feature maps: rows become small integers, the same whenever they are computed again.

They stand in front of learners that are made of sums (``expunge.learners.sums``). A map of your
own is a frozen dataclass that keeps :class:`expunge.learners.features.protocol.FeatureMap`; give
an instance, and it is named ``package.module:Class`` in recipes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Final

from expunge.core.catalogue import Catalogue
from expunge.core.errors import FormatUnsupported, RecipeInvalid, UnknownName

if TYPE_CHECKING:
    from expunge.core.digest import Json
    from expunge.learners.features.protocol import FeatureMap

__all__ = ["FEATURES", "of", "to_json"]

FEATURES: Final[Catalogue[type[FeatureMap]]] = Catalogue(
    "feature map",
    "expunge.features",
    {
        "columns": "expunge.learners.features.columns:Columns",
        "convolutions": "expunge.learners.features.convolutions:Convolutions",
        "fourier": "expunge.learners.features.fourier:Fourier",
        "frozen": "expunge.learners.features.frozen:Frozen",
        "ngrams": "expunge.learners.features.ngrams:NGrams",
    },
)


def to_json(mapped: FeatureMap) -> dict[str, Json]:
    """A map as plain JSON, for recipes: ``map`` (its name), ``revision`` and its fields.

    Raises:
        RecipeInvalid: Its class cannot be imported by name, so workers would not find it.
    """
    values = {f.name: _plain(getattr(mapped, f.name)) for f in fields(mapped)}  # type: ignore[arg-type]  # a frozen dataclass, as the protocol says
    return {"map": _name(type(mapped)), "revision": mapped.revision, **values}


def of(value: FeatureMap | str | Mapping[str, Any]) -> FeatureMap:
    """A map as it is, by its name, or from JSON: ``{"map": "fourier", "width": 512}``.

    Raises:
        RecipeInvalid: The fields do not fit the map.
        UnknownName: There is no such map.
        FormatUnsupported: The installed one computes something else by now, or not yet.
    """
    if isinstance(value, str):
        return _kind(value)()
    if not isinstance(value, Mapping):
        return value
    given = dict(value)
    kind = _kind(str(given.pop("map", "columns")))
    revision = given.pop("revision", kind.revision)
    if revision != kind.revision:
        raise FormatUnsupported("The recipe's feature map", revision, kind.revision)
    try:
        return kind(**{name: _frozen(field) for name, field in given.items()})
    except TypeError as error:
        raise RecipeInvalid(f"The fields do not fit the feature map: {error}.") from None


def _name(kind: type[FeatureMap]) -> str:
    try:
        return FEATURES.name_of(kind)
    except UnknownName:
        name = f"{kind.__module__}:{kind.__qualname__}"
    if _found(name) is not kind:
        raise RecipeInvalid(
            f"Feature map {kind.__qualname__!r} cannot be imported as {name!r}, so worker "
            f"processes would not find it. Define it at the top level of a module."
        )
    return name


def _kind(name: str) -> type[FeatureMap]:
    kind = _found(name) if ":" in name else FEATURES[name]
    if kind is None:
        raise UnknownName("feature map", name, FEATURES)
    return kind


def _found(name: str) -> type[FeatureMap] | None:
    try:
        found: type[FeatureMap] = resolve_name(name)
    except (ImportError, AttributeError, ValueError):  # a local class's name is no path
        return None
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    return list(value) if isinstance(value, tuple) else value


def _frozen(value: Any) -> Any:  # noqa: ANN401 - any JSON
    return tuple(value) if isinstance(value, list) else value
