"""The one object that users hold. It delegates, it decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import (
    DataCorrupt,
    ExpungeError,
    InputError,
    UnknownName,
    WorkerFailed,
)
from expunge.core.types import Filter, Role, Schema, Task, View
from expunge.data import appending, table
from expunge.data import sql as data_sql
from expunge.data.datasets import Grounds
from expunge.data.options import Ingest
from expunge.data.sources import Source
from expunge.execution import progress as progresses
from expunge.execution.local import Executor, Workers
from expunge.execution.progress import Progress
from expunge.learners.protocol import Learner
from expunge.methods import METHODS
from expunge.requests import correct as corrections
from expunge.requests import destroy, forget
from expunge.requests import sql as request_sql
from expunge.requests.forget import Accepted, Change, Wanted
from expunge.requests.lost import lost
from expunge.storage import facts, identity
from expunge.storage.database import Database, sqlite_url
from expunge.storage.facts import Recorded
from expunge.training import ensemble, models, sql, versions
from expunge.training import recipe as recipes
from expunge.training.ensemble import Ensemble
from expunge.training.recipe import Sharded
from expunge.training.site import Site, forget_leftovers
from expunge.training.sql import Version
from expunge.verify.replay import Replay, replay

_LOG: Final = logging.getLogger(__name__)


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


class Model:
    """A model of a home. Each prediction comes from the version that is current when asked."""

    def __init__(self, site: Site, row: sql.Model, schema: Schema) -> None:
        self._site, self._row, self._schema = site, row, schema
        self._loaded: Ensemble | None = None
        self._lock = Lock()

    @property
    def name(self) -> str:
        """Its name."""
        return self._row.name

    @property
    def version(self) -> Version | None:
        """What is served now; None before the first training has ended."""
        with self._site.database.reading() as transaction:
            return sql.current(transaction, self._row.id)

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
        loaded = self._current()
        outputs = loaded.predict(cells)
        return Prediction(outputs, self.task.classes, loaded.version.digest)

    def _current(self) -> Ensemble:
        """The current version, loaded; read anew at every request."""
        while True:
            version = self._version_unless_loaded()
            if version is None:
                assert self._loaded is not None
                return self._loaded
            try:
                loaded = ensemble.load(self._row, version, self._schema)
            except DataCorrupt:
                # A request may have cut the pack while we read. Then there is a newer version.
                newest = self.version
                if newest is not None and newest.number != version.number:
                    continue
                raise
            with self._lock:
                self._loaded = loaded
            return loaded

    def _version_unless_loaded(self) -> Version | None:
        with self._site.database.reading() as transaction:
            number = sql.current_number(transaction, self._row.id)
            with self._lock:
                loaded = self._loaded
            if loaded is not None and loaded.version.number == number:
                return None
            version = sql.current(transaction, self._row.id)
        if version is None:
            raise UnknownName("published version of model", self.name, [])
        return version


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a request did at once, and a way to wait for the rest.

    Attributes:
        accepted: Counts, time to forget, and each model's version before and after.
    """

    accepted: Accepted
    _home: Home = field(repr=False)

    @property
    def request(self) -> str:
        """The request's random id."""
        return self.accepted.request

    @property
    def seconds(self) -> float:
        """Time to forget, in seconds."""
        return self.accepted.seconds

    @property
    def changes(self) -> tuple[Change, ...]:
        """What happened to each model."""
        return self.accepted.changes

    @property
    def state(self) -> request_sql.State:
        """``forgotten``, or ``done`` when models are whole and rows are destroyed."""
        with self._home.site.database.reading() as transaction:
            return request_sql.find(transaction, self.request).state

    @property
    def facts(self) -> list[Recorded]:
        """What was recorded about this request."""
        with self._home.site.database.reading() as transaction:
            return facts.read(transaction, self.request)

    @property
    def lost(self) -> dict[str, int]:
        """By column, how many declared values lost their last holder by this request.

        They keep their places: a class without members stays a class. Costs one look at
        these columns of all rows.
        """
        site = self._home.site
        with site.database.reading() as transaction:
            dataset = site.dataset(transaction, self.accepted.dataset).id
            return lost(site.ground(transaction, dataset), self.accepted.left)

    def wait(self) -> Receipt:
        """Return when every model is whole again, and rows and checkpoints are destroyed.

        Raises:
            ExpungeError: A model of the dataset could not be rebuilt.
        """
        while True:
            try:
                self._home.recover()
            except ExpungeError:
                # It may be a model that has nothing to do with this request.
                if self.state is not request_sql.State.DONE:
                    raise
            # A request that came in before the destruction has put it off: once more.
            if self.state is request_sql.State.DONE:
                return self


