"""What a hostile client tries to learn, or to have said by us."""

from __future__ import annotations

import json
import time

import pytest

JSON = {"Content-Type": "application/json"}
FAR = "2100-01-01T00:00:00Z"
MARK = "xyzzy7"
ROW = {"x0": 0.1, "x1": 0.2, "x2": 0.3, "job": "cook"}

BODIES = [
    {"sample_id": MARK},
    {"sample_ids": [MARK, ""]},
    {"subject": MARK},
    {"sample_id": "s1", "dataset": MARK},
    {"sample_id": "s1", "models": [MARK]},
    {"sample_id": "s1", "purpose": MARK, "kind": MARK},
    {"sample_id": "s1", "regime": MARK},
    {"sample_id": "s1", "regime": f"30d@{MARK}/{MARK}"},
    {"sample_id": "s1", "method": MARK},
    {"sample_id": "s1", "missing": MARK},
    {"sample_id": "s1", "received": MARK},
    {"sample_id": "s1", "effective": MARK},
    {"sample_id": "s1", "undo_s": MARK},
    {"sample_id": "s1", MARK: MARK},
    MARK,
    [MARK],
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_no_problem_repeats_what_was_sent_in_a_body(shared, body):
    for path in ("/unlearn", "/forecast", "/holds", "/models/wide/predict"):
        answer = shared("POST", path, json=body)
        assert answer.status_code in (404, 422), answer.text
        assert MARK not in answer.text + str(answer.headers)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/{MARK}"),
        ("GET", f"/requests/{MARK}"),
        ("GET", f"/requests?state={MARK}"),
        ("GET", f"/requests?cursor={MARK}"),
        ("GET", f"/requests?{MARK}={MARK}"),
        ("GET", f"/models/{MARK}"),
        ("GET", f"/models/{MARK}/gate"),
        ("POST", f"/models/{MARK}/retire"),
        ("DELETE", f"/holds/{MARK}"),
        ("GET", f"/ledger/tile/{MARK}"),
        ("GET", f"/problems/{MARK.rstrip('7')}"),
        (MARK.upper(), "/requests"),
        ("POST", f"/unlearn/bulk?kind={MARK}"),
    ],
)
def test_no_problem_repeats_what_was_sent_elsewhere(shared, method, path):
    answer = shared(method, path, content=f"{MARK},{MARK}", headers={"Content-Type": "text/csv"})
    assert answer.status_code in (404, 405, 422), answer.text
    assert MARK.rstrip("7") not in (answer.text + str(answer.headers)).lower()


def test_rows_of_a_prediction_are_not_repeated(shared):
    for row in ({**ROW, "job": MARK}, {**ROW, MARK: 1}, {**ROW, "x0": MARK}):
        answer = shared("POST", "/models/wide/predict", json={"rows": [row]})
        assert MARK not in answer.text


def test_answers_are_json_whatever_the_numbers_are(shared):
    for x in (1e308, -1e308, 5e-324, 2**62, -0.0):
        rows = [{**ROW, "x0": x, "x1": -x}, ROW]
        answer = shared("POST", "/models/wide/predict", json={"rows": rows})
        assert answer.status_code in (200, 422), x
        json.loads(answer.text, parse_constant=pytest.fail)


