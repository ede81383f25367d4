"""Does the log tell what the statement says? The story of a request, entry by entry.

Received, then forgotten by each model, then destroyed, then certified, in this order of the
log; and each figure, digest, name and time of the statement is that of its entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from expunge.core.errors import CertificateInvalid
from expunge.ledger.opened import Entry, Opened
from expunge.ledger.predicate import RESTORED
from expunge.ledger.statement import EVENTS, Event, Model, VersionRef

CORRECT = "correct"

_ENDS = ("request.cancelled", "request.refused", "request.undone")


def told(opened: Opened) -> str:
    """Check that the story is complete, in order, and the one that the statement tells.

    Raises:
        CertificateInvalid: A step is missing, there twice, out of order, or says otherwise.
    """
    received = _received(opened)
    forgotten, destroyed = _forgotten(opened, received), _destroyed(opened)
    _follow(received, forgotten)
    for entry in forgotten:
        _follow(entry, destroyed[-1:])
    _committed(opened, received)
    _on_its_way(opened, received)
    models = sum(model.forgotten is not None for model in opened.claims.models)
    return f"Received, forgotten by {models} models, destroyed, in this order of the log."


def _follow(before: Entry, entries: Iterable[Entry]) -> None:
    for entry in entries:
        if entry.index <= before.index:
            raise CertificateInvalid(
                f"The story is out of order: entry {entry.index:,} ({entry.kind}) should come "
                f"after entry {before.index:,} ({before.kind})."
            )


def _received(opened: Opened) -> Entry:
    request = opened.claims.request
    entry = _one(opened, "request.received")
    _same(
        entry,
        {
            "dataset": opened.claims.dataset.id,
            "kind": request.kind,
            "samples": request.samples,
            "already": request.already,
            "identifiers": {"count": request.identifiers, "root": request.identifiers_root},
            "rows": request.rows_root,
        },
        request.received,
    )
    if request.kind == CORRECT and not opened.of_kind(RESTORED):
        _one(opened, "request.corrected")
    for kind in _ENDS:
        if opened.of_kind(kind):
            raise CertificateInvalid(f"The log has an entry {kind!r}: nothing was forgotten.")
    return entry


def _on_its_way(opened: Opened, received: Entry) -> None:
    """On what terms it was made, and what became of it until it was done."""
    request = opened.claims.request
    scoped, terms = opened.of_kind("request.scoped"), opened.of_kind("request.terms")
    if len(scoped) != request.is_narrowed or len(terms) > 1:
        raise CertificateInvalid("The statement has other terms of the request than the log.")
    if scoped:
        models = None if request.models is None else list(request.models)
        _equal(scoped[0], scoped[0].body, {"models": models, "purpose": request.purpose})
    if (terms[0].body.get("regime") if terms else None) != request.regime:
        raise CertificateInvalid("The log has another regime of the request than the statement.")
    told = tuple(e for e in opened.entries if e.kind in EVENTS)
    _follow(received, told)
    if tuple(Event.of(e.at, e.kind, e.body) for e in told) != request.events:
        raise CertificateInvalid("The log tells otherwise what became of the request on its way.")


def _forgotten(opened: Opened, received: Entry) -> tuple[Entry, ...]:
    """One entry for each model; a model that came later has nothing to forget."""
    entries = opened.of_kind("request.forgotten")
    # A restored home forgets again what its journal says; the last time is what holds now.
    last = {str(entry.body.get("model")): entry for entry in entries}
    for model in opened.claims.models:
        _concerns(opened, model)
        entry = last.pop(model.id, None)
        if not model.concerned:
            if entry is not None or model.forgotten is not None:
                raise CertificateInvalid(f"Model {model.id!r} forgot, and is not concerned.")
        elif entry is not None:
            _same_change(entry, model)
        elif opened.claims.request.samples and not _came_later(opened, model, received):
            raise CertificateInvalid(f"No entry says that model {model.id!r} forgot.")
        elif model.forgotten is not None:
            raise CertificateInvalid(f"Model {model.id!r} is said to have forgotten; no entry.")
    retired = {entry.body.get("model") for entry in opened.of_kind("model.retired")}
    if left := last.keys() - retired:
        raise CertificateInvalid(f"The statement leaves out model {min(left)!r}, which forgot.")
    return entries


def _concerns(opened: Opened, model: Model) -> None:
    """Whether the request is about a model: of a purpose, only the owner can say."""
    request = opened.claims.request
    named = not request.is_narrowed or model.id in (request.models or ())
    if model.concerned != named and (named or request.purpose is None):
        raise CertificateInvalid(
            f"The statement says otherwise than the log whether model {model.id!r} is concerned."
        )


def _same_change(entry: Entry, model: Model) -> None:
    change = model.forgotten
    if change is None:
        raise CertificateInvalid(f"The statement does not say how model {model.id!r} forgot.")
    names = change.names
    body = {
        "model": model.id,
        "before": _digest(change.before),
        "version": _digest(change.after),
        "changed": change.changed,
        "names": None if names is None else [[c.shard, c.before, c.after] for c in names],
    }
    _same(entry, body, change.at)
    gone = {c.before for c in names or () if c.before is not None}
    if names is not None and len(names) != change.changed:
        raise CertificateInvalid(f"Entry {entry.index:,} counts other changes than it lists.")
    if gone & set(model.served.names):
        raise CertificateInvalid(f"Model {model.id!r} serves a name that it was said to forget.")


def _came_later(opened: Opened, model: Model, received: Entry) -> bool:
    created = [e for e in opened.of_kind("model.created") if e.body.get("model") == model.id]
    return bool(created) and created[0].index > received.index


def _destroyed(opened: Opened) -> tuple[Entry, ...]:
    found, claimed = opened.of_kind("checkpoint.destroyed"), opened.claims.destroyed
    request = opened.claims.request
    if not found or claimed is None:
        if found or claimed or (request.samples and not request.keeps_rows):
            raise CertificateInvalid("No entry says that the rows were destroyed.")
        return ()
    for entry in found:
        if entry.body.get("dataset") != opened.claims.dataset.id:
            raise CertificateInvalid(f"Entry {entry.index:,} ({entry.kind}) is of another dataset.")
    logged = {
        "rows": sum(entry.body.get("rows", 0) for entry in found),
        "frames": sum(sum(entry.body.get("frames", {}).values()) for entry in found),
        "requests": len({one for entry in found for one in entry.body.get("requests", ())}),
    }
    counts = {"rows": claimed.rows, "frames": claimed.checkpoints, "requests": claimed.requests}
    _equal(found[-1], logged, counts)
    _at(found[-1], claimed.at)
    return found


def _committed(opened: Opened, received: Entry) -> None:
    """The samples were committed to before, and the recipes are those of the log."""
    dataset = opened.claims.dataset
    batches = {entry.body.get("number"): entry for entry in opened.of_kind("dataset.ingested")}
    if batches.keys() != {batch.number for batch in dataset.batches}:
        raise CertificateInvalid("The statement's batches of samples are not those of the log.")
    for batch in dataset.batches:
        body = {
            "dataset": dataset.id,
            "rows": batch.rows,
            "number": batch.number,
            "schema": dataset.schema,
            "schema_adopted": dataset.schema_adopted,
            "roots": [[tier, root] for tier, root in batch.roots],
        }
        _equal(batches[batch.number], batches[batch.number].body, body)
    if batches and min(entry.index for entry in batches.values()) > received.index:
        raise CertificateInvalid("No samples were committed to before the request was received.")


def _one(opened: Opened, kind: str) -> Entry:
    found = opened.of_kind(kind)
    if len(found) != 1:
        raise CertificateInvalid(
            f"Expected one entry {kind!r} of this request, found {len(found)}."
        )
    return found[0]


def _same(entry: Entry, body: Mapping[str, Any], at: str) -> None:
    _equal(entry, entry.body, body)
    _at(entry, at)


def _equal(entry: Entry, logged: Mapping[str, Any], claimed: Mapping[str, Any]) -> None:
    names = sorted(logged.keys() | claimed.keys())
    other = [n for n in names if n not in logged or n not in claimed or logged[n] != claimed[n]]
    if other:
        raise CertificateInvalid(
            f"Entry {entry.index:,} ({entry.kind}) and the statement differ in {other[0]!r}."
        )


def _at(entry: Entry, claimed: str) -> None:
    if entry.at != claimed:
        raise CertificateInvalid(
            f"Entry {entry.index:,} ({entry.kind}) has another time than the statement."
        )


def _digest(version: VersionRef | None) -> str | None:
    return None if version is None else version.digest
