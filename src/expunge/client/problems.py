"""What a server refused, as the same errors that the library raises.

References:
    Nottingham, Wilde and Dalal, "Problem Details for HTTP APIs", RFC 9457.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from expunge.core.errors import ExpungeError

_LONGEST_TEXT = 2_000


class ServerProblem(ExpungeError):
    """A server says no, for a reason that the library has no error for.

    Attributes:
        status: Of HTTP.
        problem: What the server said (RFC 9457); empty where it is none of ours.
    """

    code = "server-problem"

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status, self.problem = status, problem
        said = problem.get("detail") or problem.get("title") or "It does not say why."
        self.code = str(problem.get("code") or self.code)
        super().__init__(f"{str(said)[:_LONGEST_TEXT]} (HTTP {status})")


class ServerUnreachable(ExpungeError):
    """A server does not answer, or is busy, also when asked again."""

    code = "server-unreachable"

    def __init__(self, url: str, tries: int, why: str) -> None:
        self.url, self.tries = url, tries
        super().__init__(
            f"No answer from {url} ({why}) after {tries} tries. Whether a change was accepted is "
            f"not known: asked again under the same idempotency key, it is done once."
        )


class StillOpen(ExpungeError):
    """A request was waited for, and is not done yet."""

    code = "still-open"

    def __init__(self, request: str, state: str, waited_s: float) -> None:
        self.request, self.state = request, state
        super().__init__(
            f"After {waited_s:.0f} s the request is {state!r}. It goes on without us: wait again, "
            f"or look at its timeline."
        )


def error_of(response: httpx.Response) -> ExpungeError:
    """The error that a response tells of.

    One of the library's own is made from its code: it says what the server said. It lacks the
    attributes that would name ids, because those do not leave the server.
    """
    problem = body_of(response)
    known = {kind.code: kind for kind in _kinds(ExpungeError)}
    kind = known.get(str(problem.get("code", "")))
    if kind is None or issubclass(kind, ServerProblem):
        return ServerProblem(response.status_code, problem)
    error = kind.__new__(kind)
    Exception.__init__(error, str(problem.get("detail") or problem.get("title"))[:_LONGEST_TEXT])
    return error


def body_of(response: httpx.Response) -> dict[str, Any]:
    """The JSON object in a response; empty where there is none."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _kinds(kind: type[ExpungeError]) -> Iterator[type[ExpungeError]]:
    for below in kind.__subclasses__():
        yield below
        yield from _kinds(below)
