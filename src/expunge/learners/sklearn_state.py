"""Canonical JSON and arrays for scikit-learn estimators, fitted or not. Never a pickle.

Values are walked by type, and a type that is not listed here is refused by its path. Bytes
that carry no meaning never get in: padding of structures, addresses, the order of
dictionaries, generators that only serve fitting.

References:
    scikit-learn 1.9, ``sklearn/tree/_tree.pyx`` (``Tree.__reduce__``) and
    ``sklearn/base.py`` (``BaseEstimator.__getstate__``): what a fitted estimator is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch

from expunge.core.digest import Json
from expunge.core.errors import DataCorrupt, StateNotCanonical
from expunge.learners.sklearn_arrays import NUMBERS, Arrays, number
from expunge.learners.sklearn_classes import OBJECTS, REDUCIBLE, find, is_value, name_of

Members: TypeAlias = Callable[[BaseEstimator, str], Mapping[str, Any]]
"""Estimator and its path → what to write of it."""

Revive: TypeAlias = Callable[[type, dict[str, Any]], BaseEstimator]
"""A class and what was written → the estimator."""

# Deeper than any estimator; only a loop of references gets there.
_DEEPEST: Final = 60


class Writer:
    """Writes values as JSON: plain where JSON has them, else ``{form: content}``."""

    def __init__(self, arrays: Arrays, members: Members) -> None:
        self._arrays, self._members, self._depth = arrays, members, 0

    def write(self, value: Any, path: str = "") -> Json:  # noqa: ANN401 - any value
        """Write ``value``, which stands at ``path``.

        Raises:
            StateNotCanonical: It, or something in it, is of no known type.
        """
        if self._depth > _DEEPEST:
            raise StateNotCanonical(path, "loop of references")
        self._depth += 1
        try:
            return self._form(type(value))(value, path)
        finally:
            self._depth -= 1

    def _form(self, kind: type) -> Callable[[Any, str], Json]:
        # Exact types first: a NumPy float is a Python float, a named tuple is a tuple.
        if kind in self._EXACT:
            return partial(self._EXACT[kind], self)
        for base, form in self._FAMILIES:
            if issubclass(kind, base):
                return partial(form, self)
        return _refuse

    def _plain(self, value: Json, path: str) -> Json:
        return value

    def _float(self, value: float, path: str) -> Json:
        return number(value)

    def _list(self, value: Sequence[Any], path: str) -> Json:
        return [self.write(item, f"{path}[{i}]") for i, item in enumerate(value)]

    def _tuple(self, value: Sequence[Any], path: str) -> Json:
        return {"tuple": [self.write(item, path) for item in value]}

    def _set(self, value: set[Any], path: str) -> Json:
        return {"set": sorted((self.write(item, path) for item in value), key=repr)}

    def _slice(self, value: slice, path: str) -> Json:
        return {"slice": [self.write(v, path) for v in (value.start, value.stop, value.step)]}

    def _pairs(self, value: Mapping[Any, Any], path: str) -> list[Json]:
        # The path leaves keys out: they may be words of a sample's text.
        keys = sorted(
            ((self.write(k, path), v) for k, v in value.items()), key=lambda p: repr(p[0])
        )
        # Arrays are numbered as they are written: by the order of the keys, not of arrival.
        return [[key, self.write(v, f"{path}[…]")] for key, v in keys]

    def _dict(self, value: Mapping[Any, Any], path: str) -> Json:
        return {"dict": self._pairs(value, path)}

    def _bunch(self, value: Mapping[Any, Any], path: str) -> Json:
        return {"bunch": self._pairs(value, path)}

    def _array(self, value: NDArray[Any], path: str) -> Json:
        if value.dtype.names is not None:
            return {"record": self._record(value, path)}
        if value.dtype.name in NUMBERS and value.dtype.isnative:
            return {"array": self._arrays.put(value)}
        if value.dtype.kind in "OU":
            cells = value.ravel().tolist() if value.dtype.kind == "U" else list(value.flat)
            items = [self.write(cell, path) for cell in cells]
            return {"objects": [value.dtype.str, list(value.shape), items]}
        raise StateNotCanonical(path, f"array of {value.dtype}")

    def _record(self, value: NDArray[Any], path: str) -> Json:
        # Field by field: the bytes between fields are whatever the memory held before.
        fields: Mapping[str, Any] = value.dtype.fields or {}
        layout: list[Json] = [[name, kind.str, at] for name, (kind, at, *_) in fields.items()]
        columns = [self._array(np.ascontiguousarray(value[name]), path) for name in fields]
        return [layout, value.dtype.itemsize, list(value.shape), columns]

    def _scalar(self, value: np.generic, path: str) -> Json:
        return {"scalar": self._array(np.asarray(value), path)}

    def _dtype(self, value: np.dtype[Any], path: str) -> Json:
        return {"dtype": value.str} if value.names is None else _refuse(value, path)

    def _named(self, value: object, path: str) -> Json:
        return {"named": name_of(value, path)} if is_value(value) else _refuse(value, path)

    def _partial(self, value: partial[Any], path: str) -> Json:
        parts = [value.func, value.args, value.keywords]
        return {"partial": [self.write(part, path) for part in parts]}

    def _sparse(self, value: Any, path: str) -> Json:  # noqa: ANN401 - scipy is not typed
        if value.format not in ("csr", "csc"):
            return _refuse(value, path)
        tidy = value.copy()
        tidy.sum_duplicates()
        parts = [self._array(part, path) for part in (tidy.data, tidy.indices, tidy.indptr)]
        return {"sparse": [type(value).__name__, list(value.shape), parts]}

    def _estimator(self, value: BaseEstimator, path: str) -> Json:
        path = _join(path, type(value).__name__)
        members = self._members(value, path)
        return {"estimator": [name_of(type(value), path), self._attributes(members, path)]}

    def _object(self, value: Any, path: str) -> Json:  # noqa: ANN401 - of OBJECTS
        path = _join(path, type(value).__name__)
        return {"object": [name_of(type(value), path), self._attributes(vars(value), path)]}

    def _call(self, value: Any, path: str) -> Json:  # noqa: ANN401 - of REDUCIBLE
        maker, arguments, *state = value.__reduce__()
        if maker is not type(value):  # Cython's own way, which the loss of many classes keeps
            arguments, state = (), []
        written = self.write(state[0] if state else None, path)
        return {"call": [name_of(type(value), path), self.write(tuple(arguments), path), written]}

    def _attributes(self, members: Mapping[str, Any], path: str) -> dict[str, Json]:
        return {name: self.write(members[name], f"{path}.{name}") for name in sorted(members)}

    _EXACT: Final[Mapping[type, Callable[..., Json]]] = {
        type(None): _plain,
        bool: _plain,
        int: _plain,
        str: _plain,
        float: _float,
        list: _list,
        tuple: _tuple,
        set: _set,
        slice: _slice,
        dict: _dict,
        Bunch: _bunch,
        np.ndarray: _array,
        partial: _partial,
    }
    _FAMILIES: Final[Sequence[tuple[Any, Callable[..., Json]]]] = (
        (np.generic, _scalar),
        (np.dtype, _dtype),
        ((type, FunctionType), _named),
        ((sparse.sparray, sparse.spmatrix), _sparse),
        (BaseEstimator, _estimator),
        (OBJECTS, _object),
        (REDUCIBLE, _call),
    )


class Reader:
    """Reads what :class:`Writer` wrote."""

    def __init__(self, arrays: Arrays, revive: Revive, *, may_import: bool) -> None:
        self._arrays, self._revive = arrays, revive
        self._find = partial(find, may_import=may_import)

    def read(self, value: Any) -> Any:  # noqa: ANN401 - any JSON, any value
        """Read one value.

        Raises:
            DataCorrupt: It names a class that no estimator is made of.
        """
        if isinstance(value, list):
            return [self.read(item) for item in value]
        if not isinstance(value, dict):
            return value
        ((form, content),) = value.items()
        return self._FORMS[form](self, content)

    def _array(self, place: Sequence[Any]) -> NDArray[Any]:
        return self._arrays.get(place)

    def _record(self, content: Sequence[Any]) -> NDArray[Any]:
        layout, size, shape, columns = content
        names, formats, offsets = zip(*layout, strict=True)
        dtype = {"names": names, "formats": formats, "offsets": offsets, "itemsize": size}
        records = np.zeros(shape, np.dtype(dtype))  # type: ignore[call-overload]
        for name, column in zip(names, columns, strict=True):
            records[name] = self.read(column)
        return records

    def _objects(self, content: Sequence[Any]) -> NDArray[Any]:
        dtype, shape, items = content
        flat = np.empty(len(items), dtype)
        for i, item in enumerate(items):
            flat[i] = self.read(item)
        return flat.reshape(shape)

    def _sparse(self, content: Sequence[Any]) -> Any:  # noqa: ANN401 - scipy is not typed
        kind, shape, parts = content
        if kind not in ("csr_matrix", "csc_matrix", "csr_array", "csc_array"):
            raise DataCorrupt("A sparse matrix in a model's state")
        return getattr(sparse, kind)(tuple(map(self.read, parts)), shape=tuple(shape))

    def _partial(self, content: Sequence[Any]) -> object:
        function, arguments, keywords = map(self.read, content)
        return partial(function, *arguments, **keywords)

    def _estimator(self, content: Sequence[Any]) -> BaseEstimator:
        kind = self._find(content[0], BaseEstimator)
        return self._revive(kind, {name: self.read(item) for name, item in content[1].items()})

    def _object(self, content: Sequence[Any]) -> object:
        kind = self._find(content[0], OBJECTS)
        restored: object = kind.__new__(kind)
        vars(restored).update({name: self.read(item) for name, item in content[1].items()})
        return restored

    def _call(self, content: Sequence[Any]) -> object:
        name, arguments, state = content
        restored = self._find(name, REDUCIBLE)(*self.read(arguments))
        if state is not None:
            restored.__setstate__(self.read(state))
        return restored

    _FORMS: Final[Mapping[str, Callable[..., Any]]] = {
        "float": lambda _, text: float(text),
        "tuple": lambda self, items: tuple(map(self.read, items)),
        "set": lambda self, items: set(map(self.read, items)),
        "slice": lambda self, ends: slice(*map(self.read, ends)),
        "dict": lambda self, pairs: {self.read(k): self.read(v) for k, v in pairs},
        "bunch": lambda self, pairs: Bunch(**{self.read(k): self.read(v) for k, v in pairs}),
        "array": _array,
        "record": _record,
        "objects": _objects,
        "scalar": lambda self, array: self.read(array)[()],
        "dtype": lambda _, text: np.dtype(text),
        "named": lambda self, name: self._find(name),
        "partial": _partial,
        "sparse": _sparse,
        "estimator": _estimator,
        "object": _object,
        "call": _call,
    }


def _refuse(value: object, path: str) -> Json:
    raise StateNotCanonical(path, type(value).__name__)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
