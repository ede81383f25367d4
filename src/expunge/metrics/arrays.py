"""What metrics are given, checked once: scores, populations of models, probabilities."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from expunge.core.errors import InputError

Numbers: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]


def vector(values: ArrayLike, name: str, least: int = 1) -> Numbers:
    """Finite numbers, (n,), n ≥ ``least``.

    Raises:
        InputError: Another shape, too few, or one that is not finite.
    """
    return _finite(values, name, "(n,)", 1, (least,))


def population(values: ArrayLike, name: str, models: int = 1, rows: int = 1) -> Numbers:
    """Finite numbers of several models about the same rows, (models, n).

    Raises:
        InputError: Another shape, too few models or rows, or one that is not finite.
    """
    return _finite(values, name, "(models, n)", 2, (models, rows))


def same_rows(a: Numbers, b: Numbers) -> None:
    """Check that two arrays end in the same number of rows.

    Raises:
        InputError: They do not.
    """
    if a.shape[-1] != b.shape[-1]:
        raise InputError(
            f"{a.shape[-1]:,} rows in one array and {b.shape[-1]:,} in the other. Expected numbers "
            f"about the same rows, in the same order."
        )


def probabilities(values: ArrayLike, name: str = "probabilities") -> Numbers:
    """Rows that sum to one, (n, classes), classes ≥ 2; sums may be off by 0.001 (float32).

    Raises:
        InputError: Anything else.
    """
    checked = _finite(values, name, "(n, classes)", 2, (1, 2))
    if (checked < 0).any() or (np.abs(checked.sum(axis=1) - 1) > 1e-3).any():
        raise InputError(
            f"`{name}` are no probabilities: a row has a negative one, or does not sum to 1. Logits "
            f"go through a softmax first."
        )
    return checked


def labels(values: ArrayLike, rows: int, classes: int) -> Labels:
    """Classes by number, (rows,), each in 0 … classes − 1.

    Raises:
        InputError: Anything else.
    """
    found = np.asarray(values)
    if found.shape != (rows,) or found.dtype.kind not in "iu":
        raise InputError(
            f"Labels have shape {found.shape} and type {found.dtype}. Expected integers, ({rows},)."
        )
    if rows and (found.min() < 0 or found.max() >= classes):
        raise InputError(f"A label is outside 0 … {classes - 1}, which are the columns given.")
    return found.astype(np.int64)


def share(value: float, name: str) -> float:
    """A number strictly between 0 and 1.

    Raises:
        InputError: It is not.
    """
    if not 0 < value < 1:
        raise InputError(f"`{name}` must be between 0 and 1, got {value}.")
    return value


def positive(value: float, name: str) -> float:
    """A finite number above zero.

    Raises:
        InputError: It is not.
    """
    if not 0 < value < float("inf"):
        raise InputError(f"`{name}` must be positive, got {value}.")
    return value


def _finite(values: ArrayLike, name: str, shape: str, axes: int, least: tuple[int, ...]) -> Numbers:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != axes or any(
        has < needs for has, needs in zip(found.shape, least, strict=True)
    ):
        raise InputError(
            f"`{name}` has shape {found.shape}. Expected {shape}, at least {least} of them."
        )
    if not np.isfinite(found).all():
        raise InputError(
            f"`{name}` holds a number that is not finite, so nothing can be said about it. Look for "
            f"a model that diverged, or a logarithm of zero."
        )
    return found
