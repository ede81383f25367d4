"""Audits over REST: asked for, made by a worker, read as JSON and as a page."""

from __future__ import annotations

import pytest

from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.service import audits
from expunge.service.audits import Policy
from expunge.testing.fakes import people

FEW = {"shadows": 4, "retrains": 2}


@pytest.fixture
def served(serve):
    server = serve()
    home = server.home
    strangers = people(40, first=500, seed=3)
    home.ingest(
        "strangers", strangers, id="id", subject="who", schema=home.dataset("people").schema
    )
    answer = server.unlearn({"sample_ids": ["s1", "s2", "s3"], "dataset": "people", "undo_s": 3600})
    assert answer.status_code == 202
    home.recover()
    return server


def audited(server):
    assert audits.tend(server.home.site, Policy(), (Inline(), Silent()))


def test_an_audit_is_asked_for_made_and_read(served):
    asked = served("POST", "/models/wide/audits", json={**FEW, "unseen": "strangers"})
    assert asked.status_code == 202
    body = asked.json()
    assert (body["state"], body["report"], body["unseen"]) == ("open", None, "strangers")
    place = f"/models/wide/audits/{body['id']}"
    assert served("GET", place).json() == body
    early = served("GET", f"{place}/page")
    assert (early.status_code, early.json()["code"]) == (409, "audit-not-done")
    audited(served)
    done = served("GET", place).json()
    assert (done["state"], done["error"], done["by_policy"]) == ("done", None, False)
    assert done["report"]["verdict"] in ("passed", "failed", "inconclusive")
    assert done["report"]["settings"]["shadows"] == 4
    assert [one["id"] for one in served("GET", "/models/wide/audits").json()["audits"]] == [
        body["id"]
    ]
    page = served("GET", f"{place}/page")
    assert page.headers["content-type"].startswith("text/html")
    assert "style-src 'unsafe-inline'" in page.headers["content-security-policy"]
    assert page.text.lower().startswith("<!doctype html>")
    metrics = served("GET", "/metrics").text
    assert 'expunge_audit_verdict{method="membership",model="wide"}' in metrics


def test_other_pages_keep_the_strict_policy(served):
    answer = served("GET", "/models")
    assert "style-src" not in answer.headers["content-security-policy"]


def test_the_same_key_asks_once(served):
    headers = {"Idempotency-Key": '"one"'}
    first, again = (
        served("POST", "/models/wide/audits", json=FEW, headers=headers) for _ in range(2)
    )
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len(served("GET", "/models/wide/audits").json()["audits"]) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/models/nobody/audits", {}, 404),
        ("/models/wide/audits", {"unseen": "nobody"}, 404),
        ("/models/wide/audits", {"shadows": 5}, 422),
        ("/models/wide/audits", {"shadows": 2}, 422),
        ("/models/wide/audits", {"margin": 0.5}, 422),
        ("/models/wide/audits", {"forgot": [{"x0": 1}]}, 422),
    ],
)
def test_what_cannot_be_audited_is_refused(served, path, body, status):
    assert served("POST", path, json=body).status_code == status


def test_unknown_audits_are_not_found(served):
    id_ = "4f1f64b0-6a0c-4d35-9d3b-6a3a7b9c2b11"
    for place in (f"/models/wide/audits/{id_}", f"/models/wide/audits/{id_}/page"):
        assert served("GET", place).status_code == 404
    assert served("GET", "/models/nobody/audits").status_code == 404


def test_it_takes_the_scope_to_audit(served):
    for scope, status in (("read", 403), ("unlearn:submit", 403), ("audit", 202)):
        key = served.key(scope)
        headers = {"Authorization": f"Bearer {key}"}
        answer = served("POST", "/models/wide/audits", json=FEW, headers=headers)
        assert answer.status_code == status
