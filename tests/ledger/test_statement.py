"""What is signed: evidence as a predicate and back, its subjects, its limits, the ladder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core import jcs
from expunge.core.errors import CertificateInvalid
from expunge.core.types import Guarantee
from expunge.ledger import codec, ladder, limits, predicate
from expunge.ledger.ladder import Known
from expunge.ledger.predicate import Claims, Listed, Shown
from expunge.ledger.statement import Audit, Evidence, Model
from expunge.methods import METHODS
from expunge.testing.certificates import MadeUp

HOME = MadeUp(samples=2, models=2, audits=("membership",))
CLAIMS = predicate.claims(HOME.evidence, {"a": b"1"})

known = st.builds(
    Known,
    signed=st.booleans(),
    logged=st.booleans(),
    witnesses=st.integers(0, 3),
    rows=st.integers(0, 3),
    shown=st.integers(0, 3),
    models=st.integers(0, 2),
    audits=st.dictionaries(st.sampled_from([5, 6, 7]), st.integers(0, 2)),
    replayed=st.booleans(),
)


def statement(change: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = jcs.loads(predicate.payload(CLAIMS), "it")
    if change:
        change(found)
    return found


def fields_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(name for one in value.values() for name in fields_of(one))]
    return [name for one in value for name in fields_of(one)] if isinstance(value, list) else []


def times_in(value: Any, name: str = "") -> list[str]:
    if isinstance(value, dict):
        return [time for key, one in value.items() for time in times_in(one, key)]
    if isinstance(value, list):
        return [time for one in value for time in times_in(one)]
    return [value] if name in {"at", "received", "effective", "issued"} else []


def test_what_is_written_is_read() -> None:
    claims, subjects = predicate.parse(predicate.payload(CLAIMS))
    assert claims == CLAIMS
    assert subjects == predicate.subjects(CLAIMS)


def test_it_is_an_in_toto_statement_with_times_in_utc() -> None:
    found = statement()
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://expunge.dev/unlearning/v1"
    times = times_in(found["predicate"])
    assert len(times) > 6
    for time in times:
        assert time.endswith("Z")
        assert datetime.fromisoformat(time).tzinfo is not None


def test_our_own_field_names_are_in_lower_camel_case() -> None:
    found = statement()["predicate"]
    theirs = {"members", "files", "figures", "thresholds", "description", "code", "parameters"}
    names = {name for name in fields_of(found) if name not in theirs}
    assert {"schemaAdopted", "identifiersRoot", "rowsRoot"} <= names
    assert not {name for name in names if "_" in name} - {"auc"}


def test_subjects_are_versions_and_all_their_files() -> None:
    found = {one["name"]: one["digest"]["sha256"] for one in statement()["subject"]}
    expected = {model.id: model.served.digest for model in HOME.evidence.models}
    for model in HOME.evidence.models:
        expected |= {f"{model.id}/{name}": digest for name, digest in model.files.items()}
    assert found == expected


def test_without_a_model_the_subject_is_the_entry_of_the_request() -> None:
    claims = replace(CLAIMS, models=(), entries=CLAIMS.entries[3:])
    (subject,) = predicate.subjects(claims)
    assert subject["digest"]["sha256"] == claims.entries[0].sha256


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: s["predicate"].update(extra=1), "'extra' that is not known"),
        (lambda s: s["predicate"].pop("models"), "lacks the field 'models'"),
        (lambda s: s["predicate"].update(issuer=None), "lacks the field 'issuer'"),
        (lambda s: s["predicate"]["request"].update(samples="2"), "samples is not a number"),
        (lambda s: s["predicate"]["request"].update(samples=True), "samples is not a number"),
        (lambda s: s["predicate"]["request"].update(samples=0.5), "samples is not a number"),
        (lambda s: s["predicate"]["request"].update(id=7), "id is not a string"),
        (lambda s: s["predicate"]["dataset"].update(schemaAdopted=1), "is not true or false"),
        (lambda s: s["predicate"]["models"][0]["promise"].update(guarantee="best"), "one of exact"),
        (lambda s: s["predicate"]["models"][0].update(promise=[]), "promise is not an object"),
        (lambda s: s["predicate"]["models"][0].update(files=[]), "files is not an object"),
        (lambda s: s["predicate"]["models"][0]["files"].update(x=1), "files.x is not a string"),
        (lambda s: s["predicate"].update(models={}), "models is not a list"),
        (lambda s: s["predicate"]["dataset"]["batches"][0].update(roots=[[0]]), "a list of 2"),
        (lambda s: s["predicate"].update(entries=[1]), r"entries\[0\] is not an object"),
        (lambda s: s.update(predicate=7), "not an in-toto Statement"),
        (lambda s: s.update(extra=7), "not an in-toto Statement"),
        (lambda s: s.update(predicateType="https://slsa.dev/provenance/v1"), "of type"),
        (lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"), "not an in-toto"),
        (lambda s: s.pop("subject"), "not an in-toto"),
    ],
)
def test_other_statements_are_refused(change: Any, problem: str) -> None:
    with pytest.raises(CertificateInvalid, match=problem):
        predicate.parse(jcs.dumps(statement(change)))


def test_a_statement_that_is_not_canonical_is_refused() -> None:
    with pytest.raises(CertificateInvalid, match="canonical"):
        predicate.parse(predicate.payload(CLAIMS) + b"\n")


@given(known)
def test_the_ladder_has_eight_levels_and_says_why(one: Known) -> None:
    levels = ladder.judge(one)
    assert [level.level for level in levels] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert all(level.why for level in levels)
    assert ladder.height(levels) in {0, *(level.level for level in levels if level.holds)}


@given(known)
def test_nothing_holds_without_its_reason(one: Known) -> None:
    holds = {level.level for level in ladder.judge(one) if level.holds}
    assert (3 in holds) == (one.witnesses > 0)
    assert (4 in holds) == (one.shown == one.rows > 0)
    assert all(
        (level in holds) == (one.audits.get(level, 0) == one.models > 0) for level in (5, 6, 7)
    )
    assert (8 in holds) == one.replayed


def test_audits_count_only_where_they_passed_for_what_is_served() -> None:
    def with_audit(**fields: Any) -> Model:
        audit = replace(HOME.evidence.models[0].audits[0], **fields)
        return replace(HOME.evidence.models[0], audits=(audit,))

    assert predicate.audited([with_audit()]) == {5: 1, 6: 0, 7: 0}
    assert predicate.audited([with_audit(method="replay")])[7] == 1
    for nothing in ({"verdict": "failed"}, {"verdict": "inconclusive"}, {"version": "0" * 64}):
        assert predicate.audited([with_audit(**nothing)])[5] == 0
    assert predicate.audited([with_audit(method="horoscope")]) == {5: 0, 6: 0, 7: 0}


def test_every_method_that_we_ship_claims_what_the_ladder_allows() -> None:
    assert {name: METHODS[name].guarantee for name in METHODS} == ladder.METHODS


def test_unknown_methods_may_not_promise_anything() -> None:
    assert ladder.strongest("gradient-ascent") is Guarantee.EMPIRICAL


def test_limits_that_always_hold_are_always_stated() -> None:
    assert limits.required(dict.fromkeys(limits.SOMETIMES, False)) == tuple(limits.ALWAYS)
    assert {limit.id for limit in CLAIMS.limitations} >= set(limits.ALWAYS)


def of_model(claims: Claims, **fields: Any) -> Claims:
    first, *others = claims.models
    return replace(claims, models=(replace(first, **fields), *others))


def promising(claims: Claims, guarantee: Guarantee) -> Claims:
    return of_model(claims, promise=replace(claims.models[0].promise, guarantee=guarantee))


def of_request(claims: Claims, **fields: Any) -> Claims:
    return replace(claims, request=replace(claims.request, **fields))


def with_kind(claims: Claims, kind: str) -> Claims:
    return replace(claims, entries=(*claims.entries, Listed(99, kind, "0" * 64)))


HOLDING: dict[str, tuple[Callable[[Claims], Claims], Callable[[Claims], Claims]]] = {
    "relative": (lambda claims: claims, lambda claims: replace(claims, models=())),
    "schema-adopted": (
        lambda claims: claims,
        lambda claims: replace(claims, dataset=replace(claims.dataset, schema_adopted=False)),
    ),
    "absence-partly": (
        lambda claims: replace(claims, absence=Shown(1, 2)),
        lambda claims: replace(claims, absence=Shown(0, 2)),
    ),
    "absence-none": (
        lambda claims: replace(claims, absence=Shown(0, 2)),
        lambda claims: replace(claims, absence=Shown(0, 0)),
    ),
    "rows-stay": (
        lambda claims: of_request(claims, kind="object"),
        lambda claims: of_request(claims, kind="expire"),
    ),
    "until-lifted": (
        lambda claims: of_request(claims, kind="restrict"),
        lambda claims: of_request(claims, kind="object"),
    ),
    "purpose": (
        lambda claims: of_request(claims, purpose="0" * 64),
        lambda claims: of_request(claims, models=("a",)),
    ),
    "destroyed-apart": (
        lambda claims: of_request(claims, samples=2),
        lambda claims: of_request(claims, samples=2, models=("a",)),
    ),
    "restored": (lambda claims: with_kind(claims, "home.restored"), lambda claims: claims),
    "reissued": (lambda claims: with_kind(claims, "certificate.issued"), lambda claims: claims),
    "audits": (
        lambda claims: of_model(claims, audits=CLAIMS.models[0].audits),
        lambda claims: of_model(claims, audits=()),
    ),
    "not-whole": (
        lambda claims: of_model(claims, served=replace(claims.models[0].served, whole=False)),
        lambda claims: claims,
    ),
    "measured-only": (
        lambda claims: promising(claims, Guarantee.EMPIRICAL),
        lambda claims: claims,
    ),
}


@pytest.mark.parametrize("limit", limits.SOMETIMES)
def test_limits_are_stated_where_they_hold(limit: str) -> None:
    holds, holds_not = HOLDING[limit]
    plain = predicate.claims(MadeUp(plain=True).evidence, {})
    assert limit in holds(plain).limits_required
    assert limit not in holds_not(plain).limits_required
    assert limits.sentence(limit).endswith(".")


def test_absence_of_some_rows_is_no_absence() -> None:
    some: Evidence = replace(HOME.evidence, absences=HOME.evidence.absences[:3])
    claims = predicate.claims(some, {})
    assert not claims.evidence.levels[3].holds
    assert "3 of 4" in claims.evidence.levels[3].why
    assert "absence-partly" in {limit.id for limit in claims.limitations}


def test_an_audits_thresholds_are_logged_with_its_figures() -> None:
    audit = Audit("membership", "0" * 64, "passed", "", {"auc": 0.5}, {"auc": 0.6})
    assert audit.logged == {"auc": 0.5, "thresholds": {"auc": 0.6}}


def test_what_is_none_is_left_out() -> None:
    assert "issuer" not in codec.encode(replace(CLAIMS, issuer=None))
