"""Certificates of real homes: issued once, checked by a key alone, and by tools that are not ours."""

from __future__ import annotations

import errno
import io
import itertools
import json
import subprocess
import sys
import zipfile
from typing import Any

import numpy as np
import pytest

import expunge
from expunge.core.errors import (
    CertificateInvalid,
    CertificateNotReady,
    CertificateRefused,
    InputError,
    UnknownName,
    WitnessRefused,
)
from expunge.ledger import certificate as archives
from expunge.ledger import offline
from expunge.ledger import opened as readings
from expunge.ledger.report import Report
from expunge.requests import certify as certifying
from expunge.requests import evidence
from expunge.storage import disk, facts
from expunge.storage.facts import Fact
from expunge.testing.fakes import Tiny, people
from expunge.training import models

RECIPE = expunge.Sharded(Tiny(), shards=2, slices=3)


@pytest.fixture
def trained(home):
    """A home with two models of 60 rows of 30 people."""
    home.ingest("people", people(60, each=2), id="id", subject="who")
    home.train("wide", home.dataset("people").view("y"), RECIPE)
    home.train("plain", home.dataset("people").view("x1"), Tiny())
    return home


def checked(home, certificate) -> Report:
    report = offline.verify(certificate.data, [home.ledger.vkey])
    assert report.ok, report.text
    return report


def said(certificate) -> dict[str, Any]:
    statement = readings.read(archives.unpack(certificate.data)).payload
    return json.loads(statement)["predicate"]


def test_a_certificate_is_checked_by_the_public_key_of_the_log_alone(trained):
    receipt = trained.forget(["s3"], subjects=["p7"]).wait()
    report = checked(trained, receipt.certificate)
    assert report.request == receipt.request
    assert report.level == 4  # nobody has replayed or attacked it
    assert said(receipt.certificate)["request"]["samples"] == receipt.accepted.samples


def test_it_is_issued_once(trained):
    receipt = trained.forget(["s3"]).wait()
    first = receipt.certificate
    trained.forget(["s9"]).wait()
    assert receipt.certificate.data == first.data
    issued = [fact for fact in trained.facts() if fact.kind == "certificate.issued"]
    assert len(issued) == 1


def issued(home, request):
    return [f for f in home.facts() if (f.kind, f.request) == ("certificate.issued", request)]


def test_it_is_issued_once_though_the_disk_was_full_at_any_write(trained, monkeypatch):
    for moment in itertools.count():
        request = trained.forget([f"s{moment}"]).wait().request
        trained.ledger.sync(wait=True)
        left, write = [moment], disk.write

        def fill_up(descriptor, data, offset, left=left, write=write):
            if left[0] == 0:
                raise OSError(errno.ENOSPC, "disk full")
            left[0] -= 1
            return write(descriptor, data, offset)

        with monkeypatch.context() as patch:
            patch.setattr(disk, "write", fill_up)
            try:
                trained.certificate(request)
            except OSError:
                pass
            else:
                break
        certificate = trained.certificate(request)
        checked(trained, certificate)
        assert trained.certificate(request).data == certificate.data
        assert len(issued(trained, request)) == 1
        assert "reissued" not in {limit["id"] for limit in said(certificate)["limitations"]}
    assert moment >= 4  # the draft, the ledger's files, the certificate
    assert list(trained.site.certificates.glob("*.draft")) == []


def test_one_that_is_lost_is_replaced_by_one_that_says_so(trained):
    receipt = trained.forget(["s3"]).wait()
    first = receipt.certificate
    (trained.site.certificates / f"{receipt.request}.zip").unlink()
    second = receipt.certificate
    checked(trained, first)
    checked(trained, second)
    assert len(issued(trained, receipt.request)) == 2
    assert "reissued" in {limit["id"] for limit in said(second)["limitations"]}
    assert "certificate.issued" in [entry["kind"] for entry in said(second)["entries"]]


def test_what_a_witness_did_not_cosign_in_the_end_is_begun_anew(trained, monkeypatch):
    receipt = trained.forget(["s3"]).wait()

    def refuse(*_):
        raise WitnessRefused("It is gone.")

    with monkeypatch.context() as patch:
        patch.setattr(certifying, "_cosigned", refuse)
        patch.setattr(certifying, "_collect", honest_but_witnessed)
        with pytest.raises(WitnessRefused):
            _ = receipt.certificate
    checked(trained, receipt.certificate)
    assert said(receipt.certificate)["log"]["witnesses"] == []
    assert "reissued" in {limit["id"] for limit in said(receipt.certificate)["limitations"]}


