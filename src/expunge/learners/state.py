"""Canonical bytes for a learner's state: sorted JSON and named arrays, in safetensors.

The library orders tensors by itself, but several metadata keys at random: there is one. We write
and read the format here, with the same bytes as the library's, because the library
copies every array twice.

References:
    https://github.com/huggingface/safetensors, README, "Format".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import accumulate
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from expunge.core.digest import Json, canonical_json
from expunge.core.errors import StateNotCanonical

_KEY: Final = "expunge"
# In the library's order, so that every array stands at a multiple of its item's size.
_DTYPES: Final = {
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "float32": "F32",
    "uint32": "U32",
    "int32": "I32",
    "float16": "F16",
    "uint16": "U16",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
_RANKS: Final = {name: rank for rank, name in enumerate(_DTYPES)}
_NAMES: Final = {code: name for name, code in _DTYPES.items()}


def dump(meta: Json, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Join ``meta`` and ``arrays`` into canonical bytes. Costs one copy of the arrays.

    Raises:
        StateNotCanonical: An array is of a type that is no number.
    """
    for name, array in arrays.items():
        if array.dtype.name not in _RANKS:
            raise StateNotCanonical(name, f"array of {array.dtype}")
    order = sorted(arrays, key=lambda name: (_RANKS[arrays[name].dtype.name], name))
    whole = [_little(arrays[name]) for name in order]
    ends = list(accumulate((array.nbytes for array in whole), initial=0))
    header: dict[str, Any] = {"__metadata__": {_KEY: canonical_json(meta).decode()}}
    for name, array, begin, end in zip(order, whole, ends[:-1], ends[1:], strict=True):
        code, shape = _DTYPES[array.dtype.name], list(array.shape)
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *(array.data for array in whole)])


def parse(state: bytes) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Split what :func:`dump` joined into JSON and arrays, which may be written to."""
    start = 8 + int.from_bytes(state[:8], "little")
    header = json.loads(state[8:start])
    meta = json.loads(header.pop("__metadata__")[_KEY])
    memory = bytearray(memoryview(state)[start:])
    return meta, {name: _array(memory, **entry) for name, entry in header.items()}


def _little(array: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _array(
    memory: bytearray, dtype: str, shape: list[int], data_offsets: list[int]
) -> NDArray[Any]:
    kind = np.dtype(_NAMES[dtype]).newbyteorder("<")
    if not prod(shape):
        return np.empty(shape, kind)
    return np.frombuffer(memory, kind, prod(shape), data_offsets[0]).reshape(shape)
