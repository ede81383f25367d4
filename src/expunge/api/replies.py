"""Responses that are not problems."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from expunge.service.answers import Answer

_JSON: Final = "application/json"


def reply(
    body: Mapping[str, Any] | str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """JSON; text is taken as it is."""
    text = body if isinstance(body, str) else json.dumps(body)
    return Response(text, status, headers, _JSON)


def replied(answer: Answer, headers: Mapping[str, str] | None = None) -> Response:
    """An answer; it says where it was given before."""
    said = {"Idempotency-Replayed": "true"} if answer.replayed else {}
    return reply(answer.body, answer.status, said | dict(headers or {}))


def tagged(
    request: Request, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> Response:
    """JSON with its ETag; 304 where the client has it already."""
    text = json.dumps(body)
    tag = f'"{urlsafe_b64encode(sha256(text.encode()).digest()[:15]).decode()}"'
    all_headers = {**(headers or {}), "ETag": tag, "Cache-Control": "private, no-cache"}
    if _matches(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=all_headers)
    return Response(text, 200, all_headers, _JSON)


def _matches(given: str, tag: str) -> bool:
    """RFC 9110, 13.1.2: the weak comparison."""
    if given.strip() == "*":
        return True
    return any(one.strip().removeprefix("W/") == tag for one in given.split(","))
