"""Frozen values as JSON and back, by the types of their fields alone; nothing else is read.

Field names become lowerCamelCase, as in-toto asks of predicates; a field that is None is left
out. Reading is strict: unknown fields, missing ones and other types are refused, so that a
statement cannot say anything that nobody looks at.

References:
    in-toto attestation framework, docs/new_predicate_guidelines.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from expunge.core.errors import CertificateInvalid

T = TypeVar("T")


def encode(value: Any) -> Any:  # noqa: ANN401 - a value of any of our types, and its JSON
    """As plain JSON."""
    if is_dataclass(value):
        pairs = ((_camel(f.name), encode(getattr(value, f.name))) for f in fields(value))
        return {name: part for name, part in pairs if part is not None}
    if isinstance(value, Enum):
        return value.value
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
        CertificateInvalid: A field is missing, unknown or of another type; says which.
    """
    found: T = _decode(kind, value, where)
    return found


def _decode(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    origin = get_origin(kind)
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin in (Union, UnionType):  # only ever "or None"
        return None if value is None else _decode(get_args(kind)[0], value, where)
    if origin is tuple:
        return _tuple(get_args(kind), value, where)
    if origin is not None:
        return _mapping(get_args(kind)[1], value, where)
    return _plain(kind, value, where)


def _dataclass(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    if not isinstance(value, dict):
        raise _other(where, "an object")
    hints = _hints(kind)
    if strangers := value.keys() - hints.keys():
        raise CertificateInvalid(f"{where} has a field {min(strangers)!r} that is not known.")
    parts = {}
    for name, (field, hint) in hints.items():
        optional = type(None) in get_args(hint)
        if (name in value) != (value.get(name) is not None) or (name not in value and not optional):
            raise CertificateInvalid(f"{where} lacks the field {name!r}.")
        parts[field] = _decode(hint, value.get(name), f"{where}.{name}")
    return kind(**parts)


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


def _plain(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    if issubclass(kind, Enum):
        if value not in {member.value for member in kind}:
            raise _other(where, f"one of {', '.join(member.value for member in kind)}")
        return kind(value)
    # A bool is an int for Python, and an integer may stand for a float in JSON.
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or isinstance(value, bool) != (kind is bool):
        raise _other(where, {str: "a string", bool: "true or false"}.get(kind, "a number"))
    return value


def _other(where: str, expected: str) -> CertificateInvalid:
    return CertificateInvalid(f"{where} is not {expected}.")


@lru_cache
def _hints(kind: type) -> dict[str, tuple[str, Any]]:
    """JSON name → field name and type."""
    return {_camel(name): (name, hint) for name, hint in get_type_hints(kind).items()}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)
