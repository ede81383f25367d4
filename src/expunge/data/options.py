"""What a source's columns are: the options of an ingest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa

from expunge.core.errors import ColumnUnknown, SchemaMismatch
from expunge.core.types import Column, Kind, Role, Schema
from expunge.data.layout import HIDDEN, NUMBERED_ID, arrow_type


@dataclass(frozen=True, slots=True)
class Ingest:
    """What a source's columns are. All but ``slices`` and ``salts`` stand in the schema.

    Attributes:
        id: Column of sample ids; None numbers the rows, "<batch>-<row>".
        subjects: Columns that say whom a row is about; the first orders the ring. One column
            may hold lists.
        tier: Column of the tier, text or integers; tiers are ordered by it.
        values: Columns to be used as targets or weights. Not features by default.
        categorical: Columns of integers that are categories.
        text: Columns of free text.
        nullable: Columns in which cells may be missing; also subjects after the first.
        schema: Declared columns. With it nothing is inferred, and the roles are its own.
        slices: Sub-ranges of the key that the batch is learnt in, if it is not the first.
        salts: Column of 16-byte salts, for rows that had some before.
        coded: Whether cells are as ``Batch.export`` writes them: categories and tiers as codes.
    """

    id: str | None = None
    subjects: tuple[str, ...] = ()
    tier: str | None = None
    values: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    nullable: tuple[str, ...] = ()
    schema: Schema | None = None
    slices: int = 1
    salts: str | None = None
    coded: bool = False

    def __post_init__(self) -> None:
        if self.slices < 1:
            raise ValueError(f"`slices` must be at least 1, got {self.slices}.")
        roles = Counter([*self._named(), *self.values])
        if twice := sorted(name for name, count in roles.items() if count > 1):
            raise SchemaMismatch(f"Column {twice[0]!r} was given two roles. Each column has one.")

    def roles(self) -> list[tuple[str, Role]]:
        """The columns that are named with a role."""
        return [
            *([(self.id, Role.ID)] if self.id else []),
            *((name, Role.SUBJECT) for name in self.subjects),
            *([(self.tier, Role.TIER)] if self.tier else []),
            *((name, Role.VALUE) for name in self.values),
        ]

    def csv_types(self) -> dict[str, pa.DataType]:
        """Types that a format without types is to be read in."""
        if self.schema:
            return {c.name: _csv_type(c) for c in self.schema.columns if self._is_read(c)}
        return dict.fromkeys([*self._named(), *self.text], pa.string())

    def _is_read(self, column: Column) -> bool:
        return column.kind is not Kind.TENSOR and column.name != NUMBERED_ID

    def _named(self) -> list[str]:
        return [
            *([self.id] if self.id else []),
            *self.subjects,
            *([self.tier] if self.tier else []),
        ]

    def columns(self, names: Collection[str]) -> tuple[Column, ...]:
        """The columns to store of a source's columns, with what is known before any row.

        Kinds and types of features and values are placeholders, unless a schema declares them.
        """
        self._check(names)
        if self.schema:
            return self.schema.columns
        id_column = Column(self.id or NUMBERED_ID, Role.ID, Kind.TEXT, "str")
        rest = [self._column(name) for name in names if name not in (self.id, self.salts)]
        return (id_column, *rest)

    def _column(self, name: str) -> Column:
        role = Role.VALUE if name in self.values else Role.FEATURE
        role = Role.SUBJECT if name in self.subjects else Role.TIER if name == self.tier else role
        text = name in self.text or role is Role.SUBJECT
        nullable = name in self.nullable
        return Column(name, role, Kind.TEXT if text else Kind.NUMERIC, "str", nullable=nullable)

    def _check(self, names: Collection[str]) -> None:
        named = [*self._named(), *self.values, *self.categorical, *self.text, *self.nullable]
        named += [self.salts] if self.salts else []
        needed = named if not self.schema else self._needed(names)
        if missing := [name for name in needed if name not in names]:
            raise ColumnUnknown(missing[0], names)
        hidden = [n for n in names if n.startswith(HIDDEN) and n != self.salts]
        if hidden or (self.id is None and not self.schema and NUMBERED_ID in names):
            taken = hidden[0] if hidden else NUMBERED_ID
            raise SchemaMismatch(
                f"The column name {taken!r} is reserved. Rename it, or pass it as `id`."
            )

    def _needed(self, names: Collection[str]) -> list[str]:
        assert self.schema
        declared = [column.name for column in self.schema.columns]
        extra = [name for name in names if name not in (*declared, self.salts)]
        if extra:
            raise SchemaMismatch(
                f"Column {extra[0]!r} is not in the schema, which has: "
                f"{', '.join(map(repr, declared))}. Leave it out."
            )
        return [name for name in declared if name != NUMBERED_ID] + (
            [self.salts] if self.salts else []
        )


def _csv_type(column: Column) -> pa.DataType:
    if column.kind is not Kind.CATEGORICAL:
        return arrow_type(column) if column.kind is Kind.NUMERIC else pa.string()
    first = column.categories[0] if column.categories else ""
    if isinstance(first, bool):
        return pa.bool_()
    return pa.int64() if isinstance(first, int) else pa.string()
