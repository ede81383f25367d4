"""Audits that a server owes: asked for, or due by its policy. Rows are the truth, as with units.

Whoever builds also audits, one at a time in a home. An audit comes before the destruction of what
it asks about: while one waits or runs, nothing is destroyed. A process that dies over an audit
leaves it to the next; what it trained is kept, so little is done twice.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from expunge.core.errors import ExpungeError, ServerBusy, UnknownName
from expunge.data import sql as data_sql
from expunge.execution.local import Executor
from expunge.execution.progress import Progress
from expunge.home import auditing
from expunge.storage import facts
from expunge.storage.database import METADATA, now
from expunge.storage.facts import FACTS
from expunge.storage.locks import alone_if_free
from expunge.training import sql
from expunge.training.site import Site
from expunge.training.sql import Model
from expunge.verify.gold_figures import Margins
from expunge.verify.report import Report
from expunge.verify.settings import Given, Settings

_LOG: Final = logging.getLogger(__name__)
_LOCK: Final = "owed-audits.lock"
_MOST_OWED: Final = 100
"""Each costs trainings, and nothing is destroyed before it is done."""


class State(StrEnum):
    """Of an audit."""

    OPEN = "open"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


AUDITS: Final = sa.Table(
    "audit",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("model", sa.String(40), nullable=False, index=True),
    sa.Column("state", sa.String(10), nullable=False, index=True),
    sa.Column("asked", sa.String(27), nullable=False),
    # Number of the last fact at that time: what was forgotten behind it is for the next one.
    sa.Column("after", sa.Integer, nullable=False),
    sa.Column("finished", sa.String(27)),
    sa.Column("by_policy", sa.Boolean, nullable=False),
    sa.Column("unseen", sa.String(200)),
    sa.Column("settings", sa.Text, nullable=False),
    sa.Column("report", sa.Text),
    sa.Column("error", sa.String(60)),
)
"""Models by their folders' names."""

_MODELS: Final = sa.table("model", sa.column("folder"), sa.column("name"))
_OWED: Final = AUDITS.c.state.in_([State.OPEN, State.RUNNING])


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be audited, and how.

    Attributes:
        unseen: Name of a dataset whose rows no model saw; None where there is none.
        settings: All that is fixed beforehand.
    """

    model: str
    unseen: str | None = None
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True, slots=True)
class Owed:
    """An audit that was asked for, or was due.

    Attributes:
        model: Name of the model's folder.
        by_policy: Whether it was due by the policy.
        report: What it found; None before its end.
        error: Why there is no report; None where none is missing.
    """

    id: str
    model: str
    state: State
    asked: str
    finished: str | None
    by_policy: bool
    unseen: str | None
    settings: Mapping[str, Any]
    report: Mapping[str, Any] | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Policy:
    """When a model is compared with retrained ones though nobody asks.

    Attributes:
        requests: After so many requests that it forgot something by; 0: never for that.
        days: After so many days in which it forgot something; 0: never for that.
        unseen: As :class:`Wanted` has it.
    """

    requests: int = 0
    days: float = 0.0
    unseen: str | None = None

    @property
    def ever(self) -> bool:
        """Whether it asks for anything."""
        return bool(self.requests or self.days)


def ask(site: Site, wanted: Wanted) -> Owed:
    """Have a model audited, by whoever audits next.

    Raises:
        UnknownName: There is no such model, or no such dataset.
        ModelRetired: It is out of service.
        ServerBusy: A hundred are owed already.
    """
    with site.database.transaction() as transaction:
        if owed(transaction) >= _MOST_OWED:
            raise ServerBusy
        model = site.model(transaction, wanted.model)
        sql.check_in_service(transaction, model)
        if wanted.unseen is not None:
            site.dataset(transaction, wanted.unseen)
        return _enter(transaction, model, wanted, by_policy=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a model stood at its last audit.

    Attributes:
        verdict: ``passed``, ``failed`` or ``inconclusive``.
        at: RFC 3339.
    """

    model: str
    method: str
    verdict: str
    at: str


def standings(transaction: sa.Connection) -> list[Standing]:
    """The last audit of each model by each method, replays too. Reads all that there were."""
    rows = transaction.execute(sa.select(_MODELS.c.folder, _MODELS.c.name))
    names = {row.folder: row.name for row in rows}
    last = {
        (one.body["model"], one.body["method"]): one
        for one in facts.read(transaction, kinds=["audit.finished"])
        if one.body["model"] in names
    }
    return [
        Standing(names[folder], method, one.body["verdict"], one.at)
        for (folder, method), one in sorted(last.items())
    ]


def owed(transaction: sa.Connection) -> int:
    """How many wait or run."""
    return transaction.execute(sa.select(sa.func.count()).where(_OWED)).scalar_one()


def find(site: Site, name: str, id_: str) -> Owed:
    """One audit of a model.

    Raises:
        UnknownName: There is no such model, or no such audit of it.
    """
    for one in listed(site, name):
        if one.id == id_:
            return one
    raise UnknownName("audit of that model", id_, [])


