"""Rows as tables with named columns, or as one matrix with categories as codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column, Kind
from expunge.learners.protocol import Features


def codes(columns: Sequence[Column], features: Features, dtype: DTypeLike) -> NDArray[Any]:
    """Put ``columns`` side by side, (n, width): categories as their codes, unknown as NaN.

    Tensors are laid flat. For learners that split categories themselves.

    Raises:
        RecipeInvalid: A column is text.
    """
    return np.concatenate([_code(column, features[column.name], dtype) for column in columns], 1)


def categorical(columns: Sequence[Column]) -> list[bool]:
    """Whether each column of :func:`codes` holds categories; length width."""
    return [
        column.kind is Kind.CATEGORICAL
        for column in columns
        for _ in range(int(np.prod(column.shape)))
    ]


def frame(columns: Sequence[Column], features: Features) -> Any:  # noqa: ANN401 - pandas
    """A pandas table of ``columns``, n rows.

    Categorical columns are pandas categories with the declared values, in their order; a
    value that was not declared, or is missing, is missing. Text is a column of ``str``.

    Raises:
        RecipeInvalid: A column is a tensor.
    """
    import pandas as pd

    return pd.DataFrame({column.name: _series(column, features[column.name]) for column in columns})


def _code(column: Column, cells: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    if column.kind is Kind.TEXT:
        raise RecipeInvalid(
            f"This learner cannot read the text column {column.name!r}. Use `Sklearn` with a "
            f"vectorizer, or leave the column out of the view's features."
        )
    values = cells.reshape(len(cells), int(np.prod(column.shape))).astype(dtype)
    if column.kind is Kind.CATEGORICAL:
        values[values < 0] = np.nan
    return values


def _series(column: Column, cells: NDArray[Any]) -> Any:  # noqa: ANN401 - pandas
    import pandas as pd

    if column.kind is Kind.TENSOR:
        raise RecipeInvalid(
            f"A table cannot hold the tensor column {column.name!r}. Leave it out of the "
            f"view's features, or use an estimator without a ColumnTransformer."
        )
    if column.kind is Kind.CATEGORICAL:
        declared = pd.Index(column.categories, dtype=_one_type(column.categories))
        return pd.Series(pd.Categorical.from_codes(cells, declared))
    return pd.Series(cells, dtype=object if column.kind is Kind.TEXT else None)


def _one_type(categories: Sequence[str | int | bool]) -> Any:  # noqa: ANN401 - for pandas
    """Numbers only where all are; pandas would pick a type by the values otherwise."""
    return np.int64 if all(type(value) is int for value in categories) else object