def honest_but_witnessed(site, ledger, request, _):
    ledger.sync(wait=True)
    with site.database.reading() as transaction:
        return evidence.collect(site, transaction, ledger, request, ["w.example"])


def test_a_replay_raises_the_evidence(trained):
    receipt = trained.forget(["s3"]).wait()
    assert trained.verify("wide").exact
    assert trained.verify("plain").exact
    assert checked(trained, receipt.certificate).level == 7


def test_another_log_does_not_vouch_for_it(trained, opened, tmp_path):
    other = opened(tmp_path / "other")
    other.ingest("people", people(4), id="id", subject="who")
    other.ledger.sync(wait=True)
    certificate = trained.forget(["s3"]).wait().certificate
    report = offline.verify(certificate.data, [other.ledger.vkey])
    assert not report.ok
    assert "log" in {check.name for check in report.failed}


def test_before_its_request_is_done_there_is_none(trained):
    receipt = trained.forget(["s3"])
    with pytest.raises(CertificateNotReady):
        _ = receipt.certificate
    with pytest.raises(UnknownName):
        trained.certificate("5f1c1c7e-0000-4000-8000-000000000000")


def test_of_rows_that_were_forgotten_before(trained):
    trained.forget(["s3"]).wait()
    certificate = trained.forget(["s3"]).wait().certificate
    checked(trained, certificate)
    request = said(certificate)["request"]
    assert (request["samples"], request["already"]) == (0, 1)


def test_of_a_correction(trained):
    rows = {name: cells[9:11].copy() for name, cells in people(60, each=2).items()}
    rows["x1"] += 1.0
    certificate = trained.correct(rows).wait().certificate
    checked(trained, certificate)
    assert said(certificate)["request"]["kind"] == "correct"


def test_of_an_objection_to_rows_that_were_corrected_since(trained):
    receipt = trained.forget(["s9", "s3"], kind="object", models=["wide"]).wait()
    rows = {name: cells[9:10].copy() for name, cells in people(60, each=2).items()}
    trained.correct(rows).wait()
    # It shows the rows as they were: what the correction made of one came later.
    assert checked(trained, receipt.certificate).level == 4


def test_where_no_model_learns_from_the_rows(home):
    home.ingest("people", people(20), id="id", subject="who")
    certificate = home.forget(["s3"]).wait().certificate
    report = checked(home, certificate)
    assert said(certificate)["models"] == []
    assert report.level == 2  # no model, so no proof that one leaves the row out


def test_where_everything_is_forgotten(trained):
    receipt = trained.forget([f"s{i}" for i in range(60)]).wait()
    checked(trained, receipt.certificate)
    names = [
        name for model in said(receipt.certificate)["models"] for name in model["served"]["names"]
    ]
    assert set(names) <= {None}


def test_a_model_that_came_later_is_in_it(trained):
    receipt = trained.forget(["s3"]).wait()
    trained.train("late", trained.dataset("people").view("y"), Tiny())
    certificate = receipt.certificate
    checked(trained, certificate)
    late = [model for model in said(certificate)["models"] if model["name"] == "late"]
    assert [model.get("forgotten") for model in late] == [None]


def test_requests_that_came_later_do_not_spoil_it(trained):
    receipt = trained.forget(["s3"]).wait()
    trained.forget(["s12"]).wait()
    waiting = trained.forget(["s40"])  # its models are not whole again
    checked(trained, receipt.certificate)
    waiting.wait()
    checked(trained, waiting.certificate)


def test_two_models_of_one_recipe(trained):
    trained.train("twin", trained.dataset("people").view("y"), RECIPE)
    certificate = trained.forget(["s3"]).wait().certificate
    checked(trained, certificate)
    assert [model["name"] for model in said(certificate)["models"]] == ["wide", "plain", "twin"]


def test_a_model_that_was_given_up_since(trained):
    learning = trained.dataset("people").view("x0")
    models.register(trained.site, "late", "people", learning.view, expunge.Sharded(Tiny()))
    receipt = trained.forget(["s3"])
    trained.train("late", learning, RECIPE)  # another recipe: the first try is given up
    checked(trained, receipt.wait().certificate)


def test_while_others_record(trained, monkeypatch):
    receipt = trained.forget(["s3"]).wait()
    sync, left = trained.ledger.sync, [2]

    def sync_and_record(**options):
        sync(**options)
        if left[0]:
            left[0] -= 1
            with trained.site.database.transaction() as transaction:
                facts.record(transaction, Fact("salt.destroyed", {"count": 0}, receipt.request))

    monkeypatch.setattr(trained.ledger, "sync", sync_and_record)
    checked(trained, receipt.certificate)
    assert left == [0]


