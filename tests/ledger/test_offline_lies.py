"""Lies of an owner who holds all keys: one for each rule of a certificate's story.

The golden files have the attacks that matter most; here is the rest, so that no check can be
taken out unnoticed. Each is signed and logged as the real thing would be.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from expunge.core import jcs, names
from expunge.core.types import Guarantee
from expunge.ledger import certificate, issue, offline, predicate, proof
from expunge.ledger.predicate import Claims
from expunge.ledger.statement import Entry, Event, Evidence, Forgotten, Promise
from expunge.storage.facts import Fact, leaf
from expunge.testing.certificates import MadeUp

HOME = MadeUp(plain=True)
TRUE = HOME.evidence
MODEL = TRUE.models[0]
Leaves = list[bytes]


def said(data: bytes) -> dict[str, str]:
    """What failed, by check."""
    return {one.name: one.what for one in offline.verify(data, [HOME.vkey]).failed}


def home_of(leaves: Sequence[bytes]) -> MadeUp:
    home = MadeUp(plain=True)
    home.log.leaves[:] = leaves
    return home


def retold(leaves: Sequence[bytes], evidence: Evidence = TRUE) -> bytes:
    """The certificate of a home whose log has other entries."""
    entries = tuple(Entry(index, one) for index, one in enumerate(leaves))
    return home_of(leaves).certificate(replace(evidence, entries=entries))


def with_model(**fields: Any) -> Evidence:
    return replace(TRUE, models=(replace(MODEL, **fields),))


def with_change(**fields: Any) -> Evidence:
    assert MODEL.forgotten is not None
    return with_model(forgotten=replace(MODEL.forgotten, **fields))


def with_promise(**fields: Any) -> bytes:
    return HOME.certificate(with_model(promise=replace(MODEL.promise, **fields)))


def with_rebuilt(**fields: Any) -> bytes:
    assert MODEL.rebuilt is not None
    return HOME.certificate(with_model(rebuilt=replace(MODEL.rebuilt, **fields)))


def kind_of(entry: bytes) -> str:
    return str(json.loads(entry)["kind"])


def where(kind: str, which: int = 0) -> int:
    """Index of an entry of that kind."""
    return [n for n, one in enumerate(HOME.log.leaves) if kind_of(one) == kind][which]


def moved(kind: str, which: int, to: int) -> Leaves:
    leaves = list(HOME.log.leaves)
    leaves.insert(to, leaves.pop(where(kind, which)))
    return leaves


def without(kind: str) -> Leaves:
    return [one for one in HOME.log.leaves if kind_of(one) != kind]


def rewritten(kind: str, /, **fields: Any) -> Leaves:
    leaves = list(HOME.log.leaves)
    entry = json.loads(leaves[where(kind)])
    entry["body"].update(fields)
    leaves[where(kind)] = jcs.dumps(entry)
    return leaves


def patched(target: Any, name: str, other: Callable[..., Any]) -> bytes:
    with patch.object(target, name, other):
        return HOME.certificate()


def claiming(change: Callable[[Claims], Claims]) -> bytes:
    honest = predicate.claims
    return patched(predicate, "claims", lambda *given: change(honest(*given)))


def packed(change: Callable[[dict[str, bytes]], object]) -> bytes:
    members = certificate.unpack(HOME.certificate())
    change(members)
    return certificate.pack(members)


def with_absence(content: Mapping[str, Any]) -> bytes:
    name = f"absence/{MODEL.id}-0.json"
    honest = issue._absences(TRUE)[name]
    changed = jcs.dumps({**json.loads(honest), **content})
    return patched(issue, "_absences", lambda evidence: {name: changed})


def without_entries() -> bytes:
    prepared = HOME.prepared(replace(TRUE, entries=()))
    return issue.finish(prepared, [])


def issued(request: str | None) -> bytes:
    """The entry that issues the certificate is of another request."""
    prepared = HOME.prepared()
    body = {"statement": prepared.statement, "key": prepared.key}
    own = leaf(Fact("certificate.issued", body, request), TRUE.issued)
    leaves = [*HOME.log.leaves, own]
    entries = [*TRUE.entries, Entry(len(leaves) - 1, own)]
    return issue.finish(prepared, [(e, HOME.owner.prove(leaves, e.index)) for e in entries])


def issued_too_early() -> bytes:
    """Possible only where the statement lists an entry of later on that it cannot know."""
    later = leaf(Fact("salt.destroyed", {"count": 1}, HOME.request), TRUE.issued)
    listed = (*TRUE.entries, Entry(len(TRUE.entries) + 1, later))
    prepared = HOME.prepared(replace(TRUE, entries=listed))
    body = {"statement": prepared.statement, "key": prepared.key}
    own = leaf(Fact("certificate.issued", body, HOME.request), TRUE.issued)
    leaves = [*HOME.log.leaves, own, later]
    entries = [*listed, Entry(len(TRUE.entries), own)]
    return issue.finish(prepared, [(e, HOME.owner.prove(leaves, e.index)) for e in entries])


def swap_proofs(members: dict[str, bytes]) -> None:
    one, other = "ledger/1.tlog-proof", "ledger/2.tlog-proof"
    members[one], members[other] = members[other], members[one]


def add_extra(members: dict[str, bytes]) -> None:
    found = proof.parse(members["ledger/1.tlog-proof"])
    members["ledger/1.tlog-proof"] = replace(found, extra=b"nobody signed this").to_bytes()


def other_level(claims: Claims) -> Claims:
    return replace(claims, evidence=replace(claims.evidence, level=3))


def other_ladder(claims: Claims) -> Claims:
    first, *rest = claims.evidence.levels
    levels = (replace(first, name="proved"), *rest)
    return replace(claims, evidence=replace(claims.evidence, levels=levels))


def other_kind(claims: Claims) -> Claims:
    first, *rest = claims.entries
    return replace(claims, entries=(replace(first, kind="dataset.ingested"), *rest))


def one_proof_for_two() -> bytes:
    """Of two forgotten rows one is proven absent twice: JSON's true counts as 1."""
    home = MadeUp(plain=True, samples=2)
    honest = issue._absences(home.evidence)
    one, other = f"absence/{MODEL.id}-0.json", f"absence/{MODEL.id}-1.json"
    again = jcs.dumps({**json.loads(honest[other]), "row": True})
    held = {other: honest[other], f"absence/{MODEL.id}-True.json": again}
    assert one in honest
    with patch.object(issue, "_absences", lambda evidence: held):
        return home.certificate()


