"""The Idempotency-Key header: one string in quotes, or one bare word.

References:
    draft-ietf-httpapi-idempotency-key-header-07, section 2.1; RFC 9651, section 3.3.3.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request

from expunge.api.desk import desk
from expunge.api.problems import Problem
from expunge.service.idempotency import Claim
from expunge.service.keys import Key

_QUOTED: Final = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"')
_BARE: Final = re.compile(r"[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]{1,255}")


def claim_of(request: Request, caller: Key, body: bytes = b"") -> Claim | None:
    """What a call under an idempotency key stands for; None where it has none.

    Raises:
        Problem: The key is malformed.
    """
    key = key_of(request)
    if key is None:
        return None
    target = f"{request.method} {request.scope['path']}?{request.url.query}"
    return desk(request).service.claim(caller, key, target, body)


def key_of(request: Request) -> str | None:
    """What the client calls this request; None where it does not.

    Raises:
        Problem: It is malformed, or stands there twice.
    """
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    text = given[0].strip(" \t")
    if len(given) == 1:
        if found := _QUOTED.fullmatch(text):
            return re.sub(r'\\(["\\])', r"\1", found[1])
        if _BARE.fullmatch(text):
            return text
    raise Problem("idempotency-key-invalid")
