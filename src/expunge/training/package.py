"""Data packages: what remains of a dataset, in a folder of its own, for somebody else to replay.

``dataset.json`` has the schema, the ring's secret, which rows were forgotten, and which of the
others are gone for some of the models, or were; ``models/`` the recipes; each batch is a folder
without a trace of its forgotten rows (``expunge.data.copying``).
No database is needed to build from it. The package holds personal data, of everybody who
remains, and the secret: whoever has it can tell who is in there.
"""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from expunge.core.digest import Json, canonical_json
from expunge.core.errors import DataCorrupt, FormatUnsupported, InputError
from expunge.core.types import Schema
from expunge.data.batch import Batch
from expunge.data.copying import copy_without, hashes_of
from expunge.data.datasets import Ground, Key, by_scope
from expunge.data.places import Change
from expunge.data.sql import Dataset
from expunge.storage import disk
from expunge.training.basis import Basis, in_home
from expunge.training.recipe import Recipe
from expunge.training.site import Site

FORMAT: Final = 2

_DATASET: Final = "dataset.json"
_MODELS: Final = "models"
_NONE: Final = np.empty(0, np.int64)


def write(site: Site, dataset: str, folder: str | Path) -> None:
    """Write what remains of a dataset into ``folder``, all of it or nothing.

    Costs reading and writing all rows. What is forgotten meanwhile is left out as well.

    Raises:
        InputError: The folder is not empty.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError("A package has a folder of its own. Name an empty or a new one.")
    with site.database.reading() as transaction:
        number = site.dataset(transaction, dataset).id
    beside = target.with_name(f".{target.name}.part")
    disk.remove(beside)  # of one that was killed
    try:
        beside.mkdir(mode=0o700, parents=True)
        basis = _copy(site, number, beside)
        _describe(basis, beside)
        disk.replace(beside, target)
    except BaseException:
        disk.remove(beside)
        raise


def read(folder: str | Path) -> Basis:
    """Open a package.

    Raises:
        FormatUnsupported: It was written by another version, or is none.
        DataCorrupt: A recipe is not the one that its name says.
    """
    place = Path(folder)
    if not (place / _DATASET).exists():
        raise FormatUnsupported("A package without `dataset.json`", "unknown", FORMAT)
    value = json.loads((place / _DATASET).read_bytes())
    if value["v"] != FORMAT:
        raise FormatUnsupported("A package", value["v"], FORMAT)
    batches = {(b["tier"], b["number"]): b for b in value["batches"]}
    forgotten = tuple(Change(*one) for one in value["forgotten"])
    lifted = tuple(Change(*one) for one in value["lifted"])
    gone, scoped = by_scope(forgotten)
    dataset = Dataset(
        id=0,
        name=value["dataset"],
        folder=place,
        secret=bytes.fromhex(value["secret"]),
        schema=Schema.from_json(value["schema"]),
        tombstones=max((change.number for change in (*forgotten, *lifted)), default=0),
    )
    opened = {key: Batch(place / batch["folder"]) for key, batch in batches.items()}
    return Basis(
        ground=Ground(dataset, opened, gone, dataset.tombstones, scoped=scoped),
        recipes={path.stem: _recipe(path) for path in sorted((place / _MODELS).glob("*.json"))},
        roots={key: bytes.fromhex(b["root"]) for key, b in batches.items() if b["root"]},
        forgotten=forgotten,
        lifted=lifted,
        hashes={key: hashes_of(opened[key].folder, gone.get(key, _NONE)) for key in batches},
    )


def _copy(site: Site, dataset: int, folder: Path) -> Basis:
    """Copy all batches; again those of which rows were forgotten, or came back, meanwhile."""
    copied: dict[Key, NDArray[np.int64]] = {}
    while True:
        with site.database.reading() as transaction:
            basis = in_home(site, transaction, dataset)
        gone = {key: basis.ground.gone.get(key, _NONE) for key in basis.ground.batches}
        stale = [
            key for key in gone if key not in copied or not np.array_equal(copied[key], gone[key])
        ]
        if not stale:
            return basis
        for key in stale:
            batch = basis.ground.batches[key]
            copy_without(batch, folder / batch.folder.name, gone[key])
            copied[key] = gone[key]


def _describe(basis: Basis, folder: Path) -> None:
    ground = basis.ground
    batches: list[Json] = [
        {
            "tier": key[0],
            "number": key[1],
            "folder": batch.folder.name,
            "root": basis.roots[key].hex() if key in basis.roots else None,
        }
        for key, batch in ground.batches.items()
    ]
    for model, recipe in basis.recipes.items():
        disk.write_file(folder / _MODELS / f"{model}.json", canonical_json(_named(recipe)))
    value: dict[str, Json] = {
        "v": FORMAT,
        "dataset": ground.dataset.folder.name,
        "secret": ground.dataset.secret.hex(),
        "schema": ground.dataset.schema.to_json(),
        "batches": batches,
        "forgotten": [list(astuple(change)) for change in basis.forgotten],
        "lifted": [list(astuple(change)) for change in basis.lifted],
    }
    disk.write_file(folder / _DATASET, canonical_json(value))


def _named(recipe: Recipe) -> dict[str, Json]:
    return {"digest": recipe.digest.hex(), "recipe": recipe.to_json()}


def _recipe(path: Path) -> Recipe:
    value: dict[str, Any] = json.loads(path.read_bytes())
    recipe = Recipe.from_json(value["recipe"])
    if recipe.digest.hex() != value["digest"]:
        raise DataCorrupt("A recipe in the package")
    return recipe