def test_of_members_that_stand_twice_none_is_dropped_in_silence(server):
    for twice in ("sample_id", "sample\\u005fid", "sample\\u005Fid"):
        body = f'{{"sample_id": "s1", "{twice}": "s2"}}'
        answer = server("POST", "/unlearn", content=body, headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (400, "body-malformed")
    assert server.home.dataset("people").forgotten == 0
    for once in ("sample_id", "d\\u00e9j\\u00e0", 'a \\" \\"sample_id\\"'):
        body = f'{{"sample_id": "{once}"}}'
        answer = server("POST", "/unlearn", content=body, headers=JSON)
        assert answer.status_code == 404


def test_numbers_of_many_digits_are_refused_at_once(shared):
    for digits in (b"9" * 1_000_000, b"-0." + b"9" * 1_000_000, b"1e" + b"9" * 1_000_000):
        body = b'{"sample_id": "s1", "undo_s": ' + digits + b"}"
        began = time.process_time()
        answer = shared("POST", "/unlearn", content=body, headers=JSON)
        assert answer.status_code in (400, 422), digits[:4]
        assert time.process_time() - began < 20


@pytest.mark.parametrize("effective", [None, FAR])
def test_who_may_only_submit_does_not_learn_who_is_in(serve, effective):
    server = serve(reveal_unknown=False)
    token = server.key("unlearn:submit")
    told = []
    for sample in ("s3", "stranger"):
        body = {"sample_id": sample, "effective": effective, "kind": "erase"}
        sent = server.unlearn(body, token=token)
        cancelled = server("POST", f"{sent.headers['location']}/cancel", token=token)
        told.append((sent, cancelled))
        assert server("GET", sent.headers["location"], token=token).status_code == 403
    (known, known_end), (unknown, unknown_end) = told
    assert alike(known) == alike(unknown)
    assert alike(known_end) == alike(unknown_end)


def alike(answer):
    """An answer, without what differs between any two requests."""
    body = answer.json()
    for name in ("request", "status_url", "accepted", "received", "effective", "instance", "done"):
        if body.get(name):
            body[name] = "…"
    body.pop("timeline", None)
    names = {event["kind"] for event in answer.json().get("timeline", [])}
    return answer.status_code, body, names, sorted(answer.headers)


def test_labels_of_metrics_are_not_made_by_clients(server):
    for number in range(5):
        server(f"MARK{number}", "/requests")
        server("GET", f"/mark{number}")
        server("GET", f"/models/mark{number}")
        server("POST", f"/models/mark{number}/predict", json={"rows": [ROW]})
        server("GET", f"/problems/mark-{number}")
    text = server("GET", "/metrics").text
    assert "mark" not in text.lower()


def test_a_hostile_name_of_a_model_stays_one_label(server):
    import expunge
    from expunge.testing.fakes import Tiny

    name = 'a"} 1\nexpunge_ledger_check_ok 0 # '
    try:
        view = server.home.dataset("people").view("y")
        server.home.train(name, view, expunge.Sharded(Tiny(), shards=1, slices=1))
    except expunge.ExpungeError:
        return
    server.unlearn({"sample_id": "s1"})
    lines = server("GET", "/metrics").text.splitlines()
    assert [line for line in lines if line.startswith("expunge_ledger_check_ok")] == [
        "expunge_ledger_check_ok 1.0"
    ]


def test_who_guesses_keys_does_not_lock_out_those_who_have_one(serve):
    server = serve(rate_unknown="3/hour", key_cache_s=0)
    token = server.key("read")
    assert server("GET", "/requests", token=token).status_code == 200
    guesses = [server("GET", "/requests", token=f"exp_{n}").status_code for n in range(9)]
    assert guesses[-1] == 429
    # Behind a proxy all come from one address.
    assert server("GET", "/requests", token=token).status_code == 200


@pytest.mark.postgres
def test_words_that_postgresql_cannot_store_are_no_error_of_ours(serve, postgres_url, tmp_path):
    server = serve(postgres_url, tmp_path / "home")
    try:
        for word in ("s1\0", "\u202e\U0001f600", "x" * 512, "\ufffe", "';--"):
            bodies = [
                {"sample_id": word},
                {"subject": word},
                {"sample_id": word, "missing": "ignore"},
            ]
            for body in bodies:
                assert server.unlearn(body).status_code in (202, 404, 422), body
                assert server("POST", "/forecast", json=body).status_code in (200, 404, 422), body
            hold = {"name": "case", "sample_ids": [word]}
            assert server("POST", "/holds", json=hold).status_code in (404, 422)
            csv = {"Content-Type": "text/csv"}
            data = word.encode() + b"\n"
            assert server("POST", "/unlearn/bulk", content=data, headers=csv).status_code == 404
    finally:
        server.close()


BOMBS = (
    b'"' * 2_000_000,
    b'"\n' * 500_000,
    b'""""""\n' * 200_000,
    b"\0" * 2_000_000,
    b"a\0b\n",
    b",\n" * 500_000,
    b"\r" * 1_000_000,
    b"\n" * 5_000_000,
    b"\xf0\x9f\x98\x80" * 500_000,
    b"\xef\xbb\xbf" * 300_000,
)


def test_files_that_are_made_to_cost_are_refused_at_once(shared):
    for data in BOMBS:
        began = time.process_time()
        headers = {"Content-Type": "text/csv"}
        answer = shared("POST", "/unlearn/bulk", content=data, headers=headers)
        assert answer.status_code in (404, 413, 422), (data[:8], answer.text)
        assert time.process_time() - began < 50, data[:8]


def test_a_tag_is_of_one_answer_alone(server):
    tags = {}
    for sample in ("s1", "s9"):
        place = server.unlearn({"sample_id": sample}).headers["location"]
        tags[place] = server("GET", place).headers["etag"]
    (one, first), (other, second) = tags.items()
    assert first != second
    for given in (first, f'"x", W/{first}', "*"):
        assert server("GET", one, headers={"If-None-Match": given}).status_code == 304
    for given in (second, first.strip('"'), f"{first[:-1]}x", '"', "W/", ""):
        assert server("GET", one, headers={"If-None-Match": given}).status_code == 200
    unknown = "/requests/4f1f64b0-6a0c-4d35-9d3b-6a3a7b9c2b11"
    assert server("GET", unknown, headers={"If-None-Match": "*"}).status_code == 404
    assert server("GET", one, token=None, headers={"If-None-Match": first}).status_code == 401
    stranger = server.key("unlearn:submit")
    headers = {"If-None-Match": second}
    assert server("GET", other, token=stranger, headers=headers).status_code == 404
