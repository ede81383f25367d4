"""Who asks: the API key of a call, and whether it reaches far enough."""

from __future__ import annotations

from contextlib import nullcontext
from math import ceil
from typing import TYPE_CHECKING, Final

from starlette.requests import Request

from expunge.api.problems import Problem
from expunge.core.errors import CredentialsInvalid, ScopeMissing
from expunge.service.keys import Key, Scope

if TYPE_CHECKING:
    from expunge.api.desk import Desk

_LONGEST: Final = 128


async def caller(request: Request, *scopes: Scope) -> Key:
    """The key that calls; one of ``scopes`` is enough.

    Raises:
        CredentialsInvalid: No key that works.
        ScopeMissing: It does not reach that far.
        Problem: It asks too often.
    """
    desk: Desk = request.app.state.desk
    token = _bearer(request)
    key = desk.service.callers.known(token) if token else None
    if key is None:
        key = await _looked_up(desk, request, token)
    if wait_s := desk.rate.wait_s(key.id):
        raise _too_many(wait_s)
    if not any(key.may(scope) for scope in scopes):
        raise ScopeMissing(scopes[0])
    return key


async def _looked_up(desk: Desk, request: Request, token: str) -> Key:
    """Ask the database; a key that works is let through, whatever else its address sends.

    Behind a proxy all callers have one address. An address that failed too often has its tokens
    looked up one at a time: whoever guesses there never keeps more than one thread busy.
    """
    address = request.client.host if request.client else ""
    lane = desk.guessing if desk.rate_unknown.is_over(address) else nullcontext()
    async with lane:
        key = await desk.service.callers.find(token) if token else None
    if key is not None:
        return key
    if wait_s := desk.rate_unknown.wait_s(address):
        raise _too_many(wait_s)
    raise CredentialsInvalid


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and len(token) <= _LONGEST else ""


def _too_many(wait_s: float) -> Problem:
    return Problem("too-many-requests", headers={"Retry-After": str(max(1, ceil(wait_s)))})
