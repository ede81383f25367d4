"""Where the arrays of an estimator go: into the JSON, or joined into a few long ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from expunge.core.digest import Json

NUMBERS: Final = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)
"""Names of the NumPy types that have canonical bytes."""


class Arrays(Protocol):
    """Where arrays of numbers go."""

    def put(self, array: NDArray[Any]) -> Json:
        """Take an array of numbers and say how to find it again."""
        ...

    def get(self, place: Sequence[Any]) -> NDArray[Any]:
        """A fresh copy in the memory order that it had."""
        ...


class Inline:
    """Numbers within the JSON, for the small arrays among an estimator's parameters."""

    def put(self, array: NDArray[Any]) -> Json:  # noqa: D102 - Arrays
        order = _order(array)
        numbers = [number(item) for item in array.ravel(order).tolist()]
        return [array.dtype.name, list(array.shape), order, numbers]

    def get(self, place: Sequence[Any]) -> NDArray[Any]:  # noqa: D102 - Arrays
        dtype, shape, order, numbers = place
        flat = np.array([_unnumber(item) for item in numbers], dtype)
        return flat.reshape(shape, order=order)


class Pool:
    """One long array per type of number: a forest's thousands of arrays need few names."""

    def __init__(self, joined: Mapping[str, NDArray[Any]] | None = None) -> None:
        self._parts: dict[str, list[NDArray[Any]]] = {}
        self._sizes: dict[str, int] = {}
        self._joined = joined or {}

    def put(self, array: NDArray[Any]) -> Json:  # noqa: D102 - Arrays
        name, order = array.dtype.name, _order(array)
        start = self._sizes.get(name, 0)
        self._sizes[name] = start + array.size
        self._parts.setdefault(name, []).append(array.ravel(order))
        return [name, list(array.shape), order, start]

    def get(self, place: Sequence[Any]) -> NDArray[Any]:  # noqa: D102 - Arrays
        name, shape, order, start = place
        flat = self._joined[name][start : start + math.prod(shape)].copy()
        return flat.reshape(shape, order=order)

    def joined(self) -> dict[str, NDArray[Any]]:
        """All that was put, as named arrays."""
        return {name: np.concatenate(parts) for name, parts in self._parts.items()}


def _order(array: NDArray[Any]) -> Any:  # noqa: ANN401 - a literal
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"


def number(value: Any) -> Json:  # noqa: ANN401 - bool, int or float
    """A number as JSON, which has no NaN and no infinity."""
    finite = not isinstance(value, float) or math.isfinite(value)
    return value if finite else {"float": str(value)}


def _unnumber(value: Any) -> Any:  # noqa: ANN401 - a number as JSON
    return float(value["float"]) if isinstance(value, dict) else value