def test_a_replaced_key_leaves_old_certificates_good(trained):
    receipt = trained.forget(["s3"]).wait()
    before, certificate = trained.ledger.vkey, receipt.certificate
    trained.ledger.rotate("log")
    assert offline.verify(receipt.certificate.data, [before]).ok
    assert not offline.verify(certificate.data, [trained.ledger.vkey]).ok
    checked(trained, trained.forget(["s9"]).wait().certificate)


def test_what_a_restored_home_cannot_bear_out_is_not_handed_out(trained, monkeypatch):
    receipt = trained.forget(["s3"]).wait()
    monkeypatch.setattr(evidence, "_destroyed", lambda story: None)
    with pytest.raises(CertificateInvalid, match="does not bear out"):
        _ = receipt.certificate
    monkeypatch.undo()
    checked(trained, receipt.certificate)
    assert len(issued(trained, receipt.request)) == 1


def test_the_person_can_be_shown_that_the_request_named_them(trained):
    receipt = trained.forget(["s3"], subjects=["p7"]).wait()
    named = next(f.body["identifiers"] for f in receipt.facts if f.kind == "request.received")
    opening = trained.opening(receipt.request, subject="p7")
    assert opening.check("subject", "p7", named)
    assert not opening.check("subject", "p8", named)
    with pytest.raises(InputError, match="one sample or one subject"):
        trained.opening(receipt.request)
    assert trained.shred(receipt.request) == 2
    with pytest.raises(UnknownName):
        trained.opening(receipt.request, subject="p7")


def test_after_an_append(trained):
    fresh = people(12, first=60, seed=1, each=2)
    trained.ingest("people", fresh)
    trained.train("wide", trained.dataset("people").view("y"), RECIPE)
    trained.train("plain", trained.dataset("people").view("x1"), Tiny())
    receipt = trained.forget(["s65", "s3"]).wait()
    certificate = receipt.certificate
    checked(trained, certificate)
    assert len(said(certificate)["dataset"]["batches"]) == 2


def test_of_many_rows_some_proofs_of_absence_are_in_it(trained):
    receipt = trained.forget([f"s{i}" for i in range(60)][:59]).wait()
    trained.ingest("people", people(140, first=60, seed=1))
    trained.train("wide", trained.dataset("people").view("y"), RECIPE)
    trained.train("plain", trained.dataset("people").view("x1"), Tiny())
    many = trained.forget([f"s{i}" for i in range(60, 160)]).wait()
    checked(trained, receipt.certificate)
    report = checked(trained, many.certificate)
    absence = said(many.certificate)["absence"]
    assert absence == {"of": 200, "shown": 128}
    assert report.level < 4


def test_on_either_database(place, opened):
    home = opened(**place)
    home.ingest("people", people(60, each=2), id="id", subject="who")
    home.train("wide", home.dataset("people").view("y"), RECIPE)
    checked(home, home.forget(["s3"]).wait().certificate)


