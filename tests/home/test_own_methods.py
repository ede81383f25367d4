"""Models that forget by a method of their own: certified, or corrected by influence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import expunge
from expunge.core.errors import MethodUnavailable
from expunge.core.types import Guarantee
from expunge.home import Home
from expunge.ledger import certificate, offline, opened
from expunge.storage.facts import Fact, record
from expunge.testing.fakes import Nudged, Tiny, people
from expunge.verify import recording

NETWORK = expunge.Torch("linear", epochs=1)


@pytest.fixture
def several(home: Home) -> Home:
    """Four models of the same rows: exact, certified, corrected, and corrected where it can be."""
    home.ingest("people", people(60), id="id", subject="who")
    view = home.dataset("people").view("y", features=["x0", "x1", "x2"])
    home.train("exact", view, Tiny())
    home.train("certified", view, expunge.Certified())
    home.train("influence", view, expunge.Influence(NETWORK))
    home.train("unable", view, Nudged(fails=True))
    return home


def promises(home: Home, request: str, folder: Path) -> dict[str, tuple[str, Guarantee]]:
    """Of each model, what the certificate promises; it passes every check."""
    place = folder / "c.zip"
    home.certificate(request).save(place)
    found = offline.verify(place.read_bytes(), [home.ledger.vkey])
    assert found.ok, found.failed
    claims = opened.read(certificate.unpack(place.read_bytes())).claims
    return {m.name: (m.promise.method, m.promise.guarantee) for m in claims.models}


def forgot(home: Home) -> list[dict[str, object]]:
    return [dict(fact.body) for fact in home.facts() if fact.kind == "unit.forgot"]


def test_each_model_forgets_as_it_was_declared_and_the_certificate_says_how(
    several: Home, tmp_path: Path
) -> None:
    receipt = several.forget(["s1", "s2"]).wait()
    assert receipt.state == "done"
    assert promises(several, receipt.request, tmp_path) == {
        "exact": ("rebuild", Guarantee.EXACT),
        "certified": ("certified", Guarantee.CERTIFIED),
        "influence": ("influence", Guarantee.EMPIRICAL),
        "unable": ("rebuild", Guarantee.EXACT),  # what its method could not do was built
    }
    assert [(one["method"], one["rows"]) for one in forgot(several)] == [
        ("certified", 2),
        ("influence", 2),
    ]


def test_the_names_of_what_was_served_are_those_of_the_log(several: Home) -> None:
    before = {
        name: several.model(name).version.constituents[0] for name in ("certified", "influence")
    }
    several.forget(["s1"]).wait()
    for told in forgot(several):
        name = str(told["method"])
        after = several.model(name).version.constituents[0]
        assert before[name].frame is not None
        assert after.frame is not None
        assert told["parent"] == before[name].frame.name.hex()
        assert told["name"] == after.frame.name.hex()
        assert after.whole


def test_the_root_in_the_log_is_that_of_the_request(several: Home) -> None:
    several.forget(["s7", "s3"]).wait()
    (received,) = [fact.body for fact in several.facts() if fact.kind == "request.received"]
    assert {told["root"] for told in forgot(several)} == {received["rows"]}


def test_no_absence_is_claimed_of_what_no_build_made(several: Home, tmp_path: Path) -> None:
    receipt = several.forget(["s1"]).wait()
    place = tmp_path / "c.zip"
    several.certificate(receipt.request).save(place)
    claims = opened.read(certificate.unpack(place.read_bytes())).claims
    assert (claims.absence.shown, claims.absence.of) == (2, 4)
    assert not claims.evidence.levels[3].holds


def test_a_request_about_no_row_of_theirs_does_not_make_them_exact(
    several: Home, tmp_path: Path
) -> None:
    several.forget(["s1"]).wait()
    later = several.forget(["s2"], models=["exact"]).wait()
    found = promises(several, later.request, tmp_path)
    assert found["influence"] == ("influence", Guarantee.EMPIRICAL)


def test_every_release_counts(several: Home, tmp_path: Path) -> None:
    deltas = []
    for sample in ("s1", "s2", "s3"):
        receipt = several.forget([sample]).wait()
        place = tmp_path / f"{sample}.zip"
        several.certificate(receipt.request).save(place)
        claims = opened.read(certificate.unpack(place.read_bytes())).claims
        (model,) = [m for m in claims.models if m.name == "certified"]
        deltas.append((model.promise.parameters["releases"], model.promise.parameters["delta"]))
    assert [releases for releases, _ in deltas] == [2, 3, 4]
    assert deltas[2][1] == pytest.approx(2 * deltas[0][1])


def test_a_replay_of_what_no_build_made_is_inconclusive(several: Home) -> None:
    several.forget(["s1"]).wait()
    for name, verdict in {
        "exact": "passed",
        "certified": "inconclusive",
        "influence": "inconclusive",
        "unable": "passed",
    }.items():
        assert recording.verdict(several.verify(name)) == verdict


def test_a_certified_model_that_was_only_trained_is_not_called_exact(several: Home) -> None:
    assert recording.verdict(several.verify("certified")) == "inconclusive"
    assert recording.verdict(several.verify("influence")) == "passed"  # nothing was corrected yet


@pytest.mark.parametrize("method", ["rebuild", "sisa", "certified", "influence"])
def test_a_method_that_not_all_models_have_is_refused(several: Home, method: str) -> None:
    with pytest.raises(MethodUnavailable) as caught:
        several.forget(["s1"], method=method)
    assert caught.value.possible == ["declared"]
    assert several.dataset("people").forgotten == 0


def test_a_method_may_be_named_where_all_models_that_are_meant_have_it(several: Home) -> None:
    for model, method in {
        "influence": "influence",
        "certified": "certified",
        "exact": "sisa",
    }.items():
        receipt = several.forget(["s1"], models=[model], method=method).wait()
        assert receipt.accepted.row.method == method
    with pytest.raises(MethodUnavailable):  # it would weaken what the model promises
        several.forget(["s2"], models=["exact"], method="influence")
    with pytest.raises(MethodUnavailable):  # it would not be what is asked for
        several.forget(["s2"], models=["influence"], method="rebuild")


def test_a_model_is_withdrawn_until_its_method_is_done(several: Home) -> None:
    several.forget(["s1"])
    for name in ("certified", "influence"):
        assert several.model(name).version.constituents[0].frame is None
    several.recover()
    for name in ("certified", "influence"):
        assert several.model(name).version.whole


def test_undoing_builds_the_model_from_its_rows(several: Home) -> None:
    receipt = several.forget(["s1"], undo_s=3600.0)
    several.recover()
    several.undo(receipt.request)
    several.recover()
    assert recording.verdict(several.verify("influence")) == "passed"


def test_a_worker_that_died_after_its_unit_has_it_told_by_the_next(
    several: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from expunge.methods.exact import rebuild

    several.forget(["s1"])
    with monkeypatch.context() as patch:
        patch.setattr(rebuild, "_record", _dies_over_a_method(rebuild._record))
        with pytest.raises(RuntimeError, match="power"):
            several.recover()
    assert forgot(several) == []
    several.recover()
    assert {one["method"] for one in forgot(several)} == {"certified", "influence"}
    several.recover()
    assert len(forgot(several)) == 2


def _dies_over_a_method(record: Any) -> Any:
    def recorded(transaction: Any, model: Any, unit: Any, result: Any) -> None:
        if result["forgot"]:
            raise RuntimeError("power")
        record(transaction, model, unit, result)

    return recorded


def test_a_fact_of_other_fields_is_refused(several: Home) -> None:
    with (
        several.site.database.transaction() as transaction,
        pytest.raises(ValueError, match="hold"),
    ):
        record(transaction, Fact("unit.forgot", {"model": "m"}))
