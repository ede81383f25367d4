"""A real server: heads, bodies and signals as they come over a socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

import expunge
from expunge.execution.local import Inline
from expunge.execution.progress import Silent


def test_a_request_is_rebuilt_and_done_without_anybody_waiting(run):
    server = run()
    answer = server.http.post("/unlearn", json={"sample_id": "s3"})
    assert answer.status_code == 202
    until = time.monotonic() + 120
    while (state := server.http.get(answer.headers["location"]).json()["state"]) != "done":
        assert time.monotonic() < until, state
        time.sleep(0.2)
    assert server.http.get("/ledger/checkpoint").status_code == 200


def test_clients_that_are_slow_or_send_too_much(run):
    server = run(head_timeout_s=1, body_timeout_s=1, header_bytes=4096, body_bytes=1000, workers=0)
    began = time.monotonic()
    assert server.raw() == b""  # says nothing
    assert server.raw(b"GET / HTTP/1.1\r\nHost:") == b""  # does not end its head
    assert time.monotonic() - began > 1.5

    slow = server.raw(server.head(100) + b'{"sample')  # does not end its body
    assert slow.startswith(b"HTTP/1.1 408")
    assert b"body-incomplete" in slow

    long = b"GET / HTTP/1.1\r\nX: " + b"x" * 5000 + b"\r\n\r\n"
    assert server.raw(long).startswith(b"HTTP/1.1 431")
    assert server.raw(b"GET /" + b"x" * 100_000).startswith(b"HTTP/1.1 431")
    many = b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 2000
    assert server.raw(many).startswith(b"HTTP/1.1 431")

    assert server.raw(server.head(2000) + b"{").startswith(b"HTTP/1.1 413")
    chunked = server.head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    part = b"200\r\n" + b" " * 0x200 + b"\r\n"
    assert server.raw(chunked + part * 3).startswith(b"HTTP/1.1 413")
    # Many requests on one connection: the head of each is counted anew.
    for _ in range(60):
        assert server.http.get("/health/live").status_code == 200


NO_HTTP = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"HELLO\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA\r\n B: c\r\n\r\n",
    b"POST /unlearn HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
)


def test_what_is_no_http(run):
    server = run(head_timeout_s=0.5, workers=0)
    for data in NO_HTTP:
        answer = server.raw(data)
        refused = (b"HTTP/1.1 400", b"HTTP/1.1 401", b"HTTP/1.1 404")
        assert answer == b"" or answer.startswith(refused), data
        assert b"HTTP/1.1 5" not in answer
    assert server.http.get("/health/live").status_code == 200


@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def test_what_was_accepted_is_answered_when_it_is_told_to_stop(run, tmp_path, request, database):
    if database == "postgres":
        place = (request.getfixturevalue("postgres_url"), tmp_path / "home")
    else:
        place = (tmp_path / "home", None)
    server = run(*place, workers=0)
    outcomes, told = [], threading.Event()

    def client(number):
        with httpx.Client(base_url=server.http.base_url, headers=server.http.headers) as http:
            for turn in range(40):
                try:
                    answer = http.post("/unlearn", json={"sample_id": f"s{number * 40 + turn}"})
                except httpx.TransportError:
                    return
                outcomes.append((answer.status_code, answer.json()))
                if len(outcomes) > 40:
                    told.set()

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for one in clients:
        one.start()
    told.wait(120)
    server.process.send_signal(signal.SIGTERM)
    for one in clients:
        one.join(120)
    assert server.process.wait(120) == 0
    assert server.process.stdout.read() == "ended\n"
    assert {status for status, _ in outcomes} <= {202, 503}
    assert all(body["code"] == "server-stopping" for status, body in outcomes if status == 503)
    accepted = {body["request"] for status, body in outcomes if status == 202}
    with expunge.open(
        place[0], files=place[1], executor=Inline(), progress=Silent(), background=False
    ) as home:
        assert accepted <= {request.id for request in home.requests()}
        assert accepted <= {record.request for record in home.site.journal.read()}


def test_a_large_upload_is_read_as_it_comes(run):
    server = run(workers=0)
    ids = "".join(f"s{number}\r\n" for number in range(400)) * 500

    def parts():
        data = ids.encode()
        for start in range(0, len(data), 10_000):
            yield data[start : start + 10_000]

    answer = server.http.post(
        "/unlearn/bulk", content=parts(), headers={"Content-Type": "text/csv"}
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["samples"] == 400
    assert answer.json()["models"][0]["withdrawn"]


def test_settings_come_from_the_environment():
    said = {"EXPUNGE_APPROVAL": "true", "EXPUNGE_BATCH": "7", "EXPUNGE_RATE": "5/minute"}
    code = (
        "import json; from expunge.service.settings import Settings; s = Settings(); "
        "print(json.dumps([s.approval, s.batch, s.rate]))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | said
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [True, 7, "5/minute"]
