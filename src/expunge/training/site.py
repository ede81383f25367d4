"""What an installation stands on: a database, folders, and grounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import sqlalchemy as sa

from expunge.data import sql as data_sql
from expunge.data.appending import Stock
from expunge.data.datasets import Ground, Grounds
from expunge.data.sql import Dataset
from expunge.storage import disk
from expunge.storage.database import Database
from expunge.storage.journal import Journal
from expunge.storage.locks import alone, alone_if_free
from expunge.training import sql
from expunge.training.sql import Model

_GONE: Final = "gone-"


@dataclass(frozen=True, slots=True)
class Site:
    """Database and folders of one home."""

    database: Database
    root: Path
    grounds: Grounds
    journal: Journal

    @property
    def data(self) -> Path:
        """Folder of the datasets' folders."""
        return self.root / "data"

    @property
    def models(self) -> Path:
        """Folder of the models' folders."""
        return self.root / "models"

    @property
    def stock(self) -> Stock:
        """Where datasets rest."""
        return Stock(self.database, self.data, self.grounds)

    @property
    def certificates(self) -> Path:
        """Folder of the certificates that were issued."""
        return self.root / "certificates"

    @property
    def replays(self) -> Path:
        """Folder in which a replay builds, while it lasts."""
        return self.root / "replay"

    @property
    def audits(self) -> Path:
        """Folder of the models that audits compare with, by dataset; never served."""
        return self.root / "audits"

    def dataset(self, transaction: sa.Connection, name: str) -> Dataset:
        """A dataset by name."""
        return data_sql.find_dataset(transaction, name, self.data)

    def model(self, transaction: sa.Connection, name: str) -> Model:
        """A model by name."""
        return sql.find_model(transaction, name, self.models)

    def models_of(self, transaction: sa.Connection, dataset: int) -> list[Model]:
        """All models that learn from a dataset."""
        return sql.models_of(transaction, dataset, self.models)

    def all_models(self, transaction: sa.Connection) -> list[Model]:
        """All models."""
        return sql.all_models(transaction, self.models)

    def ground(self, transaction: sa.Connection, dataset: int) -> Ground:
        """A dataset, as ``transaction`` sees it; of a model, ask :meth:`ground_of`."""
        row = data_sql.get_dataset(transaction, dataset, self.data)
        return self.grounds.load(transaction, row)

    def locked_ground(self, transaction: sa.Connection, dataset: int) -> Ground:
        """Lock the dataset, then load its ground: nothing can come between."""
        data_sql.lock(transaction, dataset)
        return self.ground(transaction, dataset)

    def ground_of(self, transaction: sa.Connection, model: Model) -> Ground:
        """What a model may learn from, and its plans stand on, as ``transaction`` sees it."""
        return self.ground(transaction, model.dataset).under(model.scopes)

    def locked_ground_of(self, transaction: sa.Connection, model: Model) -> Ground:
        """Lock a model's dataset, then load the model's own ground."""
        return self.locked_ground(transaction, model.dataset).under(model.scopes)


@contextmanager
def replaying(site: Site) -> Iterator[Path]:
    """An empty folder to build in again, on the disk of the home; waits until it is ours alone.

    What a killed replay left there may have seen rows that were forgotten since; it goes first.
    """
    with alone(_replay_lock(site)):
        disk.remove(site.replays)
        site.replays.mkdir(mode=0o700)
        try:
            yield site.replays
        finally:
            disk.remove(site.replays)


def forget_leftovers(site: Site) -> None:
    """Remove what a killed replay left behind. One that goes on removes its own at its end."""
    with alone_if_free(_replay_lock(site)) as free:
        if free and site.replays.exists():
            disk.remove(site.replays)


def audit_folder(site: Site, dataset: str, model: str) -> Path:
    """Where audits keep what they train, named by the folders of a dataset and a model."""
    site.audits.mkdir(mode=0o700, exist_ok=True)
    return site.audits / dataset / model


def forget_audits(site: Site, folder: str) -> None:
    """Destroy all models that audits trained on a dataset, named by its folder.

    Waits for no audit that goes on. What is being built there is moved away first, in one step,
    so that nothing can be put beside it; whoever builds afterwards reads rows afterwards. So
    erase rows first, then call this: no model that saw them is left.
    """
    if not site.audits.exists():
        return
    if (site.audits / folder).exists():
        away = Path(mkdtemp(prefix=_GONE, dir=site.audits))
        disk.replace(site.audits / folder, away / folder)
    for left in site.audits.glob(f"{_GONE}*"):  # of a call that was killed, too
        disk.remove(left)
    disk.sync_folder(site.audits)


def _replay_lock(site: Site) -> Path:
    return site.root / "replay.lock"
