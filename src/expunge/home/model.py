"""A model of a home: predictions, each with the version that it comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import InputError
from expunge.core.types import Schema, Task
from expunge.data import table
from expunge.training import ensemble, sql
from expunge.training import recipe as recipes
from expunge.training.current import Current, Prediction
from expunge.training.site import Site
from expunge.training.sql import Version

__all__ = ["Model", "Prediction"]


class Model:
    """A model of a home. Each prediction comes from the version that is current when asked."""

    def __init__(self, site: Site, row: sql.Model, schema: Schema) -> None:
        self._row, self._schema = row, schema
        self._current = Current(site, row, schema)

    @property
    def name(self) -> str:
        """Its name."""
        return self._row.name

    @property
    def version(self) -> Version | None:
        """What is served now; None before the first training has ended."""
        return self._current.version

    @property
    def schema(self) -> Schema:
        """The declared columns of its dataset."""
        return self._schema

    @property
    def task(self) -> Task:
        """Its columns, as the schema declares them."""
        return recipes.task(self._row.recipe.view, self._schema)

    def predict(self, x: Any) -> NDArray[Any]:  # noqa: ANN401 - any table
        """Predicted classes (n,), or values (n,) or (n, targets).

        Args:
            x: A DataFrame, Arrow table, mapping or list of mappings with the view's columns;
                or a 2-D array where all are numeric.

        Raises:
            ModelWithdrawn: No clean constituent is left; rebuild first.
        """
        answer = self.answer(x)
        return ensemble.labels(self.task, answer.outputs)

    def predict_proba(self, x: Any) -> NDArray[np.float64]:  # noqa: ANN401 - any table
        """Probabilities, (n, classes), in the order of ``model.task.classes``."""
        if not self.task.classes:
            raise InputError(f"Model {self.name!r} is a regression: it has no probabilities.")
        return self.answer(x).outputs

    def answer(self, x: Any) -> Prediction:  # noqa: ANN401 - any table
        """Outputs with the version that they come from."""
        cells = table.cells(self.task.features, x)
        loaded = self._current.newest()
        return Prediction(loaded.predict(cells), self.task.classes, loaded.version.digest)
