"""Errors as RFC 9457 problems: a stable code, a page, and never a word of what was sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from expunge.api.pages import PAGES
from expunge.core.errors import (
    CellInvalid,
    ColumnUnknown,
    ExpungeError,
    IdempotencyInFlight,
    MethodUnavailable,
    ScopeMissing,
    UnknownName,
)

MEDIA_TYPE: Final = "application/problem+json"

_MOST_ERRORS: Final = 20
RETRY_S: Final = {429: 1, 503: 2}
_FIXED: Final = frozenset({"samples-unknown", "certificate-not-ready", "journal-unwritten"})
"""Their messages count, or are for Python: the page's first words are enough."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in what was sent.

    Attributes:
        pointer: Where, as a JSON pointer into the body, or the name of a parameter or header.
        message: What is expected there.
    """

    pointer: str
    message: str


class Problem(Exception):
    """Stops a request, with the problem that answers it.

    Attributes:
        headers: Of the response.
        more: Further members of the body.
        cause: Class of an error that operators are to be told of; empty where they need not be.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
        cause: str = "",
    ) -> None:
        super().__init__(code)
        self.cause = cause
        self.code, self.detail, self.faults = code, detail, tuple(faults)
        self.headers, self.more = dict(headers or {}), dict(more or {})

    @property
    def status(self) -> int:
        """Of the response."""
        return PAGES[self.code].status


@dataclass(frozen=True, slots=True)
class Pointing:
    """Turns validation errors into faults, each below ``root``."""

    root: str = "#"
    most: int = field(default=_MOST_ERRORS)

    def faults(self, errors: Sequence[Mapping[str, Any]]) -> list[Fault]:
        """The first errors, without what was sent."""
        return [self._fault(error) for error in errors[: self.most]]

    def _fault(self, error: Mapping[str, Any]) -> Fault:
        place = tuple(error["loc"])
        if error["type"] == "extra_forbidden":  # its name is what was sent
            return Fault(self._at(place[:-1]), "There is a member that is not known.")
        return Fault(self._at(place), f"{error['msg']}.")

    def _at(self, place: Sequence[object]) -> str:
        parts = (str(part).replace("~", "~0").replace("/", "~1") for part in place)
        return "/".join((self.root, *parts))


def of_validation(error: ValidationError, root: str = "#") -> Problem:
    """The problem of a body that is not as its model says."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    if any(one["type"] == "json_invalid" for one in errors):
        return Problem("body-malformed", "The body is not valid JSON.")
    return Problem("request-invalid", "The body is invalid.", faults=Pointing(root).faults(errors))


def of_error(error: Exception) -> Problem:
    """The problem that tells of an error; ``internal`` for what nobody expects."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ExpungeError):
        return _of_ours(error)
    if isinstance(error, TimeoutError):  # before OSError, which it is, too
        return Problem("timed-out")
    if isinstance(error, SQLAlchemyError):
        return _told(error, "database-unavailable")
    if isinstance(error, OSError):
        return _told(error, "storage-unavailable")
    return _told(error, "internal")


def response(problem: Problem, call: str) -> Response:
    """A problem as the response to the call of that id."""
    page = PAGES[problem.code]
    body: dict[str, Any] = {
        "type": f"/problems/{problem.code}",
        "title": page.title,
        "status": page.status,
        "detail": problem.detail or f"{page.title}.",
        "code": problem.code,
        "instance": f"urn:uuid:{call}",
    }
    if problem.faults:
        body["errors"] = [{"pointer": f.pointer, "message": f.message} for f in problem.faults]
    headers = dict(problem.headers)
    if page.status in RETRY_S:
        headers.setdefault("Retry-After", str(RETRY_S[page.status]))
    if page.status == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="expunge"')
    return Response(json.dumps(body | problem.more), page.status, headers, MEDIA_TYPE)


def code_of(error: ExpungeError) -> str:
    """The code of an error that has a page; of its nearest kin, where it has none itself."""
    for kin in type(error).__mro__:
        code = getattr(kin, "code", None)
        if code in PAGES:
            return str(code)
    return "internal"


def _of_ours(error: ExpungeError) -> Problem:
    code = code_of(error)
    if PAGES[code].status == 500:
        return _told(error, code)
    headers = {}
    if isinstance(error, IdempotencyInFlight):
        headers["Retry-After"] = str(max(1, round(error.seconds)))
    return Problem(code, _detail(error, code), headers=headers, more=_more(error))


def _detail(error: ExpungeError, code: str) -> str:
    if isinstance(error, UnknownName):
        return f"There is no such {error.kind}."  # neither what was sent, nor what there is
    if isinstance(error, ColumnUnknown) or code in _FIXED:
        return ""
    return str(error)


def _more(error: ExpungeError) -> dict[str, Any]:
    if isinstance(error, MethodUnavailable):
        return {"possible": error.possible}
    if isinstance(error, ScopeMissing):
        return {"scope": error.scope}
    if isinstance(error, CellInvalid):
        return {"row": error.row, "column": error.column}
    return {}


def _told(error: Exception, code: str) -> Problem:
    """To be logged by its class alone: what others' errors say may quote an id."""
    return Problem(code, cause=type(error).__name__)
