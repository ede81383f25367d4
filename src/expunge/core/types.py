"""The words of DESIGN.md 2 as frozen values. Each turns into JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from expunge.core.digest import Json, canonical_json, digest
from expunge.core.errors import ColumnUnknown


class Guarantee(StrEnum):
    """What a method promises, from strong to weak (DESIGN.md 1)."""

    EXACT = "exact"
    REBUILT = "rebuilt"
    CERTIFIED = "certified"
    EMPIRICAL = "empirical"
    ATTESTED = "attested"


class Role(StrEnum):
    """What a column is for. Each column has one."""

    ID = "id"
    SUBJECT = "subject"
    TIER = "tier"
    FEATURE = "feature"
    VALUE = "value"


class Kind(StrEnum):
    """How a column's cells are stored and read."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    TEXT = "text"
    TENSOR = "tensor"


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column.

    Attributes:
        dtype: NumPy name of a cell's (or a tensor's elements') type; ``int32`` codes for
            categorical columns, ``str`` for text.
        shape: Of one cell; empty but for tensors.
        categories: Declared values in order, strings or integers or booleans; a cell is its
            index, and -1 stands for any value that was not declared.
        low: Least value that the schema declares, rounded outward. Numeric and tensor only.
        high: Greatest value, likewise.
        nullable: Whether cells may be missing: NaN in floats, code -1 in categories.
    """

    name: str
    role: Role
    kind: Kind
    dtype: str
    shape: tuple[int, ...] = ()
    categories: tuple[str | int | bool, ...] = ()
    low: float | None = None
    high: float | None = None
    nullable: bool = False

    def to_json(self) -> dict[str, Json]:
        """As plain JSON."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Column:
        """Read what :meth:`to_json` wrote."""
        return cls(
            name=value["name"],
            role=Role(value["role"]),
            kind=Kind(value["kind"]),
            dtype=value["dtype"],
            shape=tuple(value["shape"]),
            categories=tuple(value["categories"]),
            low=value["low"],
            high=value["high"],
            nullable=value["nullable"],
        )


@dataclass(frozen=True, slots=True)
class Schema:
    """The declared columns of a dataset, in stored order. Never inferred a second time.

    Attributes:
        adopted: True where nobody declared it: it was proposed from the data, and
            certificates say so. Not part of :attr:`digest`.
    """

    columns: tuple[Column, ...]
    adopted: bool = False

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise ColumnUnknown(name, [column.name for column in self.columns])

    def of(self, role: Role) -> tuple[Column, ...]:
        """The columns with this role."""
        return tuple(column for column in self.columns if column.role is role)

    @property
    def digest(self) -> bytes:
        """Digest of all that is declared."""
        return digest("schema", canonical_json([column.to_json() for column in self.columns]))

    def to_json(self) -> dict[str, Json]:
        """As plain JSON."""
        return {"columns": [c.to_json() for c in self.columns], "adopted": self.adopted}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Schema:
        """Read what :meth:`to_json` wrote."""
        return cls(tuple(Column.from_json(c) for c in value["columns"]), value["adopted"])


@dataclass(frozen=True, slots=True)
class Filter:
    """Keep the rows whose ``column`` stands in relation ``op`` to ``value``.

    Attributes:
        op: One of ``== != < <= > >= in present``; ``in`` takes a tuple, ``present`` nothing.
    """

    column: str
    op: str
    value: str | float | tuple[str | float, ...] | None = None

    def to_json(self) -> list[Json]:
        """As plain JSON."""
        return [self.column, self.op, _plain(self.value)]


@dataclass(frozen=True, slots=True)
class View:
    """What a model learns from a dataset. Part of the recipe.

    Attributes:
        targets: Columns to predict: one categorical column (classification), or one or
            several numeric ones (regression).
        features: Columns to predict from, in order.
        weight: Numeric column of sample weights, or None.
        filters: All must hold for a row to be learnt from.
        purpose: What the model is for, in the owner's words.
    """

    targets: tuple[str, ...]
    features: tuple[str, ...]
    weight: str | None = None
    filters: tuple[Filter, ...] = ()
    purpose: str = ""

    def to_json(self) -> dict[str, Json]:
        """As plain JSON."""
        return {
            "targets": list(self.targets),
            "features": list(self.features),
            "weight": self.weight,
            "filters": [f.to_json() for f in self.filters],
            "purpose": self.purpose,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> View:
        """Read what :meth:`to_json` wrote."""
        return cls(
            targets=tuple(value["targets"]),
            features=tuple(value["features"]),
            weight=value["weight"],
            filters=tuple(
                Filter(c, op, tuple(v) if isinstance(v, list) else v)
                for c, op, v in value["filters"]
            ),
            purpose=value["purpose"],
        )


@dataclass(frozen=True, slots=True)
class Task:
    """What a learner must know about a view: its columns, as the schema declares them."""

    features: tuple[Column, ...]
    targets: tuple[Column, ...]

    @property
    def classes(self) -> tuple[str | int | bool, ...]:
        """Declared classes, in order; empty for regression."""
        target = self.targets[0]
        return target.categories if target.kind is Kind.CATEGORICAL else ()

    @property
    def outputs(self) -> int:
        """Width of a prediction: one probability per class, or one value per target."""
        return len(self.classes) or len(self.targets)


def _plain(value: Any) -> Json:  # noqa: ANN401 - a field of any of the types above
    return list(value) if isinstance(value, tuple) else value