class Home:
    """One installation's data and models. Use :func:`expunge.open`."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        *,
        executor: Executor | None = None,
        progress: Progress | None = None,
        background: bool = True,
    ) -> None:
        self.site = Site(database, folder, Grounds(folder / "data"))
        self._executor = executor or Workers()
        self._progress = progress or progresses.default()
        self._recovering = Lock()
        self._background = _Background(self.recover) if background else None

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free all processes, and end what is being rebuilt; opening the home again resumes it.

        Worker processes are killed, which loses nothing but their current slice. An executor
        without processes (:class:`Inline`) cannot be: then this waits until the rebuild ends.
        """
        if self._background:
            self._background.stop()
        self._executor.close()
        if self._background:
            self._background.join()
        self.site.database.close()

    def ingest(  # noqa: PLR0913 - each says what a column is
        self,
        name: str,
        source: Source,
        *,
        id: str | None = None,  # noqa: A002 - the word for it
        subject: str | Sequence[str] = (),
        tier: str | None = None,
        values: Sequence[str] = (),
        categorical: Sequence[str] = (),
        text: Sequence[str] = (),
        nullable: Sequence[str] = (),
        schema: Schema | None = None,
        slices: int = 1,
        readmit: bool = False,
    ) -> People:
        """Take rows into a dataset: a new one, or as new last slices of one that is there.

        Args:
            name: Of the dataset.
            source: A path (.csv, .csv.gz, .tsv, .parquet, .arrow, .feather), a DataFrame, an
                Arrow table or reader, a mapping of arrays, or a 2-D array.
            id: Column of sample ids; by default rows are numbered.
            subject: Column or columns that say whom a row is about.
            tier: Column of small numbers: rows of a higher tier stand in later slices.
            values: Columns to use as targets or weights; no value of theirs is ever hidden.
            categorical: Columns of numbers that are categories.
            text: Columns of free text.
            nullable: Columns in which cells may be missing.
            schema: Declared columns; without it, one is proposed from the data and adopted.
            slices: Into how many slices of a shard an appended batch is cut.
            readmit: Whether ids that were forgotten may come back.

        Raises:
            InputError: The source cannot be used; the dataset is as it was.
        """
        options = Ingest(
            id=id,
            subjects=(subject,) if isinstance(subject, str) else tuple(subject),
            tier=tier,
            values=tuple(values),
            categorical=tuple(categorical),
            text=tuple(text),
            nullable=tuple(nullable),
            schema=schema,
            slices=slices,
        )
        self._append(name, source, options, readmit)
        return self.dataset(name)

    def dataset(self, name: str) -> People:
        """A dataset by name."""
        with self.site.database.reading() as transaction:
            ground = self.site.grounds.load(transaction, self.site.dataset(transaction, name))
        forgotten = sum(len(gone) for gone in ground.gone.values())
        rows = sum(batch.rows for batch in ground.batches.values()) - forgotten
        return People(name, ground.dataset.schema, rows, forgotten, len(ground.batches))

    def train(self, name: str, learning: Learning, recipe: Sharded | Learner) -> Model:
        """Train a model, or bring it up to date; returns when it is whole.

        Interrupted, it resumes from what is there when it is called again. When rows were
        added since, only what they change is trained.

        Raises:
            NameTaken: A model of that name has another recipe.
        """
        sharded = recipe if isinstance(recipe, Sharded) else Sharded(recipe)
        model = models.register(self.site, name, learning.dataset, learning.view, sharded)
        versions.set_back_damaged(self.site, model)
        METHODS["rebuild"]().run(self.site, model, self._executor, self._progress)
        return self.model(name)

    def model(self, name: str) -> Model:
        """A model by name."""
        with self.site.database.reading() as transaction:
            row = self.site.model(transaction, name)
            dataset = data_sql.get_dataset(transaction, row.dataset, self.site.data)
        return Model(self.site, row, dataset.schema)

    def models(self) -> list[str]:
        """Names of all models."""
        with self.site.database.reading() as transaction:
            return sql.model_names(transaction)

    def datasets(self) -> list[str]:
        """Names of all datasets."""
        with self.site.database.reading() as transaction:
            return data_sql.names(transaction)

    def forget(
        self,
        samples: Iterable[str] = (),
        *,
        subjects: Iterable[str] = (),
        dataset: str | None = None,
        missing: str = "raise",
        method: str = "rebuild",
    ) -> Receipt:
        """Make every model forget samples, or all samples of subjects.

        Returns when no response can come from a model that saw them; a few milliseconds.
        Rebuilding follows in the background; ``receipt.wait()`` waits for it.

        Args:
            samples: Sample ids.
            subjects: Subjects; all their samples are forgotten.
            dataset: Its name; may be left out where the home has only one.
            missing: ``raise`` or ``ignore`` ids that the dataset never held.
            method: ``rebuild`` (also known as ``sisa`` and ``retrain``).

        Raises:
            NothingToForget: Neither samples nor subjects are named.
            SamplesUnknown: Some are not in the dataset; nothing is forgotten.
        """
        METHODS[method]
        wanted = Wanted(_ids(samples), _ids(subjects), missing)
        accepted = forget.accept(self.site, self._only_dataset(dataset), wanted)
        self._wake()
        return Receipt(accepted, self)

    def correct(self, source: Any, *, dataset: str | None = None) -> Receipt:  # noqa: ANN401
        """Replace rows: forget the samples whose ids stand in ``source``, and append its rows.

        One transaction (GDPR Art. 16). The new rows are a batch of their own.

        Raises:
            SamplesUnknown: Some ids are not in the dataset; nothing is changed.
        """
        accepted = corrections.correct(self.site, self._only_dataset(dataset), source)
        self._wake()
        return Receipt(accepted, self)

    def repair(self) -> None:
        """Find checkpoints that are damaged or lost on the disk, and recover.

        Reads all that is served. A model goes on with its longest undamaged checkpoints.
        """
        with self.site.database.reading() as transaction:
            known = self.site.all_models(transaction)
        for model in known:
            versions.set_back_damaged(self.site, model)
        self.recover()

    def recover(self) -> None:
        """Make every model whole, then destroy what was forgotten. Resumes after a crash.

        Raises:
            ExpungeError: A model could not be rebuilt; the others were, and what none of them
                waits for is destroyed.
        """
        failures: list[ExpungeError] = []
        with self._recovering:
            forget_leftovers(self.site)
            with self.site.database.reading() as transaction:
                behind = [
                    model
                    for model in self.site.all_models(transaction)
                    if versions.is_behind(self.site, transaction, model)
                ]
                datasets = data_sql.holding(transaction)
            for model in behind:
                try:
                    METHODS["rebuild"]().run(self.site, model, self._executor, self._progress)
                except ExpungeError as error:
                    failures.append(error)
            for dataset in datasets:
                destroy.destroy(self.site, dataset)
        if failures:
            raise failures[0]

    def verify(self, name: str) -> Replay:
        """Build a model again from the remaining samples alone, and compare all bytes."""
        with self.site.database.reading() as transaction:
            row = self.site.model(transaction, name)
        return replay(self.site, row, self._executor, self._progress)

    def requests(self, dataset: str | None = None) -> list[request_sql.Request]:
        """All requests, oldest first."""
        with self.site.database.reading() as transaction:
            id_ = self.site.dataset(transaction, dataset).id if dataset else None
            return request_sql.all_of(transaction, id_)

    def facts(self) -> list[Recorded]:
        """All that was recorded, in order."""
        with self.site.database.reading() as transaction:
            return facts.read(transaction)

    def _append(self, name: str, source: Source, options: Ingest, readmit: bool) -> None:
        stock, shown = self.site.stock, self._progress.reading(f"reading into {name}")
        try:
            with (
                appending.staging(
                    stock, name, source, options, readmit=readmit, progress=shown.rows
                ) as staged,
                self.site.database.transaction() as transaction,
            ):
                appending.register(stock, transaction, staged)
        finally:
            shown.end()

    def _only_dataset(self, name: str | None) -> str:
        if name is not None:
            return name
        names = self.datasets()
        if len(names) != 1:
            raise InputError(f"Say `dataset=…`: this home has {len(names)} datasets.")
        return names[0]

    def _wake(self) -> None:
        if self._background:
            self._background.wake()


