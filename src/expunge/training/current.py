"""The newest version of a model, loaded."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import DataCorrupt, ModelWithdrawn, UnknownName
from expunge.core.types import Schema
from expunge.training import ensemble, sql
from expunge.training.ensemble import Ensemble
from expunge.training.site import Site
from expunge.training.sql import Model, Version


@dataclass(frozen=True, slots=True)
class Prediction:
    """Outputs, and the version that they come from.

    Attributes:
        outputs: Probabilities (n, classes), or values (n, targets); float64.
        classes: In the order of the columns; empty for regression.
        version: Digest of the version that answered.
    """

    outputs: NDArray[np.float64]
    classes: tuple[str | int | bool, ...]
    version: str


class Current:
    """Keeps the version of a model that was read last, and reads when there is a newer one."""

    def __init__(self, site: Site, model: Model, schema: Schema) -> None:
        self.model, self.schema = model, schema
        self._site = site
        self._kept: Ensemble | None = None
        self._least = 0
        self._keeping, self._loading = Lock(), Lock()

    @property
    def version(self) -> Version | None:
        """What is served now; None before the first training has ended."""
        with self._site.database.reading() as transaction:
            return sql.current(transaction, self.model.id)

    def newest(self) -> Ensemble:
        """The version that is current now, at some moment after this was called.

        Costs one query where it is the one that was read last.

        Raises:
            ModelWithdrawn: No clean constituent is left.
            ModelRetired: It was taken out of service for good.
            UnknownName: No version was published yet.
        """
        with self._site.database.reading() as transaction:
            number = sql.current_number(transaction, self.model.id)
        if (kept := self.kept(number)) is not None:
            return kept
        with self._loading:  # one thread reads the checkpoints, the others take what it read
            return self._load()

    def kept(self, number: int) -> Ensemble | None:
        """The version of that number, if it is the one that was read last."""
        kept = self._kept
        return kept if kept is not None and kept.version.number == number else None

    def drop(self, before: int) -> None:
        """Keep no version with a number below ``before``, from now on."""
        with self._keeping:
            self._least = max(self._least, before)
            if self._kept is not None and self._kept.version.number < self._least:
                self._kept = None

    def _load(self) -> Ensemble:
        while True:
            version = self._published()
            if (kept := self.kept(version.number)) is not None:
                return kept
            try:
                loaded = ensemble.load(self.model, version, self.schema)
            except DataCorrupt:
                # A request may have cut the pack while we read. Then there is a newer version.
                if self._published().number != version.number:
                    continue
                raise
            except ModelWithdrawn:
                with self._site.database.reading() as transaction:
                    sql.check_in_service(transaction, self.model)
                raise
            self._keep(loaded)
            return loaded

    def _published(self) -> Version:
        version = self.version
        if version is None:
            raise UnknownName("published version of model", self.model.name, [])
        return version

    def _keep(self, loaded: Ensemble) -> None:
        with self._keeping:
            if loaded.version.number >= self._least:
                self._kept = loaded
