"""Canonical bytes for a learner's state: sorted JSON and named arrays, in safetensors.

safetensors orders tensors by itself, but several metadata keys at random: there is one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from expunge.core.digest import Json, canonical_json

_KEY = "expunge"


def dump(meta: Json, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Join ``meta`` and ``arrays`` into canonical bytes. Costs one copy of the arrays."""
    ordered = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    return save(ordered, {_KEY: canonical_json(meta).decode()})


def parse(state: bytes) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Split what :func:`dump` joined into JSON and arrays."""
    header_size = int.from_bytes(state[:8], "little")
    header = json.loads(state[8 : 8 + header_size])
    return json.loads(header["__metadata__"][_KEY]), load(state)