def softer_limit(claims: Claims) -> Claims:
    first, *rest = claims.limitations
    words = replace(first, text="None. All copies everywhere are gone.")
    return replace(claims, limitations=(words, *rest))


def nothing_forgotten(change: Forgotten | None) -> bytes:
    """A request for rows that had been forgotten before; with it, a claim that a model forgot."""
    home = MadeUp(plain=True, samples=0)
    leaves = [
        one
        for one in home.log.leaves
        if kind_of(one) not in ("request.forgotten", "checkpoint.destroyed")
    ]
    told = home.evidence
    models = tuple(replace(model, forgotten=change) for model in told.models)
    home.log.leaves[:] = leaves
    entries = tuple(Entry(index, one) for index, one in enumerate(leaves))
    return home.certificate(replace(told, models=models, entries=entries, destroyed=None))


def earlier(request: str) -> bytes:
    body = {"statement": "0" * 64, "key": HOME.key_id}
    return leaf(Fact("certificate.issued", body, request), TRUE.issued)


def restored() -> bytes:
    counts = dict.fromkeys(("size_before", "size_after", "requests", "rows", "unknown"), 1)
    return leaf(Fact("home.restored", counts), TRUE.issued)


def without_limit(name: str) -> Callable[[Claims], Claims]:
    def change(claims: Claims) -> Claims:
        left = tuple(limit for limit in claims.limitations if limit.id != name)
        assert len(left) == len(claims.limitations) - 1
        return replace(claims, limitations=left)

    return change