def test_model_signing_accepts_the_served_files(trained, tmp_path):
    certificate = trained.forget(["s3"]).wait().certificate
    files = tmp_path / "served"
    trained.export("wide", files)
    model = trained.model("wide").version
    assert model is not None
    with zipfile.ZipFile(io.BytesIO(certificate.data)) as archive:
        archive.extractall(tmp_path / "certificate")
    folder = next(m["id"] for m in said(certificate)["models"] if m["name"] == "wide")
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(files)]
    command += ["--signature", str(tmp_path / f"certificate/models/{folder}.sig")]
    command += ["--public_key", str(tmp_path / "certificate/keys/certificate.pem")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    state = next(files.glob("*.state"))
    state.write_bytes(state.read_bytes() + b" ")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0


def test_exported_copies_are_listed(trained, tmp_path):
    receipt = trained.forget(["s3"]).wait()
    trained.export("plain", tmp_path / "copy")
    certificate = receipt.certificate
    checked(trained, certificate)
    exports = {m["name"]: len(m["exports"]) for m in said(certificate)["models"]}
    assert exports == {"wide": 0, "plain": 1}


def test_no_id_of_a_request_stands_in_it(trained):
    rows = people(4, first=60)
    rows["id"] = np.array([f"ada.lovelace+{i}@example.org" for i in range(4)])
    rows["who"] = np.array(["Ada Lovelace"] * 4)
    trained.ingest("people", rows)
    certificate = trained.forget(subjects=["Ada Lovelace"]).wait().certificate
    for name, content in archives.unpack(certificate.data).items():
        assert b"ovelace" not in content, name


def limits_of(certificate) -> set[str]:
    return {limit["id"] for limit in said(certificate)["limitations"]}


def concerned(certificate) -> dict[str, bool]:
    return {model["name"]: model["concerned"] for model in said(certificate)["models"]}


@pytest.mark.parametrize("kind", ["object", "erase", "expire"])
def test_of_a_request_about_one_model(trained, kind):
    receipt = trained.forget(["s3", "s8"], kind=kind, models=["wide"]).wait()
    report = checked(trained, receipt.certificate)
    told = said(receipt.certificate)
    folder = trained.model("wide")._row.folder.name
    assert told["request"]["models"] == [folder]
    assert concerned(receipt.certificate) == {"wide": True, "plain": False}
    assert told["absence"] == {"of": 2, "shown": 2}
    assert report.level == 4
    assert "rows-stay" in limits_of(receipt.certificate)
    assert trained.dataset("people").rows == 60
    assert trained.verify("wide").exact
    # The other model still learns from the rows: of them, an erasure is left to do.
    erased = trained.forget(["s3"]).wait().certificate
    checked(trained, erased)
    assert "rows-stay" not in limits_of(erased)


def test_of_an_objection_to_a_purpose(trained):
    view = trained.dataset("people").view("y", purpose="advertising to Ada")
    trained.train("ads", view, RECIPE)
    certificate = (
        trained.forget(["s3"], kind="object", purpose=view.view.purpose).wait().certificate
    )
    checked(trained, certificate)
    assert concerned(certificate) == {"wide": False, "plain": False, "ads": True}
    assert {"purpose", "rows-stay"} <= limits_of(certificate)
    assert all(b"advertising" not in held for held in archives.unpack(certificate.data).values())


def test_of_a_restriction_until_it_is_lifted(trained):
    request = trained.forget(["s3"], kind="restrict").request
    with pytest.raises(CertificateNotReady):
        trained.certificate(request)
    trained.recover()
    certificate = trained.certificate(request)
    checked(trained, certificate)
    assert {"until-lifted", "rows-stay"} <= limits_of(certificate)
    assert [event["detail"] for event in said(certificate)["request"]["events"]] == ["restriction"]
    trained.lift(request)
    with pytest.raises(CertificateRefused, match="undone"):
        trained.certificate(request)


@pytest.mark.parametrize("end", ["undo", "cancel", "refuse"])
def test_what_was_not_forgotten_in_the_end_gets_none(trained, end):
    terms = {"undo_s": 3600.0} if end == "undo" else {"approval": True}
    request = trained.forget(["s3"], **terms).request
    with pytest.raises(CertificateNotReady):
        trained.certificate(request)
    getattr(trained, end)(request, *(["no-proof"] if end == "refuse" else []))
    with pytest.raises(CertificateRefused, match="no certificate of unlearning") as caught:
        trained.certificate(request)
    assert caught.value.request == request


def test_of_a_request_with_a_long_story(trained):
    hold = trained.hold("case 7", ["s3"])
    request = trained.forget(
        ["s3", "s8"], approval=True, submitter="k1", regime="gdpr", undo_s=0.001
    ).request
    trained.extend(request)
    trained.approve(request, "k2")
    trained.recover()
    with pytest.raises(CertificateNotReady):
        trained.certificate(request)
    trained.release(hold.id)
    trained.recover()
    certificate = trained.certificate(request)
    checked(trained, certificate)
    told = said(certificate)["request"]
    kinds = [event["kind"] for event in told["events"]]
    assert kinds[:2] == ["deadline.extended", "request.approved"]
    assert {"request.held", "request.released"} <= {*kinds}
    assert told["regime"] == "gdpr"
    page = archives.unpack(certificate.data)["certificate.html"].decode()
    for words in ("Deadline extended", "Approved", "legal hold", "Released"):
        assert words in page
    assert "case 7" not in page


def test_rows_that_went_with_another_request_are_told(trained):
    held = trained.forget(["s3"], undo_s=2.0)
    trained.forget(["s3", "s8"]).wait()
    while str(held.state) != "done":
        trained.recover()
    certificate = held.certificate
    checked(trained, certificate)
    short = said(certificate)["destroyed"]["rows"] < said(certificate)["request"]["samples"]
    assert short == ("destroyed-apart" in limits_of(certificate))


def test_a_retired_model_is_not_in_it(trained):
    receipt = trained.forget(["s3"]).wait()
    trained.retire("plain")
    certificate = receipt.certificate
    checked(trained, certificate)
    assert [*concerned(certificate)] == ["wide"]
    assert "model.retired" in {entry["kind"] for entry in said(certificate)["entries"]}
