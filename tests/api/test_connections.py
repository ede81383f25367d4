"""Clients that hold connections, or say two things at once: over real sockets."""

from __future__ import annotations

import re
import socket
import time
from contextlib import suppress

import httpx
import pytest

GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /unlearn HTTP/1.1\r\nHost: x\r\n"
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def server(run_once):
    return run_once(head_timeout_s=1, body_timeout_s=1, workers=0)


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)


def is_ended(connection, step):
    """Whether the server ends a connection; ``step`` is called now and then."""
    until = time.monotonic() + PATIENCE_S
    connection.settimeout(0.2)
    while time.monotonic() < until:
        try:
            step()
            if connection.recv(65_536) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def ask_for_ever(connection):
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with suppress(TimeoutError):
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 20)


def statuses(answer):
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3})", answer)]


def test_a_body_that_goes_on_slowly_behind_its_answer_ends_the_connection(server):
    with connect(server) as connection:
        connection.sendall(POST + b"Content-Length: 1000000\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401")
        assert is_ended(connection, lambda: connection.send(b"x"))


def test_silence_behind_a_late_body_ends_the_connection(server):
    with connect(server) as connection:
        connection.sendall(POST + b"Content-Length: 2\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401")
        connection.sendall(b"{}")
        assert is_ended(connection, lambda: None)


def answered(connection):
    """A whole answer, its body included: head and body are two packets."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65_536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    while len(body) < length:
        body += connection.recv(65_536)
    return head


def test_a_late_body_does_not_spoil_what_comes_behind_it(run):
    server = run(body_timeout_s=PATIENCE_S, workers=0)
    with connect(server) as connection:
        connection.sendall(POST + b"Content-Length: 2\r\n\r\n")
        assert answered(connection).startswith(b"HTTP/1.1 401")
        connection.sendall(b"{}" + GET)
        assert answered(connection).startswith(b"HTTP/1.1 200")


def test_answers_that_nobody_takes_end_the_connection(server):
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.5)
        connection.connect(("127.0.0.1", server.port))
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            ask_for_ever(connection)
    assert server.http.get("/health/live").status_code == 200


def test_answers_that_are_taken_slowly_are_whole(server):
    whole = len(server.http.get("/openapi.json").content)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        connection.sendall(request * 40 + last)
        received = 0
        while part := connection.recv(65_536):
            received += len(part)
            time.sleep(0.001)
    assert received > 41 * whole


AMBIGUOUS = (
    b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
    b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    b"Content-Length: 0, 0\r\n\r\n",
    b"Content-Length: +0\r\n\r\n",
    b"Content-Length: -1\r\n\r\n",
    b"Content-Length: 0x0\r\n\r\n",
    b"Content-Length: 99999999999999999999\r\n\r\n",
    b"Content-Length : 0\r\n\r\n",
    b"X: y\r\n Content-Length: 0\r\n\r\n",
    b"X\x00: y\r\n\r\n",
    b"X: y\x00\r\n\r\n",
    b"X: y\rContent-Length: 0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n0 ;x\r\n\r\n",
)


def test_nothing_is_smuggled_behind_a_request_of_two_lengths(server):
    for head in AMBIGUOUS:
        answer = server.raw(POST + head + GET)
        # Refused as a whole, or not understood as the end of anything: never the second request.
        assert 200 not in statuses(answer), (head, answer)
        assert all(status < 500 for status in statuses(answer)), (head, answer)
    assert server.http.get("/health/live").status_code == 200


def test_what_follows_an_upgrade_is_no_request(server):
    for kind in (b"websocket", b"h2c"):
        upgrade = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: " + kind)
        answer = server.raw(upgrade + b"\r\n\r\n" + GET * 3)
        assert len(statuses(answer)) <= 1, answer
    assert statuses(server.raw(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n" + GET)) in (
        [],
        [400],
        [404],
    )
    assert statuses(server.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) in ([], [400])
    assert server.http.get("/health/live").status_code == 200


def test_the_host_header_is_nobody(server):
    for host in ("evil.example", "evil.example:1/@x", "x\ty"):
        headers = {"Host": host, "X-Forwarded-Host": host, "X-Forwarded-For": "10.0.0.1"}
        answers = [
            server.http.post("/unlearn", json={"sample_id": "s3"}, headers=headers),
            server.http.get("/unlearn/", headers=headers),
            server.http.get("/openapi.json", headers=headers),
        ]
        for answer in answers:
            assert "evil" not in answer.text + str(answer.headers), host
    target = f"http://127.0.0.1:{server.port}"
    with httpx.Client() as client:
        request = client.build_request("GET", f"{target}/health/live")
        request.extensions["target"] = b"http://evil.example/health/live"
        assert client.send(request).status_code in (200, 400, 404)