def with_entries(
    more: Sequence[bytes],
    change: Callable[[Claims], Claims],
    leaves: Leaves = HOME.log.leaves,
    evidence: Evidence = TRUE,
) -> bytes:
    honest = predicate.claims
    with patch.object(predicate, "claims", lambda *given: change(honest(*given))):
        return retold([*leaves, *more], evidence)


def about(kind: str, **body: Any) -> bytes:
    """A further entry about the request."""
    return leaf(Fact(kind, body, HOME.request), TRUE.issued)


def with_request(**fields: Any) -> bytes:
    return HOME.certificate(replace(TRUE, request=replace(TRUE.request, **fields)))


def unproven(change: Callable[[Claims], Claims]) -> bytes:
    """No proof of absence."""
    honest = predicate.claims
    with patch.object(predicate, "claims", lambda *given: change(honest(*given))):
        return HOME.certificate(replace(TRUE, absences=()))


LIES: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "no signature of the files": (
        lambda: patched(issue, "_signed_files", lambda model, key: {}),
        "subjects",
        "lacks 'models/",
    ),
    "absence of another model": (
        lambda: with_absence({"model": "other"}),
        "absence",
        "another model or row",
    ),
    "absence of another row number": (
        lambda: with_absence({"row": 1}),
        "absence",
        "another model or row",
    ),
    "absence in a model of another recipe": (
        lambda: with_absence({"proof": {**HOME.absence(MODEL.id, 0), "model": "other"}}),
        "absence",
        "about another model",
    ),
    "one proof of absence for two rows": (one_proof_for_two, "absence", "another model or row"),
    "rows that were committed to after they were learnt from": (
        lambda: retold(moved("dataset.ingested", 0, len(HOME.log.leaves) - 1)),
        "absence",
        "not committed to before",
    ),
    "a limit in softer words": (lambda: claiming(softer_limit), "limits", "other words"),
    "a version that is not whole": (
        lambda: HOME.certificate(with_model(served=replace(MODEL.served, whole=False))),
        "versions",
        "never published",
    ),
    "a model of another dataset": (
        lambda: retold(rewritten("model.created", dataset="other")),
        "versions",
        "does not have the recipe",
    ),
    "absence in another form": (
        lambda: with_absence({"note": "trust us"}),
        "absence",
        "not a proof of absence",
    ),
    "absence without a form": (
        lambda: with_absence({"path": [7]}),
        "absence",
        "unexpected form",
    ),
    "no comparator": (lambda: with_promise(comparator=""), "guarantee", "compared with"),
    "certified without parameters": (
        lambda: with_promise(guarantee=Guarantee.CERTIFIED),
        "guarantee",
        "needs epsilon",
    ),
    "certified without assumptions": (
        lambda: with_promise(
            guarantee=Guarantee.CERTIFIED, assumptions=(), parameters={"epsilon": 1, "delta": 0}
        ),
        "guarantee",
        "assumptions",
    ),
    "no entry at all": (without_entries, "log", "no entry"),
    "another log's name": (
        lambda: HOME.certificate(replace(TRUE, log=replace(TRUE.log, origin="other.example/log"))),
        "log",
        "another log",
    ),
    "proofs that change places": (lambda: packed(swap_proofs), "log", "another entry"),
    "a proof with a rider": (lambda: packed(add_extra), "entries", "nobody signed"),
    "an entry without its proof": (
        lambda: packed(lambda members: members.pop("ledger/1.tlog-proof")),
        "entries",
        "with its proof",
    ),
    "an entry under another number": (
        lambda: packed(
            lambda members: members.update(
                {f"ledger/01.{x}": members[f"ledger/1.{x}"] for x in ("json", "tlog-proof")}
            )
        ),
        "entries",
        "ledger/01",
    ),
    "no page": (
        lambda: packed(lambda members: members.pop(certificate.PAGE)),
        "signature",
        "lacks 'certificate.html'",
    ),
    "entries listed backwards": (
        lambda: HOME.certificate(replace(TRUE, entries=TRUE.entries[::-1])),
        "entries",
        "out of order",
    ),
    "an entry listed as another kind": (lambda: claiming(other_kind), "entries", "something else"),
    "issued for another request": (lambda: issued("other"), "key", "another request"),
    "issued for nobody": (lambda: issued(None), "key", "another request"),
    "issued too early": (issued_too_early, "key", "before what it certifies"),
    "another level than its own": (lambda: claiming(other_level), "evidence", "another level"),
    "another ladder": (lambda: claiming(other_ladder), "evidence", "not the eight"),
    "a recipe that nobody logged": (
        lambda: retold(without("model.created")),
        "versions",
        "does not have the recipe",
    ),
    "a name that is none": (
        lambda: HOME.certificate(with_model(served=replace(MODEL.served, names=("zz", None)))),
        "versions",
        "64 hexadecimal",
    ),
    "served since before the request": (
        lambda: retold(moved("version.published", 2, where("request.forgotten"))),
        "versions",
        "from before the request",
    ),
    "other samples in the served version": (
        lambda: HOME.certificate(with_model(served=replace(MODEL.served, samples=7))),
        "versions",
        "never published",
    ),
    "a rebuild that is kept silent": (
        lambda: HOME.certificate(with_model(rebuilt=None)),
        "audits",
        "leaves out",
    ),
    "a rebuild of more samples": (lambda: with_rebuilt(samples=1), "audits", "another"),
    "a rebuild of more units": (lambda: with_rebuilt(units=9), "audits", "another"),
    "a rebuild in less time": (lambda: with_rebuilt(seconds=0.1), "audits", "another"),
    "a rebuild that destroyed more": (lambda: with_rebuilt(destroyed=9), "audits", "another"),
    "whole at another time": (lambda: with_rebuilt(at=TRUE.issued), "audits", "another time"),
    "forgotten before it was received": (
        lambda: retold(moved("request.forgotten", 0, where("request.received"))),
        "story",
        "out of order",
    ),
    "destroyed before it was forgotten": (
        lambda: retold(moved("checkpoint.destroyed", 0, where("request.forgotten"))),
        "story",
        "out of order",
    ),
    "received twice": (
        lambda: retold([*HOME.log.leaves, HOME.log.leaves[where("request.received")]]),
        "story",
        "found 2",
    ),
    "a correction without the new rows": (
        lambda: retold(
            rewritten("request.received", kind="correct"),
            replace(TRUE, request=replace(TRUE.request, kind="correct")),
        ),
        "story",
        "'request.corrected'",
    ),
    "no entry that a model forgot": (
        lambda: retold(without("request.forgotten")),
        "story",
        "No entry says that model",
    ),
    "a model that forgot nothing is said to": (
        lambda: nothing_forgotten(MODEL.forgotten),
        "story",
        "is said to have forgotten",
    ),
    "how a model forgot is left out": (
        lambda: HOME.certificate(with_model(forgotten=None)),
        "story",
        "does not say how",
    ),
    "more changes than are listed": (
        lambda: retold(rewritten("request.forgotten", changed=9), with_change(changed=9)),
        "story",
        "counts other changes",
    ),
    "another version before": (
        lambda: HOME.certificate(with_change(before=None)),
        "story",
        "differ in 'before'",
    ),
    "other names before": (
        lambda: HOME.certificate(with_change(names=None)),
        "story",
        "differ in 'names'",
    ),
    "batches left out": (
        lambda: HOME.certificate(replace(TRUE, dataset=replace(TRUE.dataset, batches=()))),
        "story",
        "batches of samples",
    ),
    "a schema said to be declared": (
        lambda: HOME.certificate(
            replace(TRUE, dataset=replace(TRUE.dataset, schema_adopted=False))
        ),
        "story",
        "differ in 'schema_adopted'",
    ),
    "samples committed to afterwards": (
        lambda: retold(moved("dataset.ingested", 0, where("request.forgotten"))),
        "story",
        "committed to before",
    ),
    "more rows destroyed": (
        lambda: HOME.certificate(replace(TRUE, destroyed=replace(TRUE.destroyed, rows=9))),  # type: ignore[type-var]
        "story",
        "differ in 'rows'",
    ),
    "fewer rows destroyed than forgotten, and not a word": (
        lambda: with_entries(
            [],
            without_limit("destroyed-apart"),
            rewritten("checkpoint.destroyed", rows=0),
            replace(TRUE, destroyed=replace(TRUE.destroyed, rows=0)),  # type: ignore[type-var]
        ),
        "limits",
        "'destroyed-apart'",
    ),
    "destroyed in another dataset": (
        lambda: retold(rewritten("checkpoint.destroyed", dataset="other")),
        "story",
        "another dataset",
    ),
    "a request that was undone": (
        lambda: retold([*HOME.log.leaves, about("request.undone", rows=1)]),
        "story",
        "nothing was forgotten",
    ),
    "a request that was cancelled": (
        lambda: retold([*HOME.log.leaves, about("request.cancelled")]),
        "story",
        "nothing was forgotten",
    ),
    "a narrowed request said to be about all models": (
        lambda: retold([*HOME.log.leaves, about("request.scoped", models=[], purpose=None)]),
        "story",
        "other terms",
    ),
    "a request for all models said to be narrowed": (
        lambda: with_request(models=(MODEL.id,)),
        "story",
        "other terms",
    ),
    "narrowed to other models": (
        lambda: retold(
            [*HOME.log.leaves, about("request.scoped", models=["other"], purpose=None)],
            replace(TRUE, request=replace(TRUE.request, models=(MODEL.id,))),
        ),
        "story",
        "differ in 'models'",
    ),
    "a model said not to be concerned": (
        lambda: HOME.certificate(
            replace(TRUE, models=(replace(MODEL, concerned=False),), absences=())
        ),
        "story",
        "is concerned",
    ),
    "a model that forgot, said not to be of the purpose": (
        lambda: retold(
            [*HOME.log.leaves, about("request.scoped", models=None, purpose="0" * 64)],
            replace(
                TRUE,
                request=replace(TRUE.request, purpose="0" * 64),
                models=(replace(MODEL, concerned=False),),
                absences=(),
            ),
        ),
        "story",
        "forgot, and is not concerned",
    ),
    "a regime that nobody named": (lambda: with_request(regime="gdpr"), "story", "another regime"),
    "an extended deadline kept silent": (
        lambda: retold(
            [*HOME.log.leaves, about("deadline.extended", regime="gdpr", until=TRUE.issued)]
        ),
        "story",
        "on its way",
    ),
    "an approval that nobody gave": (
        lambda: with_request(events=(Event(TRUE.issued, "request.approved"),)),
        "story",
        "on its way",
    ),
    "an earlier certificate of another request": (
        lambda: retold([*HOME.log.leaves, earlier("other")]),
        "entries",
        "something else",
    ),
    "a replaced certificate that does not say so": (
        lambda: with_entries([earlier(HOME.request)], without_limit("reissued")),
        "limits",
        "'reissued'",
    ),
    "a restored backup that is kept silent": (
        lambda: with_entries([restored()], without_limit("restored")),
        "limits",
        "'restored'",
    ),
    "no proof of absence, and not a word": (
        lambda: unproven(without_limit("absence-none")),
        "limits",
        "'absence-none'",
    ),
    "destroyed at another time": (
        lambda: HOME.certificate(replace(TRUE, destroyed=replace(TRUE.destroyed, at=TRUE.issued))),  # type: ignore[type-var]
        "story",
        "another time",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found_by_the_check_for_it(lie: str) -> None:
    make, check, words = LIES[lie]
    found = said(make())
    assert check in found, found
    assert words in found[check]


PARENT, ROOT, REMAINING = (bytes([n]) * 32 for n in range(3))


def forgot(method: str = "influence", rows: int = 2) -> dict[str, Any]:
    """What a method made: its name follows from the rest."""
    name = names.forgotten(PARENT, method, rows, ROOT, REMAINING).hex()
    return {
        "model": MODEL.id,
        "shard": 0,
        "name": name,
        "place": "slice:0:0:0",
        "parent": PARENT.hex(),
        "method": method,
        "rows": rows,
        "root": ROOT.hex(),
        "remaining": REMAINING.hex(),
        "figures": {},
    }


def with_forgot(body: Mapping[str, Any], promise: Promise) -> bytes:
    """A certificate of a model that serves what a method made."""
    served = (body["name"], *MODEL.served.names[1:])
    recipe, held = (bytes.fromhex(one) for one in (MODEL.recipe.digest, body["name"]))
    others = [None if name is None else bytes.fromhex(name) for name in served[1:]]
    digest = names.version(recipe, MODEL.recipe.aggregate, [held, *others]).hex()
    leaves = list(HOME.log.leaves)
    for index, one in enumerate(leaves):
        leaves[index] = one.replace(MODEL.served.digest.encode(), digest.encode())
    leaves.append(leaf(Fact("unit.forgot", body), "2026-03-05T10:00:00Z"))
    model = replace(
        MODEL, promise=promise, served=replace(MODEL.served, names=served, digest=digest)
    )
    return retold(leaves, replace(TRUE, models=(model,), absences=()))


EMPIRICAL = Promise("influence", Guarantee.EMPIRICAL, "a build from the rows that remain")


def test_what_a_method_made_is_promised_by_that_method() -> None:
    assert "guarantee" not in said(with_forgot(forgot(), EMPIRICAL))
    found = said(with_forgot(forgot(), MODEL.promise))
    assert "it serves what 'influence' made, and promises 'rebuild'" in found["guarantee"]
    other = replace(EMPIRICAL, method="certified")
    assert "promises 'certified'" in said(with_forgot(forgot(), other))["guarantee"]


@pytest.mark.parametrize("field", ["rows", "parent", "root", "remaining", "method"])
def test_a_name_that_does_not_follow_from_how_it_is_told_to_be_made_is_a_lie(field: str) -> None:
    lie = {"rows": 3, "method": "gradient-ascent"}.get(field, "ab" * 32)
    promise = replace(EMPIRICAL, method="gradient-ascent") if field == "method" else EMPIRICAL
    found = said(with_forgot({**forgot(), field: lie}, promise))
    assert "has a name that does not follow" in found["guarantee"]


def test_certified_needs_its_numbers_and_influence_may_not_use_the_word() -> None:
    weak = replace(EMPIRICAL, guarantee=Guarantee.CERTIFIED)
    assert "may claim 'empirical' at most" in said(with_forgot(forgot(), weak))["guarantee"]
    bare = Promise("certified", Guarantee.CERTIFIED, "the exact minimiser, released alike")
    assert "needs epsilon, delta" in said(with_forgot(forgot("certified"), bare))["guarantee"]
    full = replace(bare, assumptions=("a",), parameters={"epsilon": 0, "delta": 1e-6})
    assert "guarantee" not in said(with_forgot(forgot("certified"), full))


def test_the_truth_passes_every_check() -> None:
    assert said(HOME.certificate()) == {}
    assert said(nothing_forgotten(None)) == {}


def test_a_model_that_had_nothing_to_rebuild_says_nothing_about_it() -> None:
    leaves = without("unit.rebuilt")
    assert said(retold(leaves, with_model(rebuilt=None))) == {}


def test_what_a_certificate_says_can_be_read_without_a_log() -> None:
    members = certificate.unpack(HOME.certificate())
    assert offline.said(members)["predicate"]["request"]["id"] == HOME.request
