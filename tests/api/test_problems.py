"""Errors as problems: each with a status and a page, and none says what was sent."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import structlog
from sqlalchemy.exc import OperationalError

from expunge.api import problems
from expunge.api.pages import PAGES
from expunge.api.problems import Problem
from expunge.core import errors
from expunge.core.errors import ExpungeError, ModelWithdrawn, SamplesUnknown, UnknownName

DOCS = Path(__file__).parents[2] / "docs" / "problems.md"

# Ways in which a library is called wrongly, or that end inside of a server: `internal` if they do.
NEVER = {
    "expunge-error",
    "service-error",
    "state-not-canonical",
    "plan-stale",
    "format-unsupported",
    "home-mismatch",
    "claim-lost",
    "gate-closed",
    "guarantee-unproved",
    "broker-unreachable",
    "key-invalid",
    "entry-too-large",
    "library-missing",
    "correction-failed",
    "curvature-indefinite",
    "solver-stopped",
    "correction-rejected",
    "unlearning-diverged",
    "forgetting-not-achieved",
}


def kinds(of=ExpungeError):
    yield of
    for below in of.__subclasses__():
        yield from kinds(below)


def test_every_code_has_a_page_and_a_status():
    ours = {kind for kind in kinds() if kind.__module__ == errors.__name__}
    for kind in ours:
        code = problems.code_of(kind.__new__(kind))
        assert code in PAGES
        assert (code == "internal") == (kind.code in NEVER), kind.code
    for code, page in PAGES.items():
        assert 400 <= page.status <= 599
        assert page.title[0].isupper()
        assert page.text.endswith((".", "`"))
        assert code == code.lower()


def test_the_documentation_is_the_pages():
    text = DOCS.read_text(encoding="utf-8")
    for code, page in PAGES.items():
        assert f"\n## `{code}`\n\n{page.status}. {page.title}.\n\n{page.text}\n" in text
    assert text.count("\n## ") == len(PAGES)


def test_each_page_is_served(shared):
    for code, page in PAGES.items():
        answer = shared("GET", f"/problems/{code}", token=None)
        assert answer.status_code == 200
        assert page.text in answer.text
        assert code in answer.text
    assert shared("GET", "/problems/no-such-page").status_code == 404
    assert shared("GET", "/problems/..%2f..%2fetc").status_code in (404, 422)


def test_a_problem_is_as_rfc_9457_says(shared):
    answer = shared.unlearn({"sample_id": "stranger"})
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["type"] == f"/problems/{body['code']}"
    assert body["status"] == answer.status_code == 404
    assert body["instance"] == f"urn:uuid:{answer.headers['x-request-id']}"
    assert shared.unlearn({"sample_id": "stranger"}).json()["instance"] != body["instance"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SamplesUnknown(["anna"]), "samples-unknown"),
        (UnknownName("model", "anna", ["bert"]), "unknown-name"),
        (ModelWithdrawn("wide"), "model-withdrawn"),
        (TimeoutError("anna"), "timed-out"),
        (OSError(28, "anna"), "storage-unavailable"),
        (OperationalError("anna", {}, Exception("anna")), "database-unavailable"),
        (ValueError("anna"), "internal"),
        (errors.DataCorrupt("anna"), "data-corrupt"),
    ],
)
def test_no_error_says_what_was_sent(error, code):
    problem = problems.of_error(error)
    body = json.loads(problems.response(problem, "4f1f64b0").body)
    assert body["code"] == code
    assert "anna" not in json.dumps(body)
    assert "bert" not in json.dumps(body)


def test_what_nobody_expects_is_internal_and_logged_by_its_class(server, monkeypatch, caplog):
    def fail(*_):
        raise ZeroDivisionError("anna's row")

    monkeypatch.setattr("expunge.service.catalog.models", fail)
    with caplog.at_level(logging.ERROR):
        answer = server("GET", "/models")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "anna" not in answer.text + caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert answer.headers["x-request-id"] in caplog.text


def test_a_database_that_does_not_answer_is_503(server, monkeypatch):
    def fail(*_):
        raise OperationalError("SELECT anna", {}, Exception("gone"))

    monkeypatch.setattr("expunge.service.catalog.models", fail)
    answer = server("GET", "/models")
    assert (answer.status_code, answer.json()["code"]) == (503, "database-unavailable")
    assert answer.headers["retry-after"]


def test_validation_points_at_what_is_wrong(shared):
    body = {"sample_ids": ["s1", "", 3], "undo_s": -1, "anna@example.org": True, "method": "x"}
    answer = shared.unlearn(body)
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert pointers == {"#/sample_ids/1", "#/sample_ids/2", "#/undo_s", "#", "#/method"}
    assert "anna" not in answer.text


def test_many_faults_are_cut_short(shared):
    answer = shared.unlearn({"sample_ids": [""] * 1000})
    assert len(answer.json()["errors"]) <= 20


def test_headers_of_a_problem():
    assert problems.response(Problem("credentials-invalid"), "x").headers["www-authenticate"]
    assert problems.response(Problem("too-many-requests"), "x").headers["retry-after"]


def test_lines_of_the_log_name_the_call_that_they_are_about(server, monkeypatch, caplog):
    seen = []

    def fail(*_):
        seen.append(structlog.contextvars.get_contextvars())
        raise ZeroDivisionError

    monkeypatch.setattr("expunge.service.catalog.models", fail)
    answer = server("GET", "/models")
    assert seen == [{"call": answer.headers["x-request-id"]}]  # in the thread that worked
    assert structlog.contextvars.get_contextvars() == {}
