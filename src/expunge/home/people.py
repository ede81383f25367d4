"""Datasets of a home, and what a model learns from one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from expunge.core.types import Filter, Role, Schema, View
from expunge.training import recipe as recipes


@dataclass(frozen=True, slots=True)
class Learning:
    """A view of a dataset: what a model is trained from."""

    dataset: str
    view: View


@dataclass(frozen=True, slots=True)
class People:
    """A dataset of a home.

    Attributes:
        rows: How many there are, forgotten ones left out.
        forgotten: How many were forgotten.
        batches: How many times rows were ingested, tiers counted apart.
    """

    name: str
    schema: Schema
    rows: int
    forgotten: int
    batches: int

    def view(
        self,
        target: str | Sequence[str],
        *,
        features: Sequence[str] | None = None,
        weight: str | None = None,
        where: Sequence[tuple[Any, ...]] = (),
        purpose: str = "",
    ) -> Learning:
        """What a model learns from this dataset.

        Args:
            target: One categorical column (classification), or one or several numeric ones.
            features: Columns to learn from; by default all features but the target.
            weight: Numeric column of sample weights.
            where: Conditions that all must hold, as (column, op, value); ``op`` is one of
                ``== != < <= > >= in present``.
            purpose: What the model is for, in your words; part of the recipe.

        Raises:
            ColumnUnknown: A column is not there.
            ViewInvalid: Targets, weight or features do not fit together.
        """
        targets = (target,) if isinstance(target, str) else tuple(target)
        if features is None:
            apart = {*targets, weight}
            features = [c.name for c in self.schema.of(Role.FEATURE) if c.name not in apart]
        conditions = tuple(Filter(c, op, *map(_plain, value)) for c, op, *value in where)
        view = View(targets, tuple(features), weight, conditions, purpose)
        recipes.task(view, self.schema)
        for condition in conditions:
            self.schema[condition.column]
        return Learning(self.name, view)


def _plain(value: Any) -> Any:  # noqa: ANN401 - a filter's value
    return tuple(value) if isinstance(value, (list, set, tuple)) else value
