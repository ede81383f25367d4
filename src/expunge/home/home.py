"""A home: one installation's data and models, and all that can be done with them.

Longer than other files, because it is the one object that users hold: a line or two of work under
each docstring.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, Final

from expunge.core.commitment import Opening
from expunge.core.errors import ExpungeError, InputError, UnknownName
from expunge.core.types import Guarantee, Schema
from expunge.data import appending
from expunge.data import sql as data_sql
from expunge.data.options import Ingest
from expunge.data.sources import Source
from expunge.execution import progress as progresses
from expunge.execution.local import Executor, Workers
from expunge.execution.progress import Progress
from expunge.home import auditing
from expunge.home.background import Background
from expunge.home.deciding import Deciding, ids
from expunge.home.model import Model
from expunge.home.people import Learning, People
from expunge.home.receipt import Receipt
from expunge.learners.protocol import Learner
from expunge.ledger import ladder, vault
from expunge.ledger.log import Ledger
from expunge.methods import METHODS
from expunge.methods.exact.rebuild import Rebuild
from expunge.requests import correct as corrections
from expunge.requests import forget, gates, life, successors
from expunge.requests import shred as shredding
from expunge.requests import sql as request_sql
from expunge.requests.certify import Certificate, Witness, certify
from expunge.requests.forecast import Forecast, forecast
from expunge.requests.forget import Wanted
from expunge.requests.kinds import Kind
from expunge.requests.restore import settle
from expunge.requests.restored import Restored
from expunge.requests.terms import DECLARED, Terms
from expunge.storage import facts
from expunge.storage.facts import Recorded
from expunge.training import export as exports
from expunge.training import models, package, sql, versions
from expunge.training.recipe import Sharded
from expunge.training.site import Site, forget_leftovers
from expunge.verify import certified, recording
from expunge.verify.certified import Claim, Replayed
from expunge.verify.replay import Replay, replay
from expunge.verify.report import Report
from expunge.verify.settings import Given, Settings

_KINDS: Final = tuple(kind.value for kind in Kind if kind is not Kind.CORRECT)
_SYNCING: Final = "The ledger could not be written; it is tried again every second."
_WATCHING: Final = "Looking for what is due failed; it is tried again every second."
_REBUILDING: Final = "Rebuilding in the background failed; the next request resumes it."


class Home(Deciding):
    """One installation's data and models. Use :func:`expunge.open`.

    Attributes:
        ledger: What was done, undeniably.
        restored: What opening it did because its database was older than its journal.
    """

    def __init__(
        self,
        site: Site,
        ledger: Ledger,
        *,
        executor: Executor | None = None,
        progress: Progress | None = None,
        background: bool = True,
    ) -> None:
        self.site, self.ledger = site, ledger
        self.restored: Restored | None = None
        self._executor = executor or Workers()
        self._progress = progress or progresses.default()
        self._recovering = Lock()
        self._rebuilding = Background(self.recover, _REBUILDING) if background else None
        self._writing = Background(ledger.sync, _SYNCING, every_s=1.0) if background else None
        self._watching = Background(self._watch, _WATCHING, every_s=1.0) if background else None

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free all processes, and end what is being rebuilt; opening the home again resumes it.

        Worker processes are killed, which loses nothing but their current slice. An executor
        without processes (:class:`Inline`) cannot be: then this waits until the rebuild ends.
        What was recorded is in the published ledger when this returns, unless another process
        is at it.
        """
        backgrounds = [b for b in (self._rebuilding, self._writing, self._watching) if b]
        for background in backgrounds:
            background.stop()
        self._executor.close()
        for background in backgrounds:
            background.join()
        try:
            self.ledger.sync()
        finally:
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
        Rebuild().run(self.site, model, self._executor, self._progress)
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

    def forget(  # noqa: PLR0913 - each says something else about a request
        self,
        samples: Iterable[str] = (),
        *,
        subjects: Iterable[str] = (),
        dataset: str | None = None,
        missing: str = "raise",
        method: str = DECLARED,
        kind: str = "erase",
        models: Iterable[str] | None = None,
        purpose: str | None = None,
        regime: str | None = None,
        received: datetime | None = None,
        effective: datetime | None = None,
        undo_s: float = 0.0,
        approval: bool = False,
        submitter: str = "",
    ) -> Receipt:
        """Make models forget samples, or all samples of subjects.

        Returns when no response can come from a model that saw them; a few milliseconds.
        Rebuilding follows in the background; ``receipt.wait()`` waits for it.

        Args:
            samples: Sample ids.
            subjects: Subjects; all their samples are forgotten.
            dataset: Its name; may be left out where the home has only one.
            missing: ``raise`` or ``ignore`` ids that the dataset never held.
            method: ``rebuild`` (also known as ``sisa`` and ``retrain``), ``certified`` or
                ``influence``; by default, each model's own. It may not weaken a model's guarantee.
            kind: ``erase``; ``expire`` (the same, when the time to keep them is over);
                ``restrict`` (nobody learns from them until ``home.lift``, and they are kept); or
                ``object`` (``models`` or a ``purpose`` only; they are kept).
            models: Names of those that are to forget; by default all of the dataset. Narrowed
                so, an erasure keeps the rows: other models learn from them.
            purpose: Those of this purpose are to forget, present and future ones.
            regime: The law or policy whose deadlines count, such as ``gdpr`` or ``ccpa``; or an
                own one, such as ``30d+15d``.
            received: When the request came in; by default now.
            effective: When it takes effect; by default now, never behind the deadline.
            undo_s: For how long it can be undone; rows are destroyed after that. Unit: seconds.
            approval: Whether a second person has to approve it first.
            submitter: A name for who sent it that is no personal data.

        Raises:
            NothingToForget: Neither samples nor subjects are named.
            SamplesUnknown: Some are not in the dataset; nothing is forgotten.
            MethodUnavailable: A model that is meant cannot forget by that method.
            UnknownName: There is no such model or regime.
            InputError: The terms do not fit together.
        """
        wanted = Wanted(ids(samples), ids(subjects), missing)
        terms = Terms(
            kind=_kind(kind),
            models=None if models is None else ids(models),
            purpose=purpose,
            method=method,
            regime=regime,
            received=received,
            effective=effective,
            undo_s=undo_s,
            approval=approval,
            submitter=submitter,
        )
        name = self.only_dataset(dataset)
        accepted = forget.accept(self.site, name, wanted, terms, exact_methods())
        self.wake()
        return Receipt(accepted, self)

    def forget_all(
        self, asked: Sequence[tuple[Wanted, Terms]], *, dataset: str | None = None
    ) -> list[Receipt | ExpungeError]:
        """Accept many requests in one transaction, for what one costs to wait for the disk.

        One that cannot be accepted is refused alone: its error stands in its place; so does
        JournalUnwritten where one is accepted, and not in the journal yet. As :meth:`forget` in
        all else, but that ``receipt.lost`` stays empty.

        Raises:
            UnknownName: There is no such dataset.
        """
        name = self.only_dataset(dataset)
        answers = forget.accept_all(self.site, name, asked, exact_methods())
        self.wake()
        return [one if isinstance(one, ExpungeError) else Receipt(one, self) for one in answers]

    def forecast(
        self,
        samples: Iterable[str] = (),
        *,
        subjects: Iterable[str] = (),
        dataset: str | None = None,
        missing: str = "raise",
        terms: Terms | None = None,
    ) -> Forecast:
        """What a request would cost and when it would be done, before it is made.

        Args:
            samples: Sample ids.
            subjects: Subjects; all their samples are meant.
            dataset: Its name; may be left out where the home has only one.
            missing: ``raise`` or ``ignore`` ids that the dataset never held.
            terms: On what terms; by default those of :meth:`forget`.

        Raises:
            NothingToForget: Neither samples nor subjects are named.
            SamplesUnknown: Some are not in the dataset.
            MethodUnavailable: A model that is meant cannot forget by that method.
            UnknownName: There is no such model or regime.
        """
        wanted, name = Wanted(ids(samples), ids(subjects), missing), self.only_dataset(dataset)
        return forecast(self.site, name, wanted, terms, possible=exact_methods())

    def correct(self, source: Any, *, dataset: str | None = None) -> Receipt:  # noqa: ANN401
        """Replace rows: forget the samples whose ids stand in ``source``, and append its rows.

        One transaction (GDPR Art. 16). The new rows are a batch of their own.

        Raises:
            SamplesUnknown: Some ids are not in the dataset; nothing is changed.
        """
        accepted = corrections.correct(self.site, self.only_dataset(dataset), source)
        self.wake()
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
        """Do all that is due: let requests take effect, make every model whole, destroy rows.

        Resumes after a crash.

        Raises:
            GateClosed: What is missing would bring a model below its floor. It is not built
                again for that: change the gate, or train the model.
            ExpungeError: A model could not be rebuilt; the others were, and what none of them
                waits for is destroyed.
        """
        failures: list[ExpungeError] = []
        with self._recovering:
            forget_leftovers(self.site)
            life.take_effect(self.site)
            with self.site.database.reading() as transaction:
                behind = [
                    model
                    for model in self.site.all_models(transaction)
                    if versions.is_behind(self.site, transaction, model)
                ]
            for model in behind:
                try:
                    gates.check(self.site, model)
                    Rebuild().run(self.site, model, self._executor, self._progress)
                except ExpungeError as error:
                    failures.append(error)
            life.tend(self.site)
            settle(self.site)
        if failures:
            raise failures[0]

    def verify(self, name: str) -> Replay:
        """Build a model again from the remaining samples alone, and compare all bytes.

        What it found is recorded, and stands in certificates from then on.
        """
        with self.site.database.reading() as transaction:
            row = self.site.model(transaction, name)
            sql.check_in_service(transaction, row)
        found = replay(self.site, row, self._executor, self._progress)
        with self.site.database.transaction() as transaction:
            facts.record(transaction, recording.fact(found, row))
        return found

    def audit(
        self,
        name: str,
        *,
        forgot: Any = None,  # noqa: ANN401 - any table
        unseen: Any = None,  # noqa: ANN401 - any table
        unseen_dataset: str | None = None,
        settings: Settings | None = None,
    ) -> Report:
        """Attack a model, and compare it with models that never saw the forgotten rows.

        Costs training 16 models with the default settings, less where an earlier audit did. What
        it found is recorded, and stands in certificates from then on.

        Args:
            name: Of the model: a classifier.
            forgot: A table of forgotten rows, with the view's features and its target; by
                default those that are held still, which is until they are destroyed.
            unseen: Such a table of rows of the same kind that were never in the dataset. Without
                it, what needs them is inconclusive.
            unseen_dataset: Name of another dataset of the home that has such rows, instead.
            settings: Margins, numbers of models, seed: all that is fixed beforehand.

        Raises:
            InputError: The model is a regression, there is no forgotten row to ask about, or
                rows do not fit the view.
            LibraryMissing: SciPy is not installed.
            ModelWithdrawn: No clean constituent of it is left.
            PlanStale: Rows were destroyed meanwhile. Audit again.
        """
        given = Given(forgot, unseen, unseen_dataset)
        work = (self._executor, self._progress)
        return auditing.audit(self.site, name, given, settings or Settings(), work)

    def certificate(self, request: str, witnesses: Sequence[Witness] = ()) -> Certificate:
        """The certificate of a request that is done, for a stranger to check.

        Issued once; asked for again, it is the same bytes.

        Args:
            request: Its id.
            witnesses: Those that are to cosign the tree that the certificate is proven by.

        Raises:
            UnknownName: There is no such request.
            CertificateNotReady: Models or rows still wait.
            WitnessRefused: A witness does not cosign; nothing is issued.
        """
        return certify(self.site, self.ledger, request, witnesses)

    def replay(
        self, claims: Sequence[Claim], certificate: bytes, share: float = 1.0
    ) -> tuple[Replayed, ...]:
        """Build again what a certificate names, all or a ``share`` of it, and compare bytes.

        Args:
            claims: What the certificate says, one for each model.
            certificate: SHA-256 of its statement, which chooses the share.
            share: Part of each model's constituents, in (0, 1].
        """
        work = (self._executor, self._progress)
        return certified.from_home(self.site, claims, certificate, *work, share)

    def export(self, name: str, folder: str | Path) -> dict[str, str]:
        """Write what a model serves into an empty folder, for use elsewhere.

        That is recorded: a copy that left cannot be made to forget, and certificates list it.

        Returns:
            SHA-256 of each file, hexadecimal, by name.

        Raises:
            InputError: The folder is not empty.
        """
        with self.site.database.reading() as transaction:
            row = self.site.model(transaction, name)
            sql.check_in_service(transaction, row)
            version = sql.current(transaction, row.id)
        if version is None:
            raise UnknownName("published version of model", name, [])
        return exports.export(self.site, row, version, folder)

    def package(self, dataset: str, folder: str | Path) -> None:
        """Write the remaining rows of a dataset, with what a replay needs, into a folder.

        For an auditor who replays certificates without this home. No byte of a forgotten row is
        in it, but everybody else's rows are.
        """
        package.write(self.site, dataset, folder)

    def opening(self, request: str, *, sample: str = "", subject: str = "") -> Opening:
        """What shows that a request named somebody, for that person's own receipt.

        It opens one commitment of the ledger's entry ``request.received``. Personal data.

        Raises:
            UnknownName: The request did not name it, or its keys were destroyed.
            InputError: Neither a sample nor a subject is named, or both are.
        """
        if bool(sample) == bool(subject):
            raise InputError("Name one sample or one subject.")
        named = ("sample", sample) if sample else ("subject", subject)
        with self.site.database.reading() as transaction:
            return vault.opening(transaction, request, *named)

    def shred(self, request: str) -> int:
        """Destroy the keys of a request's commitments; see ``docs/ledger.md``.

        Returns:
            How many there were. From then on nobody can show whom the request named.
        """
        return shredding.shred(self.site, request)

    def shred_older_than(self, days: float = shredding.RETENTION_DAYS) -> int:
        """The same for all requests that are done and older. Returns how many had keys."""
        return shredding.shred_older_than(self.site, days)

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
                if readmit:
                    successors.readmit(self.site, transaction, staged)
                appending.register(stock, transaction, staged)
        finally:
            shown.end()

    def wake(self) -> None:
        """Rebuild what is not whole, if this home has a background."""
        if self._rebuilding:
            self._rebuilding.wake()

    def keep_time(self) -> None:
        """Begin to look every second for requests whose moment has come, in the background."""
        if self._watching:
            self._watching.wake()

    def _watch(self) -> None:
        if life.take_effect(self.site) or life.is_due(self.site):
            self.wake()

    def keep_ledger(self) -> None:
        """Begin to write the ledger, every second, if this home has a background."""
        if self._writing:
            self._writing.wake()


@cache
def exact_methods() -> tuple[str, ...]:
    """Names of the methods that rebuild."""
    # By their names: a method of a learner imports its framework.
    return tuple(name for name in METHODS if ladder.strongest(name) is Guarantee.EXACT)


def _kind(given: str) -> Kind:
    if given not in _KINDS:
        raise InputError(f"`kind` must be one of {', '.join(_KINDS)}; got {given!r}.")
    return Kind(given)
