"""One request, however often its client has to send it; also when servers die in between."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest
from sqlalchemy import select, update

from expunge.core.errors import OutcomeUnknown
from expunge.requests import forget
from expunge.service import idempotency
from expunge.service.idempotency import ROWS
from expunge.storage.journal import Journal

BODY = {"sample_id": "s3"}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def served(request, serve, tmp_path):
    if request.param == "sqlite":
        yield serve()
        return
    server = serve(request.getfixturevalue("postgres_url"), tmp_path / "home")
    yield server
    server.close()


def sent(server, key="k1", body=BODY, **options):
    return server.unlearn(body, headers={"Idempotency-Key": key}, **options)


def requests(server):
    return server("GET", "/requests").json()["requests"]


def test_the_same_is_answered_the_same(served):
    first, again = sent(served), sent(served)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(requests(served)) == 1


def test_many_at_once_make_one_request(served):
    async def at_once():
        headers = {"Idempotency-Key": "k1"}
        calls = (served.call("POST", "/unlearn", json=BODY, headers=headers) for _ in range(20))
        return await asyncio.gather(*calls)

    answers = served.run(at_once())
    accepted = {answer.json()["request"] for answer in answers if answer.status_code == 202}
    others = {answer.json()["code"] for answer in answers if answer.status_code != 202}
    assert len(accepted) == 1
    assert others <= {"idempotency-in-flight"}
    assert len(requests(served)) == 1


def test_another_body_under_the_same_key_is_refused(served):
    sent(served)
    other = sent(served, body={"sample_id": "s4"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-reused")
    assert len(requests(served)) == 1


def test_keys_of_different_callers_are_different(served):
    first = sent(served)
    second = sent(served, token=served.key("unlearn:submit"))
    assert first.json()["request"] != second.json()["request"]


def test_the_same_key_in_quotes_and_bare_is_the_same(served):
    assert sent(served, "k1").json()["request"] == sent(served, '"k1"').json()["request"]


def test_a_refusal_keeps_nothing(served):
    assert sent(served, body={"sample_id": "stranger"}).status_code == 404
    served.home.ingest(
        "people",
        {
            "id": ["stranger"],
            "who": ["p"],
            "x0": [1.0],
            "x1": [1.0],
            "x2": [1.0],
            "job": ["cook"],
            "y": ["yes"],
        },
        id="id",
        subject="who",
    )
    assert sent(served, body={"sample_id": "stranger"}).status_code == 202


@pytest.mark.parametrize(
    "key",
    ['""', "", '"a', "a b", "ä", '"ä"', "x" * 256, '"' + "x" * 256 + '"', 'a"b', "a, b", '"a";p=1'],
)
def test_malformed_keys(shared, key):
    answer = shared.unlearn(BODY, headers={"Idempotency-Key": key.encode()})
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency-key-invalid")
    assert requests(shared) == []


def test_a_key_that_stands_there_twice(shared):
    headers = [
        ("Idempotency-Key", "a"),
        ("Idempotency-Key", "b"),
        ("Authorization", f"Bearer {shared.token}"),
    ]
    answer = shared.run(shared.http.post("/unlearn", json=BODY, headers=headers))
    assert answer.status_code == 400


def test_rows_hold_no_identity(served):
    sent(served, "anna@example.org", {"sample_id": "s3"})
    with served.home.site.database.reading() as transaction:
        (row,) = transaction.execute(select(ROWS))
    kept = " ".join(map(str, row)) + repr([bytes(row.key), bytes(row.body)])
    assert "anna" not in kept
    assert '"s3"' not in kept


def reserved(server, held_until):
    """As a server leaves a row that died: reserved, without an answer."""
    with server.home.site.database.transaction() as transaction:
        transaction.execute(update(ROWS).values(status=None, response=None, held_until=held_until))


def test_a_server_that_died_after_the_commit_is_answered_for(served):
    first = sent(served).json()
    reserved(served, 0.0)
    again = sent(served)
    assert again.status_code == 202
    assert again.json()["request"] == first["request"]
    assert [m["name"] for m in again.json()["models"]] == ["wide"]
    assert len(requests(served)) == 1
    assert sent(served).json() == again.json()


def test_a_server_that_died_before_the_commit_is_followed_under_the_same_id(served):
    caller = served.token.split("_")[1]
    key = served.service._hash(b"key", b"k1")
    body = served.unlearn({"sample_id": "s9"}, headers={"Idempotency-Key": "k0"}).request.content
    assert body
    request = str(uuid.uuid4())
    # What the server would have written: the same hash of the same body.
    sent(served, "kx")
    with served.home.site.database.transaction() as transaction:
        digest = transaction.execute(
            select(ROWS.c.body).where(ROWS.c.request == requests(served)[0]["request"])
        ).scalar_one()
        idempotency.reserve(
            transaction,
            [idempotency.Claim(caller, key, bytes(digest), request)],
            time.time() - 100,
            30,
            1000,
        )
    again = sent(served, body={"sample_id": "s3"})
    assert again.status_code == 202
    assert again.json()["request"] == request


def test_another_server_is_waited_for_while_it_may_live(served):
    sent(served)
    reserved(served, time.time() + 2000)
    waiting = sent(served)
    assert (waiting.status_code, waiting.json()["code"]) == (409, "idempotency-in-flight")
    assert 1500 <= int(waiting.headers["retry-after"]) <= 2000


def test_who_is_not_known_to_have_been_accepted_may_ask_again(served, monkeypatch):
    accept_all = forget.accept_all

    def broken(*arguments):
        accept_all(*arguments)
        raise OutcomeUnknown  # as when the connection breaks behind the commit

    with monkeypatch.context() as patched:
        patched.setattr(forget, "accept_all", broken)
        lost = sent(served)
    assert (lost.status_code, lost.json()["code"]) == (503, "outcome-unknown")
    again = sent(served)
    assert again.status_code == 202
    assert len(requests(served)) == 1
    assert again.json()["request"] == requests(served)[0]["request"]


def test_the_journal_has_what_is_answered_for_a_dead_server(served, monkeypatch):
    append = Journal.append

    def full(*_):
        raise OSError(28, "full")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", full)
        lost = sent(served)
    assert lost.status_code == 503
    assert Journal.append is append
    again = sent(served)
    assert again.status_code == 202
    journaled = {record.request for record in served.home.site.journal.read()}
    assert again.json()["request"] in journaled


@pytest.mark.parametrize(
    ("move", "terms"),
    [("undo", {"undo_s": 3600}), ("lift", {"kind": "restrict"}), ("extend", {"regime": "gdpr"})],
)
def test_who_sends_a_decision_again_that_was_not_in_the_journal_finds_that_it_stands(
    served, monkeypatch, move, terms
):
    request = served.unlearn(BODY | terms).json()["request"]

    def decided(key="d1"):
        path = f"/requests/{request}/{move}"
        return served("POST", path, headers={"Idempotency-Key": key})

    def full(*_):
        raise OSError(28, "full")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "_append", full)
        for _ in range(2):  # the client asks again before the disk is mended, too
            late = decided()
            assert (late.status_code, late.json()["code"]) == (503, "journal-unwritten")
    again = decided()
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    assert (again.json()["state"], again.json()["extended"]) in [
        ("undone", False),
        ("forgotten", True),
    ]
    journaled = [record.entry for record in served.home.site.journal.read()]
    kind = "deadline.extended" if move == "extend" else "request.undone"
    assert any(kind.encode() in entry for entry in journaled)
    assert decided().json() == again.json()
    assert decided("another").status_code in (409, 422)


def test_a_decision_that_was_refused_is_judged_anew(served):
    request = served.unlearn(BODY).json()["request"]
    path, headers = f"/requests/{request}/undo", {"Idempotency-Key": "d1"}
    answers = [served("POST", path, headers=headers) for _ in range(2)]
    assert [one.status_code for one in answers] == [409, 409]
    assert all("idempotency-replayed" not in one.headers for one in answers)


def test_old_answers_are_dropped(served):
    sent(served)
    with served.home.site.database.transaction() as transaction:
        assert idempotency.drop_old(transaction, time.time()) == 0
        assert idempotency.drop_old(transaction, time.time() + 90_000) == 1
    sent(served)
    assert len(requests(served)) == 2