def listed(site: Site, name: str, most: int = 100) -> list[Owed]:
    """Audits of a model, newest first.

    Raises:
        UnknownName: There is no such model.
    """
    with site.database.reading() as transaction:
        folder = site.model(transaction, name).folder.name
        query = sa.select(AUDITS).where(AUDITS.c.model == folder)
        rows = transaction.execute(query.order_by(AUDITS.c.number.desc()).limit(most))
        return [_owed(row) for row in rows]


def tend(site: Site, policy: Policy, work: tuple[Executor, Progress]) -> bool:
    """Do the audits that are owed. Costs training some models where one is, else two queries.

    Returns:
        Whether none is owed any more, so that rows may be destroyed.
    """
    if policy.ever:
        _want_due(site, policy)
    if not _any_owed(site):
        return True
    with alone_if_free(site.root / _LOCK) as free:
        while free and (one := _next(site)) is not None:
            _run(site, one, work)
    return free


def _want_due(site: Site, policy: Policy) -> None:
    with site.database.reading() as transaction:
        models = site.all_models(transaction)
        due = [model for model in models if _is_due(transaction, model, policy)]
    for model in due:
        with site.database.transaction() as transaction:
            data_sql.lock(transaction, model.dataset)  # another worker may have seen it, too
            if _is_due(transaction, model, policy):
                _enter(transaction, model, Wanted(model.name, policy.unseen), by_policy=True)


def _is_due(transaction: sa.Connection, model: Model, policy: Policy) -> bool:
    """Whether enough was forgotten since the last audit was asked for, whatever became of it.

    Only of a model that is whole: another is soon another one.
    """
    version = sql.current(transaction, model.id)
    if version is None or not version.whole:
        return False
    of_model = AUDITS.c.model == model.folder.name
    query = sa.select(sa.func.max(AUDITS.c.after), sa.func.max(AUDITS.c.asked)).where(of_model)
    after, asked = transaction.execute(query).one()
    told = facts.read(transaction, kinds=["request.forgotten"], after=after or 0)
    times = [one.at for one in told if one.body["model"] == model.folder.name]
    if not times:
        return False
    since = datetime.now(UTC) - datetime.fromisoformat(asked or times[0])
    old = bool(policy.days) and since >= timedelta(days=policy.days)
    return old or 0 < policy.requests <= len(times)


def _enter(transaction: sa.Connection, model: Model, wanted: Wanted, *, by_policy: bool) -> Owed:
    id_ = str(uuid.uuid4())
    transaction.execute(
        AUDITS.insert().values(
            id=id_,
            model=model.folder.name,
            state=State.OPEN,
            asked=now(),
            after=transaction.execute(sa.select(sa.func.max(FACTS.c.number))).scalar() or 0,
            by_policy=by_policy,
            unseen=wanted.unseen,
            settings=json.dumps(asdict(wanted.settings)),
        )
    )
    row = transaction.execute(sa.select(AUDITS).where(AUDITS.c.id == id_)).one()
    return _owed(row)


def _any_owed(site: Site) -> bool:
    with site.database.reading() as transaction:
        return owed(transaction) > 0


def _next(site: Site) -> Owed | None:
    """The oldest that is owed. One that runs was left by somebody who died: we are alone."""
    with site.database.transaction() as transaction:
        query = sa.select(AUDITS).where(_OWED).order_by(AUDITS.c.number).limit(1)
        row = transaction.execute(query).first()
        if row is None:
            return None
        _set(transaction, row.id, {"state": State.RUNNING})
        return _owed(row)


def _run(site: Site, one: Owed, work: tuple[Executor, Progress]) -> None:
    try:
        report = _audited(site, one, work)
    except ExpungeError as error:
        _LOG.warning("An audit of model %s failed: %s", one.model, error)
        _end(site, one, State.FAILED, {"error": error.code})
        return
    _end(site, one, State.DONE, {"report": json.dumps(report.to_json())})


def _audited(site: Site, one: Owed, work: tuple[Executor, Progress]) -> Report:
    with site.database.reading() as transaction:
        known = {model.folder.name: model for model in site.all_models(transaction)}
    if one.model not in known:
        raise UnknownName("model", one.model, known)
    given = Given(unseen_dataset=one.unseen)
    return auditing.audit(site, known[one.model].name, given, _settings(one), work)


def _settings(one: Owed) -> Settings:
    fields = dict(one.settings)
    rates = tuple(map(tuple, fields.pop("rates")))
    return Settings(**{**fields, "rates": rates, "further": Margins(**fields["further"])})


def _end(site: Site, one: Owed, state: State, values: Mapping[str, str]) -> None:
    with site.database.transaction() as transaction:
        _set(transaction, one.id, {"state": state, "finished": now(), **values})


def _set(transaction: sa.Connection, id_: str, values: Mapping[str, str]) -> None:
    transaction.execute(AUDITS.update().where(AUDITS.c.id == id_).values(values))


def _owed(row: sa.Row[Any]) -> Owed:
    return Owed(
        id=row.id,
        model=row.model,
        state=State(row.state),
        asked=row.asked,
        finished=row.finished,
        by_policy=row.by_policy,
        unseen=row.unseen,
        settings=json.loads(row.settings),
        report=None if row.report is None else json.loads(row.report),
        error=row.error,
    )
