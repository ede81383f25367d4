"""Evidence about one request: read off the ledger's facts, the database and the served bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Final

import sqlalchemy as sa

from expunge import learners
from expunge.core.digest import Json
from expunge.core.types import Guarantee
from expunge.data import sql as data_sql
from expunge.data.datasets import Ground
from expunge.data.places import Place
from expunge.ledger import absence as proofs
from expunge.ledger import statement
from expunge.ledger.log import Ledger
from expunge.ledger.statement import Evidence
from expunge.requests import entries, sql, stories
from expunge.requests.stories import Served, Story
from expunge.requests.terms import covers
from expunge.storage.database import now
from expunge.storage.facts import Recorded
from expunge.training import absence, export
from expunge.training import recipe as recipes
from expunge.training import sql as training_sql
from expunge.training.site import Site
from expunge.training.sql import Model, Version

SHOWN: Final = 64
"""Of at most so many forgotten rows a certificate shows the absence, in each model."""

_COMPARATOR: Final = (
    "The model that the same recipe and the same keys make, in the same runtime, from the rows "
    "that remain: it never saw the forgotten ones."
)
_ASSUMPTIONS: Final = ("SHA-256 and HMAC-SHA-256 are not broken.",)


def collect(
    site: Site,
    transaction: sa.Connection,
    ledger: Ledger,
    request: str,
    witnesses: Sequence[str] = (),
) -> Evidence | None:
    """All that is known about a request that is done. Costs reading what is served.

    None where something of it has no place in the tree yet.

    Args:
        site: What the home stands on.
        transaction: Sees it all at one moment.
        ledger: The home's; all that is told must be in its tree.
        request: Its id.
        witnesses: Names of those that cosign the log.
    """
    row = sql.find(transaction, request)
    ground = site.ground(transaction, row.dataset)
    served = [
        (model, version)
        for model in site.models_of(transaction, row.dataset)
        if (version := training_sql.current(transaction, model.id)) is not None
    ]
    story = stories.read(transaction, request, served)
    told = _told(story, ground, served)
    if any(fact.entry is None for fact in told):
        return None
    places = data_sql.tombstones_of(transaction, row.dataset, request)
    rows = sorted(map(ground.leaf, _received(story, ground, places)))
    shown = _spread(len(rows))
    return Evidence(
        request=_request(row, story),
        dataset=_dataset(ground, story),
        models=tuple(_model(row, model, version, story, ground) for model, version in served),
        entries=tuple(map(entry, told)),
        log=statement.Log(ledger.origin, ledger.vkey, tuple(witnesses)),
        software=statement.Software(_software()),
        issued=now(),
        destroyed=_destroyed(story),
        rows=tuple(rows),
        absences=tuple(
            statement.Absence(model.folder.name, index, document)
            for model, version in served
            if covers(row.scopes, model) and not _forgot(model, version, story)
            for index, document in _absent(model, version, ground, {i: rows[i] for i in shown})
            # Of an id that came in again, only a correction can say that its old row is gone.
            if row.kind == "correct" or not proofs.returned(document, rows[index])
        ),
    )


def _received(story: Story, ground: Ground, places: Sequence[Place]) -> list[Place]:
    """Those rows of a request that it named when it was received, sorted.

    None where they are not all known: a restored backup may lack some.
    """
    received, folder = story.received(), ground.dataset.folder.name
    then = {f.body["number"] for f in _ingested(story, folder) if f.number < received.number}
    # What corrections made of them since is forgotten by it as well, and came later.
    for named in (sorted(places), sorted(place for place in places if place.batch in then)):
        if entries.rows_root(ground, named) == received.body["rows"]:
            return named
    return []


def _absent(
    model: Model, version: Version, ground: Ground, rows: Mapping[int, bytes]
) -> Iterable[tuple[int, dict[str, Json]]]:
    documents = absence.prove_all(model, version, ground, list(rows.values()))
    return zip(rows, documents, strict=True)


def entry(fact: Recorded) -> statement.Entry:
    """A fact in its place in the tree."""
    assert fact.entry is not None
    return statement.Entry(fact.entry, fact.leaf)


def _spread(rows: int) -> list[int]:
    """Which rows' absence is shown: all, or some that stand evenly among them."""
    count = min(rows, SHOWN)
    return [index * rows // count for index in range(count)]


def _told(story: Story, ground: Ground, served: Served) -> list[Recorded]:
    """The facts whose entries stand in the certificate, in the order of the tree."""
    folder = ground.dataset.folder.name
    told = [*story.own, *_ingested(story, folder), *story.destroyed, *story.restored]
    forgot = {f.body["model"] for f in story.own if f.kind == "request.forgotten"}
    told += [f for f in story.earlier if f.kind == "model.retired" and f.body["model"] in forgot]
    for model, _ in served:
        told += [*story.of(model, "model.created"), story.versions[model.folder.name]]
        for kind in ("unit.rebuilt", "unit.forgot", "audit.finished", "model.exported"):
            told += story.of(model, kind)
    return sorted({fact.number: fact for fact in told}.values(), key=lambda fact: fact.entry or 0)


def _ingested(story: Story, folder: str) -> list[Recorded]:
    return [
        f for f in story.earlier if f.kind == "dataset.ingested" and f.body["dataset"] == folder
    ]


def _request(row: sql.Request, story: Story) -> statement.Request:
    received = story.received()
    body = received.body
    scoped = next((fact.body for fact in story.own if fact.kind == "request.scoped"), None)
    models = None if scoped is None or scoped["models"] is None else tuple(scoped["models"])
    events = [f for f in story.own if f.kind in statement.EVENTS]
    forgotten = [fact.at for fact in story.own if fact.kind == "request.forgotten"]
    return statement.Request(
        id=row.id,
        kind=row.kind,
        received=received.at,
        effective=max(forgotten, default=received.at),
        samples=body["samples"],
        already=body["already"],
        identifiers=body["identifiers"]["count"],
        identifiers_root=body["identifiers"]["root"],
        rows_root=body["rows"],
        events=tuple(statement.Event.of(fact.at, fact.kind, fact.body) for fact in events),
        models=models,
        purpose=scoped["purpose"] if scoped else None,
        regime=row.regime,
    )


def _dataset(ground: Ground, story: Story) -> statement.Dataset:
    dataset = ground.dataset
    batches = [
        statement.Batch(
            fact.body["number"],
            fact.body["rows"],
            tuple((tier, root) for tier, root in fact.body["roots"]),
        )
        for fact in _ingested(story, dataset.folder.name)
    ]
    return statement.Dataset(
        name=dataset.name,
        id=dataset.folder.name,
        schema=dataset.schema.digest.hex(),
        schema_adopted=dataset.schema.adopted,
        batches=tuple(batches),
    )


def _model(
    row: sql.Request, model: Model, version: Version, story: Story, ground: Ground
) -> statement.Model:
    learner = model.recipe.learner
    return statement.Model(
        name=model.name,
        id=model.folder.name,
        promise=_promise(model, version, story, ground),
        recipe=statement.Recipe(
            model.recipe.digest.hex(),
            model.aggregate,
            str(learner["name"]),
            int(learner["revision"]),  # type: ignore[arg-type] # it is a number
        ),
        forgotten=_forgotten(model, story),
        served=statement.Served(
            version.number,
            version.digest,
            version.whole,
            sum(c.frame.samples for c in version.constituents if c.frame),
            tuple(c.frame.name.hex() if c.frame else None for c in version.constituents),
        ),
        files=export.files(model, version),
        runtimes=_runtimes(model, version),
        concerned=covers(row.scopes, model),
        rebuilt=_rebuilt(model, story),
        exports=tuple(
            statement.Export(fact.at, fact.body["version"], fact.body["files"])
            for fact in story.of(model, "model.exported")
        ),
        audits=tuple(map(_audit, story.of(model, "audit.finished"))),
    )


def _forgot(model: Model, version: Version, story: Story) -> bool:
    """Whether something that is served came about by a method that is no build."""
    made = {fact.body["name"] for fact in story.forgot if fact.body["model"] == model.folder.name}
    return any(c.frame and c.frame.name.hex() in made for c in version.constituents)


def _promise(model: Model, version: Version, story: Story, ground: Ground) -> statement.Promise:
    """What is promised of what is served: by the method that made it, not by what was declared."""
    learner = learners.declared(model.recipe.learner)
    if learner is None or (learner.canonical and not _forgot(model, version, story)):
        return statement.Promise("rebuild", Guarantee.EXACT, _COMPARATOR, _ASSUMPTIONS)
    task = recipes.task(model.recipe.view, ground.dataset.schema)
    releases = max(len(story.answering[model.folder.name]), 1) * model.recipe.shards
    made = learner.promise(task, releases)
    return statement.Promise(
        learner.method, made.guarantee, made.comparator, made.assumptions, made.parameters
    )


def _forgotten(model: Model, story: Story) -> statement.Forgotten | None:
    facts_of = story.of(model, "request.forgotten")
    if not facts_of:
        return None
    fact = facts_of[-1]
    names = fact.body["names"]
    return statement.Forgotten(
        at=fact.at,
        before=story.version(model, fact.body["before"]),
        after=story.version(model, fact.body["version"]),
        changed=fact.body["changed"],
        names=None if names is None else tuple(statement.Changed(*one) for one in names),
    )


def _rebuilt(model: Model, story: Story) -> statement.Rebuilt | None:
    units = [fact.body for fact in story.of(model, "unit.rebuilt")]
    if not units:
        return None
    return statement.Rebuilt(
        at=story.versions[model.folder.name].at,
        units=len(units),
        samples=sum(unit["samples"] for unit in units),
        seconds=math.fsum(unit["seconds"] for unit in units),
        destroyed=sum(unit["destroyed"] for unit in units),
    )


def _audit(fact: Recorded) -> statement.Audit:
    figures = {key: value for key, value in fact.body["figures"].items() if key != "thresholds"}
    body = fact.body
    thresholds = body["figures"].get("thresholds", {})
    return statement.Audit(
        body["method"], body["version"], body["verdict"], fact.at, figures, thresholds
    )


def _runtimes(model: Model, version: Version) -> tuple[statement.Runtime, ...]:
    """Of the packs that are served, as they were described when they were built."""
    names = {c.pack.split(".")[1] for c in version.constituents if c.pack}
    found = [path for path in sorted(model.folder.glob("*.json")) if path.stem[:16] in names]
    return tuple(statement.Runtime(path.stem, json.loads(path.read_bytes())) for path in found)


def _destroyed(story: Story) -> statement.Destroyed | None:
    if not story.destroyed:
        return None
    bodies = [fact.body for fact in story.destroyed]
    return statement.Destroyed(
        at=story.destroyed[-1].at,
        rows=sum(body["rows"] for body in bodies),
        checkpoints=sum(sum(body["frames"].values()) for body in bodies),
        requests=len({one for body in bodies for one in body["requests"]}),
    )


def _software() -> str:
    try:
        return metadata.version("expunge")
    except metadata.PackageNotFoundError:
        return "unknown"
