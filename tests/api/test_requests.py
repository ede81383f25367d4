"""Following requests, and deciding about them."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest
from rich.console import Console

from expunge.cli import standing
from expunge.execution.local import Inline
from expunge.requests import claims, life, moments, units
from expunge.service.inprocess import InProcessQueue
from expunge.service.worker import Worker, WorkerSettings
from expunge.testing.fakes import Tiny


def accepted(server, name="s3", **terms):
    answer = server.unlearn({"sample_id": name, **terms})
    assert answer.status_code == 202, answer.text
    return answer.json()["request"]


def test_a_status_that_did_not_change_is_not_sent_again(server):
    path = f"/requests/{accepted(server)}"
    tag = server("GET", path).headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = server("GET", path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    assert server("GET", path, headers={"If-None-Match": '"other"'}).status_code == 200
    server.home.recover()
    assert server("GET", path, headers={"If-None-Match": tag}).status_code == 200


def test_requests_within_a_window_wait_for_one_another_and_share_a_rebuild(serve):
    server, before = serve(coalesce_s=3600), datetime.now(UTC)
    told = server("POST", "/forecast", json={"sample_id": "s3"}).json()
    first = server("GET", f"/requests/{accepted(server, 's3')}").json()
    assert moments.later(before, 3600) < told["batch_starts_at"] < first["batch_starts_at"]
    joining = server("POST", "/forecast", json={"sample_id": "s3"}).json()
    assert joining["batch_starts_at"] == first["batch_starts_at"]
    for number in range(20, 40):
        accepted(server, f"s{number}")
    database = server.home.site.database
    with database.reading() as transaction:
        waiting = units.all_unfinished(transaction)
    assert sorted(one.shard for one in waiting) == [0, 1]
    assert claims.claim(database, "me", 5.0) is None  # nobody begins earlier
    assert claims.claim(database, "me", 5.0, clock=lambda _: time.time() + 3600)


def test_once_a_batch_may_begin_its_status_says_no_more_when(serve):
    server = serve(coalesce_s=0.01)
    request = accepted(server)
    time.sleep(0.02)
    after = server("GET", f"/requests/{request}").json()
    assert (after["batch_starts_at"], after["units"]["open"]) == (None, 1)
    assert claims.claim(server.home.site.database, "me", 5.0)


def test_pages_hold_all_requests_once_newest_first(server):
    made = [accepted(server, f"s{n}") for n in range(7)]
    found, cursor = [], {}
    while True:
        page = server("GET", "/requests", params={"limit": 3, **cursor}).json()
        found += [one["request"] for one in page["requests"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
        accepted(server, f"s{len(found) + 20}")  # what comes in meanwhile moves nothing
    assert found == made[::-1]


def test_filters(server):
    first, second = accepted(server, "s1"), accepted(server, "s2", kind="expire", regime="gdpr")
    server.home.recover()
    third = accepted(server, "s3")

    def listed(**filters):
        answer = server("GET", "/requests", params=filters)
        assert answer.status_code == 200, answer.text
        return [one["request"] for one in answer.json()["requests"]]

    assert listed(state="done") == [second, first]
    assert listed(state="forgotten") == [third]
    assert listed(kind="expire") == [second]
    assert listed(dataset="people") == [third, second, first]
    assert listed(dataset="other") == []
    assert listed(overdue="true") == []
    assert listed(overdue="false") == [third, second, first]


def test_an_overdue_request_is_found(server):
    request = accepted(server, regime="1d", received="2020-01-01T00:00:00+00:00")
    listed = server("GET", "/requests", params={"overdue": "true"}).json()["requests"]
    assert [one["request"] for one in listed] == [request]
    assert listed[0]["overdue"]


@pytest.mark.parametrize(
    "cursor",
    [
        "xxyyzz",
        "!!!!",
        "ééé",
        "A" * 128,
        base64.urlsafe_b64encode(b"1 now 4f1f64b0").decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
def test_a_cursor_that_is_none_of_ours_is_refused(shared, cursor):
    answer = shared("GET", "/requests", params={"cursor": cursor})
    assert answer.status_code == 422
    assert cursor not in answer.text


def test_a_second_person_approves(serve):
    server = serve(approval=True)
    submitter, both = server.key("unlearn:submit"), server.key("unlearn:submit", "unlearn:approve")
    approver = server.key("unlearn:approve")
    answer = server.unlearn({"sample_id": "s3"}, token=both)
    assert answer.json()["state"] == "submitted"
    assert answer.json()["models"] == []
    assert server.home.dataset("people").forgotten == 0
    path = f"{answer.headers['location']}/approve"
    assert server("POST", path, token=submitter).status_code == 403
    own = server("POST", path, token=both)
    assert (own.status_code, own.json()["code"]) == (403, "second-person-needed")
    done = server("POST", path, token=approver)
    assert (done.status_code, done.json()["state"]) == (200, "forgotten")
    assert server.home.dataset("people").forgotten == 1
    again = server("POST", path, token=approver)
    assert (again.status_code, again.json()["code"]) == (409, "request-move-refused")


def test_a_refusal_has_one_of_a_few_reasons(serve):
    server = serve(approval=True)
    path = f"{server.unlearn({'sample_id': 's3'}).headers['location']}/refuse"
    wordy = server("POST", path, json={"reason": "Anna said no"})
    assert wordy.status_code == 422
    assert "Anna" not in wordy.text
    refused = server("POST", path, json={"reason": "unverified"})
    assert (refused.status_code, refused.json()["state"]) == (200, "refused")


def test_a_mistaken_request_is_undone_in_its_window(server):
    before = server("GET", "/models/wide").json()["version"]
    undoable, fixed = accepted(server, undo_s=3600), accepted(server, "s5")
    assert server("POST", f"/requests/{undoable}/undo").json()["state"] == "undone"
    assert server("POST", f"/requests/{fixed}/undo").status_code == 409
    server.home.recover()
    assert server.home.dataset("people").forgotten == 1
    assert server("GET", "/models/wide").json()["version"] != before


def test_a_restriction_is_lifted(server):
    request = accepted(server, kind="restrict")
    assert server("POST", f"/requests/{request}/lift").json()["state"] == "undone"
    assert server("POST", f"/requests/{request}/lift").status_code == 409


def test_a_deadline_is_extended_once(server):
    request = accepted(server, regime="gdpr")
    before = server("GET", f"/requests/{request}").json()
    after = server("POST", f"/requests/{request}/extend").json()
    assert after["extended"]
    assert after["deadline"] > before["deadline"]
    assert server("POST", f"/requests/{request}/extend").status_code == 422


def test_a_move_under_an_idempotency_key_is_made_once(server):
    request = accepted(server, undo_s=60)
    headers = {"Idempotency-Key": "undo-1"}
    first = server("POST", f"/requests/{request}/undo", headers=headers)
    again = server("POST", f"/requests/{request}/undo", headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()
    other = server("POST", f"/requests/{request}/lift", headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-reused")


def test_a_certificate_is_given_when_the_request_is_done(server):
    request = accepted(server)
    path = f"/requests/{request}/certificate"
    early = server("GET", path)
    assert (early.status_code, early.json()["code"]) == (409, "certificate-not-ready")
    server.home.recover()
    given = server("GET", path)
    assert given.status_code == 200
    assert given.headers["content-type"] == "application/zip"
    assert given.content == server.home.certificate(request).data


def test_a_submitter_follows_its_own_requests_only(server):
    own, other = server.key("unlearn:submit"), server.key("unlearn:submit")
    path = server.unlearn({"sample_id": "s3"}, token=own).headers["location"]
    assert server("GET", path, token=own).status_code == 200
    strange = server("GET", path, token=other)
    none = server("GET", "/requests/4f1f64b0-6a0c-4d35-9d3b-6a3a7b9c2b11", token=other)
    assert strange.status_code == none.status_code == 404
    assert {**strange.json(), "instance": ""} == {**none.json(), "instance": ""}
    assert server("GET", "/requests", token=own).status_code == 403
    assert server("POST", f"{path}/cancel", token=other).status_code == 404


def test_set_aside_rebuilds_are_tried_again(server):
    request = accepted(server)
    answer = server("POST", f"/requests/{request}/retry")
    assert (answer.status_code, answer.json()["units"]["open"]) == (200, 1)


def test_a_rebuild_that_was_set_aside_is_told_until_somebody_mended_it(server, monkeypatch, capsys):
    site, queue, learn = server.home.site, InProcessQueue(), Tiny.learn
    worker = Worker(site, Inline(), queue, WorkerSettings(attempts=1))

    def fails(*_):
        raise ZeroDivisionError("anna@example.org")

    request = accepted(server)
    path = f"/requests/{request}"
    assert server("GET", path).json()["problems"] == []
    with monkeypatch.context() as patched:
        patched.setattr(Tiny, "learn", fails)
        worker.step()
    found = server("GET", path).json()
    (problem,) = found["problems"]
    assert (problem["model"], problem["error"]) == ("wide", "ZeroDivisionError")
    assert (found["state"], found["units"]["aside"]) == ("forgotten", 1)
    console = Console(width=200)
    for part in standing.shown(found):
        console.print(part)
    said = capsys.readouterr().out
    assert f"shard {problem['shard']} of wide was set aside (ZeroDivisionError)" in said
    assert f"expunge requests retry {request}" in said
    assert Tiny.learn is learn
    assert server("POST", f"{path}/retry").json()["problems"] == []
    worker.step()
    life.tend(site)
    assert server("GET", path).json()["state"] == "done"
