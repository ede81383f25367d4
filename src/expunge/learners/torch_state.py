"""PyTorch values as JSON and named arrays, and back, bit for bit."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.core.digest import Json
from expunge.core.errors import StateNotCanonical

_TENSOR = "$tensor"
_FLOAT = "$float"
_NATIVE: Final = frozenset(
    {torch.float64, torch.float32, torch.float16, torch.bool, torch.uint8}
    | {torch.int64, torch.int32, torch.int16, torch.int8}
)


def freeze(value: object, path: str, arrays: dict[str, NDArray[Any]]) -> Json:
    """Turn dicts, lists, numbers and tensors into JSON; arrays go into ``arrays``.

    Tuples become lists. The arrays share the tensors' memory where they can.

    Args:
        value: To freeze.
        path: Where it stands, for the names of arrays and of errors.
        arrays: Taken in by path.

    Raises:
        StateNotCanonical: ``value`` holds anything else.
    """
    if isinstance(value, Tensor):
        return _freeze_tensor(value, path, arrays)
    if isinstance(value, Mapping):
        return {
            _key(key, path): freeze(item, f"{path}.{key}", arrays) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [freeze(item, f"{path}.{place}", arrays) for place, item in enumerate(value)]
    if type(value) is float and not math.isfinite(value):
        return {_FLOAT: repr(value)}
    if value is None or type(value) in (bool, int, float, str):
        return value  # type: ignore[return-value]
    raise StateNotCanonical(path, type(value).__name__)


def thaw(value: Json, arrays: Mapping[str, NDArray[Any]]) -> Any:  # noqa: ANN401 - what was frozen
    """Read what :func:`freeze` wrote. Tensors have memory of their own."""
    if isinstance(value, Mapping):
        if _TENSOR in value:
            return _thaw_tensor(value, arrays)
        if _FLOAT in value:
            return float(str(value[_FLOAT]))
        return {key: thaw(item, arrays) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [thaw(item, arrays) for item in value]
    return value


def from_numpy(array: NDArray[Any]) -> Tensor:
    """A tensor over the memory of ``array``, which may be read-only: do not write to it."""
    if array.flags.writeable:
        return torch.from_numpy(array)
    with warnings.catch_warnings():
        # PyTorch has no read-only tensors and warns; memory maps are read-only, and only read.
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


def _key(key: object, path: str) -> str:
    if not isinstance(key, str) or key.startswith("$"):
        raise StateNotCanonical(path, f"dict with a key of type {type(key).__name__}")
    return key


def _freeze_tensor(tensor: Tensor, path: str, arrays: dict[str, NDArray[Any]]) -> Json:
    if type(tensor) is not Tensor or tensor.layout is not torch.strided or tensor.is_quantized:
        raise StateNotCanonical(path, f"{type(tensor).__name__} with layout {tensor.layout}")
    tensor = tensor.detach()
    frozen: dict[str, Json] = {_TENSOR: path}
    if tensor.dtype is torch.bfloat16:
        # NumPy has no bfloat16: its bits travel as integers.
        tensor, frozen["dtype"] = tensor.view(torch.int16), "bfloat16"
    if tensor.dtype not in _NATIVE:
        raise StateNotCanonical(path, f"tensor of {tensor.dtype}")
    arrays[path] = tensor.numpy(force=True)
    return frozen


def _thaw_tensor(value: Mapping[str, Json], arrays: Mapping[str, NDArray[Any]]) -> Tensor:
    # Memory of PyTorch's own: kernels may round otherwise at another alignment.
    tensor = torch.from_numpy(np.asarray(arrays[str(value[_TENSOR])])).clone()
    return tensor.view(torch.bfloat16) if "dtype" in value else tensor