class _Background:
    """Runs ``work`` in a thread whenever it is woken; started at the first time."""

    def __init__(self, work: Any) -> None:  # noqa: ANN401 - a callable without arguments
        self._work, self._lock = work, Lock()
        self._event, self._stopping = Event(), Event()
        self._thread: Thread | None = None

    def wake(self) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            self._event.set()
            if self._thread is None:
                self._thread = Thread(target=self._run, name="expunge-recover", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; whoever stops it also ends what goes on, and joins."""
        with self._lock:
            self._stopping.set()
            self._event.set()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._event.wait()
            self._event.clear()
            if self._stopping.is_set():
                return
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - whoever waits for a receipt is told
                if self._stopping.is_set() and isinstance(error, WorkerFailed):
                    return  # closing killed the workers
                # No traceback: what others' errors say may quote a cell or an id.
                told = str(error) if isinstance(error, ExpungeError) else type(error).__name__
                _LOG.error(
                    "Rebuilding in the background failed; the next request resumes it. %s", told
                )


def open(  # noqa: A001 - read as `expunge.open`
    place: str | Path,
    *,
    files: str | Path | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    background: bool = True,
) -> Home:
    """Open a home, or make it.

    Args:
        place: A folder (SQLite lies in it), or a PostgreSQL URL.
        files: Folder of data and models; needed with a URL.
        executor: Where training runs; by default one worker process per core.
        progress: By default a live display on a terminal, and lines elsewhere.
        background: Rebuild in a background thread after each request, and now what an
            earlier process left. Without it, ``receipt.wait()`` and ``home.recover()`` rebuild.

    Raises:
        FormatUnsupported: The home was made by another version.
        HomeMismatch: The database and the folder do not belong together.
    """
    is_url = "://" in str(place)
    if is_url and files is None:
        raise InputError("A home in a database server needs `files=`, a folder for its data.")
    folder = Path(files if files is not None else place)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(str(place) if is_url else sqlite_url(folder / "expunge.sqlite"))
    identity.check(folder, database.create())
    home = Home(database, folder, executor=executor, progress=progress, background=background)
    for inside in (home.site.data, home.site.models):
        inside.mkdir(mode=0o700, exist_ok=True)  # the folder around may have been there, open
    if background and _is_unfinished(home.site):
        home._wake()
    return home


def _is_unfinished(site: Site) -> bool:
    """Whether rows wait for their destruction, or a model for its rebuild."""
    try:
        with site.database.reading() as transaction:
            known = site.all_models(transaction)
            return bool(data_sql.holding(transaction)) or any(
                versions.is_behind(site, transaction, model) for model in known
            )
    except (ExpungeError, OSError):
        return True  # damaged: recovering tells what it is


def _ids(given: Iterable[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        return (given,)
    return tuple(str(one) for one in given)


def _plain(value: Any) -> Any:  # noqa: ANN401 - a filter's value
    return tuple(value) if isinstance(value, (list, set, tuple)) else value
