"""The contract that users were promised, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from expunge import Certified, Influence, Torch
from expunge.storage.journal import Journal


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def served(request, serve, tmp_path):
    if request.param == "sqlite":
        yield serve()
        return
    server = serve(request.getfixturevalue("postgres_url"), tmp_path / "home")
    yield server
    server.close()  # before the database is dropped


def test_the_promise(served):
    answer = served.unlearn({"sample_id": "s3", "method": "sisa"})
    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == body["status_url"] == f"/requests/{body['request']}"
    assert int(answer.headers["retry-after"]) > 0
    assert body["state"] == "forgotten"
    assert [(m["name"], m["forgotten"], m["withdrawn"]) for m in body["models"]] == [
        ("wide", True, False)
    ]
    before = served("GET", body["status_url"])
    assert before.json()["state"] == "forgotten"
    assert before.json()["units"]["open"] == 1
    assert before.headers["retry-after"]
    served.home.recover()
    after = served("GET", body["status_url"])
    assert after.json()["state"] == "done"
    assert after.json()["units"]["open"] == 0
    assert "retry-after" not in after.headers
    kinds = [event["kind"] for event in after.json()["timeline"]]
    assert {"request.received", "request.forgotten"} <= set(kinds)


def test_predictions_come_from_the_version_that_the_answer_names(served):
    body = served.unlearn({"sample_id": "s3"}).json()
    rows = [{"x0": 0.1, "x1": 0.2, "x2": 0.3, "job": "cook"}]
    predicted = served("POST", "/models/wide/predict", json={"rows": rows}).json()
    assert predicted["version"] == body["models"][0]["version"]


@pytest.mark.parametrize("method", ["influence", "certified"])
def test_a_method_that_a_model_cannot_do_is_refused_and_nothing_is_accepted(served, method):
    answer = served.unlearn({"sample_id": "s3", "method": method})
    assert answer.status_code == 422
    assert answer.json()["code"] == "method-unavailable"
    assert "sisa" in answer.json()["possible"]
    assert served("GET", "/requests").json()["requests"] == []


@pytest.mark.parametrize("method", ["influence", "certified"])
def test_a_method_that_its_model_declares_is_accepted_and_done(served, method):
    learner = {"influence": Influence(Torch("linear", epochs=1)), "certified": Certified()}[method]
    view = served.home.dataset("people").view("y", features=["x0", "x1", "x2"])
    served.home.train("own", view, learner)
    answer = served.unlearn({"sample_id": "s3", "method": method, "models": ["own"]})
    assert answer.status_code == 202
    assert answer.json()["request"]
    served.home.recover()
    shown = served("GET", f"/requests/{answer.json()['request']}").json()
    assert shown["method"] == method
    assert shown["state"] in ("forgotten", "done")
    made = [fact.body["method"] for fact in served.home.facts() if fact.kind == "unit.forgot"]
    assert made == [method]


def test_many_at_once_are_all_accepted_and_the_bad_ones_refused_alone(served):
    bodies = [{"sample_id": f"s{n}"} for n in range(40)] + [{"sample_id": "stranger"}] * 3

    async def all_at_once():
        return await asyncio.gather(
            *(served.call("POST", "/unlearn", json=body) for body in bodies)
        )

    answers = served.run(all_at_once())
    assert [answer.status_code for answer in answers] == [202] * 40 + [404] * 3
    assert len({answer.json()["request"] for answer in answers[:40]}) == 40
    assert served.home.dataset("people").forgotten == 40


def test_subjects_stand_for_all_their_samples(served):
    assert served.unlearn({"subject": "p1"}).json()["samples"] == 2
    assert served.unlearn({"subjects": ["p2", "p3"], "sample_id": "s0"}).json()["samples"] == 5


def test_terms_are_kept(served):
    received = datetime.now(UTC) - timedelta(days=2)
    body = {
        "sample_id": "s3",
        "regime": "gdpr",
        "received": received.isoformat(),
        "undo_s": 3600,
        "kind": "expire",
    }
    answer = served.unlearn(body)
    assert answer.status_code == 202, answer.text
    shown = served("GET", answer.headers["location"]).json()
    assert shown["regime"] == "gdpr"
    assert shown["kind"] == "expire"
    assert shown["deadline"] == answer.json()["deadline"] > shown["accepted"]
    assert shown["received"] < shown["accepted"]
    assert shown["undo_until"]


def test_a_request_may_be_narrowed_to_some_models(served):
    answer = served.unlearn({"sample_id": "s3", "kind": "object", "models": ["wide"]})
    assert answer.status_code == 202
    assert served("GET", answer.headers["location"]).json()["narrowed"]
    assert served.unlearn({"sample_id": "s3", "models": ["nobody"]}).status_code == 404


def test_unknown_samples_are_refused_without_telling_which(served):
    answers = [
        served.unlearn(body)
        for body in (
            {"sample_id": "stranger"},
            {"sample_ids": ["s3", "stranger", "other"]},
            {"subject": "stranger"},
        )
    ]
    told = [{**answer.json(), "instance": ""} for answer in answers]
    assert all(one == told[0] for one in told)
    assert told[0]["code"] == "samples-unknown"
    assert all("stranger" not in answer.text for answer in answers)
    assert served.home.dataset("people").forgotten == 0


def test_unknown_samples_may_be_left_out(served):
    answer = served.unlearn({"sample_ids": ["s3", "stranger"], "missing": "ignore"})
    assert answer.status_code == 202
    assert answer.json()["samples"] == 1


def test_a_server_that_reveals_nothing_answers_known_and_unknown_alike(serve):
    server = serve(reveal_unknown=False)
    token = server.key("unlearn:submit")
    told = []
    for name in ("s3", "stranger"):
        answer = server.unlearn({"sample_id": name}, token=token)
        body = answer.json()
        assert answer.status_code == 202
        for varying in ("request", "status_url", "accepted"):
            del body[varying]
        told.append(body)
        # Its progress would tell: that needs another scope.
        assert server("GET", answer.headers["location"], token=token).status_code == 403
    assert told[0] == told[1]
    assert server.home.dataset("people").forgotten == 1


def test_a_scheduled_request_waits_for_its_moment(served):
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    answer = served.unlearn({"sample_id": "s3", "effective": later})
    assert answer.json()["state"] == "scheduled"
    assert answer.json()["models"] == []
    assert served("POST", f"{answer.headers['location']}/cancel").json()["state"] == "cancelled"


def test_who_is_refused_is_not_told_that_the_request_stands(server, monkeypatch):
    def full(*_):
        raise OSError(28, "full")

    monkeypatch.setattr(Journal, "_append", full)

    async def all_at_once():
        calls = (server.call("POST", "/unlearn", json={"sample_id": n}) for n in ("s1", "x9", "s3"))
        return await asyncio.gather(*calls)

    answers = server.run(all_at_once())
    codes = [answer.json()["code"] for answer in answers]
    assert codes == ["journal-unwritten", "samples-unknown", "journal-unwritten"]
    refused = server("GET", "/metrics").text
    assert 'expunge_requests_refused_total{code="samples-unknown"} 1.0' in refused
    assert 'code="journal-unwritten"' not in refused


def test_an_undo_window_of_none_is_one_that_was_said(serve):
    server = serve(undo_s=86_400)

    def window(**terms):
        request = server.unlearn({"sample_id": "s3", **terms}).json()["request"]
        return server("GET", f"/requests/{request}").json()["undo_until"]

    assert window() is not None
    assert window(undo_s=None) is not None
    assert window(undo_s=0) is None
    assert window(kind="restrict") is None  # it is lifted whenever its owner likes
    upload = server(
        "POST", "/unlearn/bulk?undo_s=0", content="s5", headers={"Content-Type": "text/csv"}
    )
    request = upload.json()["request"]
    assert server("GET", f"/requests/{request}").json()["undo_until"] is None
