"""The client: asks again only where that is safe, and tells errors as the library does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import httpx
import pytest

from expunge.client import FINAL, Patience, ServerProblem, ServerUnreachable
from expunge.client.transport import Ask, Transport, retry_after_s
from expunge.core.errors import InputError, SamplesUnknown
from expunge.requests import states

KEY = "exp_0123456789abcdef_" + "0" * 64
QUICK = Patience(tries=4, first_s=0.0, most_s=0.0)


def transport(answer: Callable[[httpx.Request], httpx.Response]) -> Transport:
    return Transport("http://there", KEY, patience=QUICK, over=httpx.MockTransport(answer))


def one_by_one(*answers: httpx.Response | Exception) -> tuple[Transport, list[httpx.Request]]:
    """A server that gives these answers, and what it was asked."""
    asked: list[httpx.Request] = []
    coming: Iterator[httpx.Response | Exception] = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        asked.append(request)
        given = next(coming)
        if isinstance(given, Exception):
            raise given
        return given

    return transport(answer), asked


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"code": code, "title": "A title", "detail": "Some detail.", "status": status}
    return httpx.Response(status, json=body, headers=headers)


ONCE = Ask("POST", "/unlearn", json={"sample_id": "UUID-1234"}, is_once=True)


@pytest.mark.parametrize(
    "first",
    [
        httpx.ConnectError("no"),
        httpx.ReadError("cut"),
        httpx.ReadTimeout("slow"),
        problem(503, "server-busy"),
        problem(429, "too-many-requests", **{"Retry-After": "0"}),
        problem(409, "idempotency-in-flight"),
        httpx.Response(502, text="<html>bad gateway</html>"),
    ],
)
def test_it_asks_again_under_the_same_key(first: httpx.Response | Exception) -> None:
    there, asked = one_by_one(first, httpx.Response(202, json={"id": "r"}))
    assert there.json(ONCE) == {"id": "r"}
    keys = [request.headers["Idempotency-Key"] for request in asked]
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert keys[0].startswith('"')
    assert keys[0].endswith('"')
    assert asked[0].content == asked[1].content


def test_two_requests_have_two_keys() -> None:
    there, asked = one_by_one(*[httpx.Response(202, json={})] * 2)
    there.json(ONCE)
    there.json(ONCE)
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 2


def test_a_key_is_sent_and_never_shown() -> None:
    there, asked = one_by_one(httpx.Response(200, json={}))
    there.json(Ask("GET", "/requests"))
    assert asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert "Idempotency-Key" not in asked[0].headers


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500, 501])
def test_what_is_refused_is_not_asked_again(status: int) -> None:
    there, asked = one_by_one(problem(status, "some-new-code"))
    with pytest.raises(ServerProblem, match=r"Some detail\. \(HTTP") as caught:
        there.json(ONCE)
    assert len(asked) == 1
    assert (caught.value.status, caught.value.code) == (status, "some-new-code")


@pytest.mark.parametrize("code", ["model-withdrawn", "model-retired"])
def test_a_model_that_is_withdrawn_is_no_busy_server(code: str) -> None:
    there, asked = one_by_one(problem(503, code))
    with pytest.raises(Exception, match="Some detail") as caught:
        there.json(Ask("POST", "/models/m/predict", json={}))
    assert caught.value.code == code  # type: ignore[attr-defined]
    assert len(asked) == 1


def test_errors_are_those_of_the_library() -> None:
    there, _ = one_by_one(problem(404, "samples-unknown"))
    with pytest.raises(SamplesUnknown, match=r"^Some detail\.$") as caught:
        there.json(ONCE)
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize("body", ["", "[1]", "<html>", '"text"', "{"])
def test_an_answer_that_is_none_of_ours_is_told_by_its_status(body: str) -> None:
    there, _ = one_by_one(httpx.Response(418, text=body))
    with pytest.raises(ServerProblem, match=r"does not say why. \(HTTP 418\)"):
        there.json(ONCE)


def test_it_gives_up_after_some_tries() -> None:
    there, asked = one_by_one(*[httpx.ConnectError("no")] * 9)
    with pytest.raises(ServerUnreachable, match=r"ConnectError.* after 4 tries") as caught:
        there.json(ONCE)
    assert caught.value.tries == len(asked) == 4

    there, asked = one_by_one(*[problem(503, "server-stopping")] * 9)
    with pytest.raises(Exception, match="Some detail"):
        there.json(ONCE)
    assert len(asked) == 4


def test_it_waits_as_long_as_the_server_asks_and_no_longer_than_it_wants() -> None:
    patience = Patience(first_s=1.0, most_s=20.0)
    assert patience.pause_s(1, 3.0) == 3.0
    assert patience.pause_s(1, 3600.0) == 20.0
    assert all(0 <= patience.pause_s(3, None) <= 4.0 for _ in range(100))
    assert len({patience.pause_s(9, None) for _ in range(20)}) > 10


@pytest.mark.parametrize(
    ("said", "seconds"), [("2", 2.0), ("", None), ("soon", None), ("-1", None), ("²", None)]
)
def test_only_seconds_are_a_pause(said: str, seconds: float | None) -> None:
    headers = {"Retry-After": said.encode("utf-8")}
    assert retry_after_s(httpx.Response(503, headers=headers)) == seconds  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["", "there:80", "ftp://there", "http://", "file:///etc/passwd"])
def test_a_server_is_a_url(url: str) -> None:
    with pytest.raises(InputError, match="A server is named by a URL"):
        Transport(url, KEY)


@pytest.mark.parametrize("key", ["", "two words", "line\r\nX-Admin: yes", "schlüssel"])
def test_a_key_cannot_carry_headers(key: str) -> None:
    with pytest.raises(InputError, match="expunge keys create"):
        Transport("http://there", key)


def test_importing_it_needs_httpx_alone() -> None:
    heavy = ("numpy", "torch", "pyarrow", "sqlalchemy", "fastapi", "pydantic")
    code = f"import sys, expunge.client; print(sorted(set(sys.modules) & set({heavy!r})))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_its_final_states_are_those_of_requests() -> None:
    assert {str(state) for state in states.FINAL} == FINAL
