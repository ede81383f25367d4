"""Frozen values as plain JSON and back, by the types of their fields alone. Reading is strict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from types import UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from expunge.core.errors import InputError

T = TypeVar("T")
_SPELT: Final = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}


def encode(value: Any) -> Any:  # noqa: ANN401 - a value of any of our types, and its JSON
    """As plain JSON: every field under its own name, also those that are None."""
    if is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: encode(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [encode(part) for part in value]
    return value


def decode(kind: type[T], value: Any, where: str) -> T:  # noqa: ANN401 - any JSON
    """Read what :func:`encode` wrote of a ``kind``.

    Args:
        kind: A frozen dataclass.
        value: JSON.
        where: What it is, for messages.

    Raises:
        InputError: A field is missing, unknown or of another type; says which.
    """
    found: T = _decode(kind, value, where)
    return found


def _decode(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    origin = get_origin(kind)
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin is Literal:
        return _one_of(get_args(kind), value, where)
    if origin in (Union, UnionType):  # only ever "or None"
        return None if value is None else _decode(get_args(kind)[0], value, where)
    if origin is tuple:
        return _tuple(get_args(kind), value, where)
    if origin is not None:
        return _mapping(get_args(kind)[1], value, where)
    return _json(value, where) if kind is Any else _scalar(kind, value, where)


def _dataclass(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    hints = _hints(kind)
    if not isinstance(value, dict):
        raise _other(where, "an object")
    if strangers := value.keys() - hints.keys():
        raise InputError(
            f"{where} has a field {min(strangers)!r} that this version does not know. Expected "
            f"those of a report that it wrote itself."
        )
    if missing := hints.keys() - value.keys():
        raise InputError(f"{where} lacks the field {min(missing)!r}. Expected all of its fields.")
    return kind(**{n: _decode(hint, value[n], f"{where}.{n}") for n, hint in hints.items()})


def _one_of(allowed: tuple[Any, ...], value: Any, where: str) -> Any:  # noqa: ANN401
    if not isinstance(value, str) or value not in allowed:
        raise _other(where, f"one of {', '.join(allowed)}")
    return value


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:  # noqa: ANN401
    if not isinstance(value, list):
        raise _other(where, "a list")
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise _other(where, f"a list of {len(kinds)}")
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_decode(kind, one, f"{where}[{index}]") for index, (kind, one) in pairs)


def _mapping(kind: Any, value: Any, where: str) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(value, dict):
        raise _other(where, "an object")
    return {name: _decode(kind, one, f"{where}.{name}") for name, one in value.items()}


def _json(value: Any, where: str) -> Any:  # noqa: ANN401
    """Any JSON, but no NaN and no infinity."""
    if isinstance(value, dict):
        return _mapping(Any, value, where)
    if isinstance(value, list):
        return [_json(one, f"{where}[{index}]") for index, one in enumerate(value)]
    if isinstance(value, float):
        return _scalar(float, value, where)
    return value


def _scalar(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    # A bool is an int for Python, and JSON may spell a whole float as an integer.
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or isinstance(value, bool) != (kind is bool):
        raise _other(where, _SPELT[kind])
    if kind is not float:
        return value
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _other(where, "a finite number")
    return number


def _other(where: str, expected: str) -> InputError:
    return InputError(f"{where} is not {expected}.")


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
