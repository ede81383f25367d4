"""Make a model known: its name, its recipe, its folder."""

from __future__ import annotations

import time

import sqlalchemy as sa

from expunge import learners
from expunge.core.errors import NameTaken
from expunge.core.types import View
from expunge.data import sql as data_sql
from expunge.data.sql import Dataset
from expunge.learners.protocol import Checking
from expunge.storage import disk, facts
from expunge.storage.facts import Fact
from expunge.storage.locks import alone_if_free
from expunge.training import recipe as recipes
from expunge.training import sql
from expunge.training.recipe import Recipe, Sharded
from expunge.training.site import Site
from expunge.training.sql import Model


def register(site: Site, name: str, dataset: str, view: View, sharded: Sharded) -> Model:
    """The model of that name, made known if it is not yet.

    A model whose first training never ended may be given another recipe.

    Raises:
        NameTaken: The name belongs to a model of another recipe.
        ModelRetired: It was taken out of service for good.
        ViewInvalid: The view does not fit the dataset.
        RecipeInvalid: The learner says that it cannot learn that.
    """
    with site.database.transaction() as transaction:
        row = site.dataset(transaction, dataset)
        data_sql.lock(transaction, row.id)  # a request knows of this model, or comes after it
        recipe = _recipe(row, view, sharded)
        if name in sql.model_names(transaction):
            model = site.model(transaction, name)
            sql.check_in_service(transaction, model)
            wanted = (row.id, recipe, sharded.aggregate)
            if (model.dataset, model.recipe, model.aggregate) == wanted:
                return model
            _give_up(transaction, model)
        return _add(site, transaction, name, row, (recipe, sharded.aggregate))


def _recipe(dataset: Dataset, view: View, sharded: Sharded) -> Recipe:
    task = recipes.task(view, dataset.schema)
    if isinstance(sharded.learner, Checking):
        sharded.learner.check(task)
    return Recipe(
        view=view,
        learner=learners.to_json(sharded.learner),
        shards=sharded.shards,
        slices=sharded.slices,
        seed=sharded.seed,
        schema=dataset.schema.digest.hex(),
    )


def _give_up(transaction: sa.Connection, model: Model) -> None:
    """Remove a model that was never served, unless somebody is training it."""
    with alone_if_free(model.folder / "build.lock") as free:
        if not free or sql.current_number(transaction, model.id):
            raise NameTaken("model", model.name, "It has another recipe. Choose another name.")
        body = {"model": model.folder.name, "reason": "given up for another recipe"}
        facts.record(transaction, Fact("model.retired", body))
        # Before its row: without it, nobody would ever find these checkpoints again.
        disk.remove(model.folder)
        sql.remove_model(transaction, model)


def _add(
    site: Site, transaction: sa.Connection, name: str, dataset: Dataset, made: tuple[Recipe, str]
) -> Model:
    recipe, aggregate = made
    folder = f"{int(time.time() * 1000):x}-{recipe.digest.hex()[:16]}"
    sql.add_model(transaction, name, dataset.id, folder, recipe, aggregate)
    body = {"model": folder, "recipe": recipe.digest.hex(), "dataset": dataset.folder.name}
    facts.record(transaction, Fact("model.created", body))
    return site.model(transaction, name)
