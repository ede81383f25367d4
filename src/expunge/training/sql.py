"""Tables of models and versions."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from expunge.core import names
from expunge.core.digest import Json, canonical_json
from expunge.core.errors import ModelRetired, UnknownName
from expunge.storage.database import METADATA, now
from expunge.storage.packs import Frame
from expunge.training import scopes
from expunge.training.recipe import Recipe

_MODELS: Final = sa.Table(
    "model",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("dataset", sa.ForeignKey("dataset.id"), nullable=False, index=True),
    sa.Column("folder", sa.String(100), nullable=False),
    sa.Column("recipe", sa.Text, nullable=False),
    sa.Column("aggregate", sa.String(20), nullable=False),
    sa.Column("created", sa.String(27), nullable=False),
    sa.Column("retired", sa.String(27)),
)
_VERSIONS: Final = sa.Table(
    "version",
    METADATA,
    sa.Column("model", sa.ForeignKey("model.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("clean_to", sa.BigInteger, nullable=False),
    sa.Column("batches", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("whole", sa.Boolean, nullable=False),
    sa.Column("constituents", sa.Text, nullable=False),
    sa.Column("created", sa.String(27), nullable=False),
)


# Built once: SQLAlchemy then knows a statement by identity, and each request runs dozens.
_NAMED: Final = sa.select(_MODELS).where(_MODELS.c.name == sa.bindparam("name"))
_LEARNING_FROM: Final = (
    sa.select(_MODELS)
    .where(_MODELS.c.dataset == sa.bindparam("dataset"), _MODELS.c.retired.is_(None))
    .order_by(_MODELS.c.id)
)
_ALL: Final = sa.select(_MODELS).where(_MODELS.c.retired.is_(None)).order_by(_MODELS.c.id)
_RETIRED: Final = sa.select(_MODELS).where(_MODELS.c.retired.is_not(None)).order_by(_MODELS.c.id)
_RETIRED_AT: Final = sa.select(_MODELS.c.retired).where(_MODELS.c.id == sa.bindparam("id"))
_CURRENT: Final = (
    sa.select(_VERSIONS)
    .where(_VERSIONS.c.model == sa.bindparam("model"))
    .order_by(_VERSIONS.c.number.desc())
    .limit(1)
)
_NUMBER: Final = sa.select(sa.func.max(_VERSIONS.c.number)).where(
    _VERSIONS.c.model == sa.bindparam("model")
)


@dataclass(frozen=True, slots=True)
class Model:
    """A model's row.

    Attributes:
        retired: When it was taken out of service for good; None while it is in it.
    """

    id: int
    name: str
    dataset: int
    folder: Path
    recipe: Recipe
    aggregate: str
    retired: str | None = None

    @property
    def scopes(self) -> tuple[str, ...]:
        """Scopes of tombstones that count for this model, besides those for all models."""
        return scopes.counting_for(self.folder.name, self.recipe)


@dataclass(frozen=True, slots=True)
class Constituent:
    """What stands for one shard in a version.

    Attributes:
        pack: File name; None where there is no model yet.
        frame: The checkpoint in it.
        depth: How many slices it has seen.
        whole: Whether it is all that its plan says.
    """

    shard: int
    pack: str | None
    frame: Frame | None
    depth: int
    whole: bool

    def to_json(self) -> list[Json]:
        """As plain JSON."""
        f = self.frame
        frame: Json = None
        if f:
            frame = [f.name.hex(), f.samples, f.offset, f.length, f.checksum.hex()]
        return [self.shard, self.pack, frame, self.depth, self.whole]

    @classmethod
    def from_json(cls, value: list[Any]) -> Constituent:
        """Read what :meth:`to_json` wrote."""
        shard, pack, f, depth, whole = value
        frame = Frame(bytes.fromhex(f[0]), f[1], f[2], f[3], bytes.fromhex(f[4])) if f else None
        return cls(shard, pack, frame, depth, whole)


@dataclass(frozen=True, slots=True)
class Version:
    """One published state of a model.

    Attributes:
        clean_to: Number of the last tombstone that it does not contain.
        batches: How many batches it was planned with.
        digest: Over the model's aggregate and the names of its constituents, hexadecimal.
        whole: Whether every constituent is all that its plan says.
    """

    model: int
    number: int
    clean_to: int
    batches: int
    digest: str
    whole: bool
    constituents: tuple[Constituent, ...]
    created: str


def version_digest(model: Model, constituents: tuple[Constituent, ...]) -> str:
    """Digest of what a version serves."""
    served = [c.frame.name if c.frame else None for c in constituents]
    return names.version(model.recipe.digest, model.aggregate, served).hex()


def add_model(
    transaction: sa.Connection, name: str, dataset: int, folder: str, recipe: Recipe, aggregate: str
) -> None:
    """Register a model without a version."""
    transaction.execute(
        _MODELS.insert().values(
            name=name,
            dataset=dataset,
            folder=folder,
            recipe=canonical_json(recipe.to_json()).decode(),
            aggregate=aggregate,
            created=now(),
        )
    )


def remove_model(transaction: sa.Connection, model: Model) -> None:
    """Remove a model that has no version."""
    transaction.execute(_MODELS.delete().where(_MODELS.c.id == model.id))


def model_names(transaction: sa.Connection) -> list[str]:
    """Names of all models."""
    return list(transaction.scalars(sa.select(_MODELS.c.name).order_by(_MODELS.c.name)))


def find_model(transaction: sa.Connection, name: str, root: Path) -> Model:
    """A model by name; its folder lies under ``root``."""
    row = transaction.execute(_NAMED, {"name": name}).one_or_none()
    if row is None:
        raise UnknownName("model", name, model_names(transaction))
    return _model(row, root)


def models_of(transaction: sa.Connection, dataset: int, root: Path) -> list[Model]:
    """All models that learn from a dataset, without those that are retired."""
    rows = transaction.execute(_LEARNING_FROM, {"dataset": dataset})
    return [_model(row, root) for row in rows]


def all_models(transaction: sa.Connection, root: Path) -> list[Model]:
    """All models in the order in which they were made, without those that are retired."""
    return [_model(row, root) for row in transaction.execute(_ALL)]


def retired_models(transaction: sa.Connection, root: Path) -> list[Model]:
    """All models that are retired."""
    return [_model(row, root) for row in transaction.execute(_RETIRED)]


def retire(transaction: sa.Connection, model: int) -> None:
    """Note that a model is out of service for good; its dataset is locked."""
    transaction.execute(_MODELS.update().where(_MODELS.c.id == model).values(retired=now()))


def check_in_service(transaction: sa.Connection, model: Model) -> None:
    """See that a model is not retired.

    Raises:
        ModelRetired: It is.
    """
    if transaction.execute(_RETIRED_AT, {"id": model.id}).scalar() is not None:
        raise ModelRetired(model.name)


def current(transaction: sa.Connection, model: int) -> Version | None:
    """The version that is served now."""
    row = transaction.execute(_CURRENT, {"model": model}).one_or_none()
    return None if row is None else version_of(row)


def current_number(transaction: sa.Connection, model: int) -> int:
    """Number of the version that is served now; 0 where there is none."""
    return transaction.execute(_NUMBER, {"model": model}).scalar() or 0


def first_clean_to(transaction: sa.Connection, model: int) -> int:
    """What the first version of a model was clean to; 0 where there is none."""
    t = _VERSIONS.c
    query = sa.select(t.clean_to).where(t.model == model).order_by(t.number).limit(1)
    return transaction.execute(query).scalar() or 0


def current_numbers(transaction: sa.Connection, models: Collection[int]) -> dict[int, int]:
    """Numbers of the versions that are served now, by model; without those that have none."""
    t = _VERSIONS.c
    # One look into the index per model; grouping would read every version that there ever was.
    newest = sa.select(sa.func.max(t.number)).where(t.model == _MODELS.c.id).scalar_subquery()
    query = sa.select(_MODELS.c.id, newest).where(_MODELS.c.id.in_(sorted(models)))
    return {model: number for model, number in transaction.execute(query) if number}


def add_version(transaction: sa.Connection, version: Version) -> None:
    """Publish ``version``. The dataset must be locked."""
    transaction.execute(
        _VERSIONS.insert().values(
            model=version.model,
            number=version.number,
            clean_to=version.clean_to,
            batches=version.batches,
            digest=version.digest,
            whole=version.whole,
            constituents=canonical_json([c.to_json() for c in version.constituents]).decode(),
            created=version.created,
        )
    )


def renew(transaction: sa.Connection, version: Version) -> None:
    """Note that a version, unchanged, is clean to a later tombstone."""
    t = _VERSIONS.c
    transaction.execute(
        _VERSIONS.update()
        .where(t.model == version.model, t.number == version.number)
        .values(clean_to=version.clean_to, batches=version.batches, whole=version.whole)
    )


def _model(row: Any, root: Path) -> Model:  # noqa: ANN401 - a database row
    recipe = _recipe(row.recipe)
    folder = root / row.folder
    return Model(row.id, row.name, row.dataset, folder, recipe, row.aggregate, row.retired)


@lru_cache(maxsize=256)
def _recipe(text: str) -> Recipe:
    return Recipe.from_json(json.loads(text))


def version_of(row: Any) -> Version:  # noqa: ANN401 - a database row
    """A version from its row."""
    constituents = tuple(Constituent.from_json(value) for value in json.loads(row.constituents))
    return Version(
        row.model,
        row.number,
        row.clean_to,
        row.batches,
        row.digest,
        row.whole,
        constituents,
        row.created,
    )
