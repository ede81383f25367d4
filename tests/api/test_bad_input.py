"""Bad input and hostile users: each case a correct answer, and never a 500."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ID = "4f1f64b0-6a0c-4d35-9d3b-6a3a7b9c2b11"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\x00",
        b"\xff\xfe{}",
        b'{"sample_id": "\xff"}',
        b'{"sample_id": "\\ud800"}',
        b"{'sample_id': 's1'}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"sample_id": "s1"} trailing',
    ],
)
def test_malformed_json(shared, body):
    answer = shared("POST", "/unlearn", content=body, headers=JSON)
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "body-malformed"


@pytest.mark.parametrize(
    "body",
    [
        [],
        "s1",
        3,
        {},
        {"sample_id": 3},
        {"sample_id": float("nan")},
        {"sample_id": None},
        {"sample_id": ""},
        {"sample_id": ["s1"]},
        {"sample_id": "x" * 513},
        {"sample_ids": []},
        {"sample_ids": "s1"},
        {"sample_ids": {"0": "s1"}},
        {"sample_ids": ["s"] * 10_001},
        {"sample_id": "s1", "more": 1},
        {"sample_id": "s1", "method": "SISA"},
        {"sample_id": "s1", "kind": "correct"},
        {"sample_id": "s1", "kind": "object"},
        {"sample_id": "s1", "models": []},
        {"sample_id": "s1", "dataset": ""},
        {"sample_id": "s1", "dataset": "a\x00b"},
        {"sample_id": "s1", "dataset": "a\r\nX: y"},
        {"sample_id": "s1", "undo_s": -1},
        {"sample_id": "s1", "undo_s": 1e300},
        {"sample_id": "s1", "undo_s": "60"},
        {"sample_id": "s1", "undo_s": True},
        {"sample_id": "s1", "received": "yesterday"},
        {"sample_id": "s1", "received": 0},
        {"sample_id": "s1", "received": "2026-01-01T00:00:00"},
        {"sample_id": "s1", "received": "9999-12-31T23:59:59Z", "regime": "gdpr"},
        {"sample_id": "s1", "effective": "2026-01-01T00:00:00"},
        {"sample_id": "s1", "missing": "maybe"},
    ],
)
def test_bodies_that_are_not_as_described(shared, body):
    answer = shared("POST", "/unlearn", content=json.dumps(body), headers=JSON)
    assert answer.status_code == 422, answer.text
    assert shared.home.dataset("people").forgotten == 0


EDGES = (
    {"sample_id": "s1", "received": "0001-01-01T00:00:00Z", "regime": "gdpr"},
    {"sample_id": "s1", "effective": "9999-12-31T23:59:59Z"},
    {"sample_id": "s1", "effective": "2199-12-31T23:59:59-14:00", "regime": "ccpa"},
    {"sample_id": "s1", "received": "2000-01-01T00:00:00+14:00", "regime": "999m+999m"},
    {"sample_id": "s1", "effective": "0001-01-01T00:00:00+14:00"},
    {"sample_id": "s1", "received": "0001-01-01T00:00:00+14:00", "regime": "ccpa"},
    {"sample_id": "s1", "regime": "999m"},
    {"sample_id": "s1", "regime": "999m+999d@Nowhere/Land"},
    {"sample_id": "s1", "regime": "../../etc/passwd"},
    {"sample_id": "s1", "purpose": "p" * 200},
    {"sample_id": "s1", "undo_s": 31_536_000},
    {"sample_id": "s1\x00"},
    {"sample_id": "'; DROP TABLE request; --"},
    {"subject": "\u202e\U0001f600"},
)


def test_bodies_at_the_edge_are_never_our_error(server):
    for body in EDGES:
        answer = server.unlearn(body)
        assert answer.status_code in (202, 404, 422), body


def test_other_content_types(server):
    body = json.dumps({"sample_id": "s1"}).encode()
    for kind in ("", "text/plain", "application/xml", "application/json; charset=latin-1", "a/b/c"):
        answer = server("POST", "/unlearn", content=body, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["code"]) == (415, "media-type-unsupported"), kind
    coded = server("POST", "/unlearn", content=body, headers={**JSON, "Content-Encoding": "gzip"})
    assert coded.status_code == 415
    for kind in (
        "application/json",
        "Application/JSON; charset=UTF-8",
        'application/json;charset="utf-8"',
    ):
        answer = server("POST", "/unlearn", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 202, kind


def test_bodies_that_are_too_large_by_what_they_say_and_by_what_they_are(serve):
    server = serve(body_bytes=1000)
    announced = server.unlearn({"sample_ids": ["s1"] * 1000})
    assert (announced.status_code, announced.json()["code"]) == (413, "body-too-large")

    async def parts():
        for _ in range(100):
            yield b'{"sample_id": "' + b"s" * 100

    streamed = server("POST", "/unlearn", content=parts(), headers=JSON)
    assert streamed.status_code == 413


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "9" * 30, "٣"])
def test_lengths_that_make_no_sense(shared, length):
    headers = {**JSON, "Content-Length": length.encode()}
    assert shared("POST", "/unlearn", content=b"{}", headers=headers).status_code == 413


def test_paths_and_methods_that_are_not_there(shared):
    for path in ("/", "/unlearn/", "/nothing", "/docs", "/redoc", "/requests/", "//unlearn"):
        assert shared("GET", path).status_code in (404, 405), path
    wrong = shared("PUT", "/unlearn")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    wrong = shared("PATCH", "/holds")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, POST")
    for method in ("OPTIONS", "TRACE", "PROPFIND"):
        assert shared(method, "/requests").status_code == 405
    assert "access-control-allow-origin" not in shared("GET", "/requests").headers


def test_head_is_get_without_the_body(shared):
    got, headed = shared("GET", "/requests"), shared("HEAD", "/requests")
    assert (headed.status_code, headed.content) == (200, b"")
    assert headed.headers["content-length"] == got.headers["content-length"]
    assert shared("HEAD", "/nothing").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/requests/x",
        f"/requests/{ID.upper()}",
        f"/requests/{ID}%00",
        "/requests/..%2f..%2fetc%2fpasswd",
        f"/requests/{ID}%0d%0aSet-Cookie:a",
        "/models/%00",
        "/models/a%0d%0ab/versions",
        f"/models/{'x' * 300}",
        "/models/%ff",
        "/models/wide/versions?cursor=0",
        "/models/wide/versions?cursor=-1",
        "/models/wide/versions?limit=501",
        "/requests?limit=0",
        "/requests?limit=501",
        "/requests?limit=x",
        "/requests?state=other",
        "/requests?state=done&surprise=1",
        "/requests?dataset=%00",
        "/requests?overdue=maybe",
        "/requests?cursor=",
    ],
)
def test_parameters_that_are_not_as_described(shared, path):
    answer = shared("GET", path)
    assert answer.status_code in (404, 422), answer.text
    assert "etc" not in answer.text
    assert "Set-Cookie" not in str(answer.headers)


PLACES = (
    "..%2f..%2f..%2fetc%2fpasswd",
    "../../keys/log.key",
    "%2e%2e/%2e%2e/keys/log",
    "entries/../../../keys",
    "0/000%00",
    "0/0000",
    "0/x000/001",
    "0/000.p/0",
    "0/000.p/256",
    "0/000.p/07",
    "64/000",
    "0//etc/passwd",
    "entries/٠٠٠",
    "0/" + "x001/" * 30 + "001",
    "",
    "handover",
)


def test_paths_of_the_ledger_play_no_tricks(server):
    server.unlearn({"sample_id": "s1"})
    server.home.ledger.sync()
    for place in PLACES:
        answer = server("GET", f"/ledger/tile/{place}")
        assert answer.status_code in (404, 422), place


def test_nothing_that_is_sent_comes_back_in_a_header(shared):
    evil = "x\r\nSet-Cookie: a=b"
    body = {"sample_id": "s1", "dataset": evil}
    answers = [
        shared.unlearn(body),
        shared("GET", "/requests", params={"cursor": evil}),
        shared("GET", f"/problems/{'%0d%0aSet-Cookie:%20a=b'}"),
    ]
    for answer in answers:
        assert "set-cookie" not in answer.headers
        assert answer.status_code in (404, 422)


def test_security_headers_are_on_every_answer(shared):
    for answer in (shared("GET", "/requests"), shared("GET", "/no"), shared.unlearn({})):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"
        assert "shared" not in answer.headers


CELLS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
NAMES = st.sampled_from(["x0", "x1", "x2", "job", "y", "who", "other", ""])


def test_no_row_makes_a_prediction_our_error(serve):
    server = serve(rate="1000000/second")
    good = {"x0": 1.0, "x1": 2, "x2": 0.5, "job": "cook"}

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.dictionaries(NAMES, CELLS, max_size=5), max_size=3))
    def check(rows):
        for sent in (rows, [{**good, **row} for row in rows]):
            content = json.dumps({"rows": sent}, ensure_ascii=True)
            answer = server("POST", "/models/wide/predict", content=content, headers=JSON)
            assert answer.status_code in (200, 400, 422), (answer.text, content)

    check()


def test_rows_of_predictions_are_limited(serve):
    server = serve(predict_rows=2)
    rows = [{"x0": 1.0, "x1": 2, "x2": 0.5, "job": "cook"}] * 3
    assert server("POST", "/models/wide/predict", json={"rows": rows}).status_code == 413
    assert server("POST", "/models/wide/predict", json={"rows": rows[:2]}).status_code == 200
    assert server("POST", "/models/none/predict", json={"rows": rows[:2]}).status_code == 404


def test_one_request_that_breaks_us_spoils_no_other(server, monkeypatch):
    from expunge.requests import forget

    accept_all = forget.accept_all

    def fragile(site, dataset, asked, *more):
        if any("s7" in wanted.samples for wanted, _ in asked):
            raise OverflowError("s7")
        return accept_all(site, dataset, asked, *more)

    monkeypatch.setattr(forget, "accept_all", fragile)

    async def all_at_once():
        calls = (server.call("POST", "/unlearn", json={"sample_id": f"s{n}"}) for n in range(20))
        return await asyncio.gather(*calls)

    statuses = [answer.status_code for answer in server.run(all_at_once())]
    assert statuses == [202] * 7 + [500] + [202] * 12
