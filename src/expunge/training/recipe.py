"""Recipes: all that shapes a model besides its data and their key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from expunge.core.digest import Json, canonical_json, digest
from expunge.core.errors import RecipeInvalid, ViewInvalid
from expunge.core.types import Kind, Schema, Task, View
from expunge.learners.protocol import Learner

AGGREGATES: Final = ("mean", "vote")


@dataclass(frozen=True, slots=True)
class Sharded:
    """Train one constituent per shard, slice by slice (SISA).

    Forgetting one sample costs about 2·shards/3 times less than training again when there
    are many slices; accuracy falls as shards grow, because each sees fewer samples.

    Attributes:
        learner: What each constituent is.
        shards: S, at least 1.
        slices: R, into how many slices the first batch of a shard is cut; at least 1.
        seed: Of all of the model's randomness.
        aggregate: ``mean`` of probabilities weighted by samples seen, or majority ``vote``.
            Regression always takes the mean.

    References:
        Bourtoule et al., "Machine Unlearning", IEEE S&P 2021, sections IV and V.
    """

    learner: Learner
    shards: int = 1
    slices: int = 1
    seed: int = 0
    aggregate: str = "mean"

    def __post_init__(self) -> None:
        if self.shards < 1 or self.slices < 1:
            raise RecipeInvalid(
                f"`shards` and `slices` must be at least 1, got {self.shards} and {self.slices}."
            )
        if self.aggregate not in AGGREGATES:
            raise RecipeInvalid(
                f"`aggregate` must be one of {', '.join(AGGREGATES)}, got {self.aggregate!r}."
            )


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a model's names are made from, besides data and key.

    Attributes:
        learner: As JSON: catalogue name, revision and fields.
        schema: Digest of the dataset's schema, hexadecimal.
    """

    view: View
    learner: Mapping[str, Json]
    shards: int
    slices: int
    seed: int
    schema: str

    @property
    def digest(self) -> bytes:
        """Digest of the whole recipe."""
        return digest("recipe", canonical_json(self.to_json()))

    @property
    def share(self) -> float:
        """Part of the schedule that one slice trains: 2/(R+1), as in the SISA paper, V-B."""
        return 2 / (self.slices + 1)

    def to_json(self) -> dict[str, Json]:
        """As plain JSON."""
        return {
            "view": self.view.to_json(),
            "learner": self.learner,
            "shards": self.shards,
            "slices": self.slices,
            "seed": self.seed,
            "schema": self.schema,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recipe:
        """Read what :meth:`to_json` wrote."""
        return cls(
            view=View.from_json(value["view"]),
            learner=value["learner"],
            shards=value["shards"],
            slices=value["slices"],
            seed=value["seed"],
            schema=value["schema"],
        )


def task(view: View, schema: Schema) -> Task:
    """What ``view`` asks of a learner, with each column as ``schema`` declares it.

    Raises:
        ColumnUnknown: The view names a column that the schema does not have.
        ViewInvalid: Targets or weight are of a kind that cannot be learnt from.
    """
    found = Task(
        features=tuple(schema[name] for name in view.features),
        targets=tuple(schema[name] for name in view.targets),
    )
    if not found.features or not found.targets:
        raise ViewInvalid("A view needs at least one target and one feature column.")
    kinds = {column.kind for column in found.targets}
    if kinds != {Kind.NUMERIC} and not (kinds == {Kind.CATEGORICAL} and len(found.targets) == 1):
        raise ViewInvalid(
            "Targets must be one categorical column (classification) or numeric columns "
            "(regression). Declare an integer label with `categorical=[…]` at ingest."
        )
    if both := set(view.features) & {*view.targets, view.weight}:
        raise ViewInvalid(f"{len(both)} columns are both feature and target or weight.")
    if view.weight is not None and schema[view.weight].kind is not Kind.NUMERIC:
        raise ViewInvalid(f"The weight column {view.weight!r} must be numeric.")
    return found
