"""Bodies of requests: of the right type, not too long, not too slow, and as their model says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from expunge.api import problems
from expunge.api.desk import desk
from expunge.api.problems import Problem
from expunge.service.settings import Settings

Body = TypeVar("Body", bound=BaseModel)

_JSON: Final = "application/json"
_CLOSE: Final = {"Connection": "close"}


async def parsed(request: Request, model: type[Body]) -> tuple[Body, bytes]:
    """The JSON body of a request, as its model; and its bytes.

    Raises:
        Problem: It is of another type, too long, too slow, malformed or invalid.
    """
    check_type(request, _JSON)
    settings = desk(request).settings
    data = b"".join([part async for part in parts(request, settings, settings.body_bytes)])
    try:
        found = model.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise problems.of_validation(error) from None
    if _names_twice(data, model):
        raise Problem("body-malformed", "A member stands twice.")
    return found, data


def _names_twice(data: bytes, model: type[BaseModel]) -> bool:
    """Whether a member stands twice: parsers drop one, and with it somebody to be forgotten.

    Reads the body again only where it may be so: a name is there twice, or something escaped.
    """
    names = [f'"{name}"'.encode() for name in model.model_fields]
    if b"\\u" not in data and all(data.count(name) < 2 for name in names):
        return False
    found = [name for name, _ in json.loads(data, object_pairs_hook=list)]
    return len(set(found)) < len(found)


def check_type(request: Request, expected: str) -> str:
    """See that the body is of that media type, not encoded. Returns the type's parameters.

    Raises:
        Problem: It is not.
    """
    given, _, parameters = request.headers.get("content-type", "").partition(";")
    if given.strip().lower() != expected:
        raise Problem("media-type-unsupported", f"This takes {expected}.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("media-type-unsupported", "This takes bodies that are not encoded.")
    charset = _parameter(parameters, "charset")
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise Problem("media-type-unsupported", "This takes UTF-8.")
    return parameters


def header_of(parameters: str) -> str:
    """What a text/csv type says about its first line: ``present``, ``absent`` or nothing.

    Raises:
        Problem: It says something else.
    """
    said = _parameter(parameters, "header")
    if said not in ("", "present", "absent"):
        raise Problem("media-type-unsupported", "`header` is `present` or `absent` (RFC 4180).")
    return said


async def parts(request: Request, settings: Settings, most: int) -> AsyncIterator[bytes]:
    """A body, part by part. Counts what comes, whatever was announced.

    Raises:
        Problem: It is longer than ``most`` bytes, or comes too slowly.
    """
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > most:
        raise _too_large(most)
    stream, total = request.stream().__aiter__(), 0
    try:
        async with asyncio.timeout(settings.upload_timeout_s):
            while True:
                async with asyncio.timeout(settings.body_timeout_s):
                    part = await anext(stream, None)
                if part is None:
                    return
                total += len(part)
                if total > most:
                    raise _too_large(most)
                yield part
    except TimeoutError:
        raise Problem("body-incomplete", headers=_CLOSE) from None
    except ClientDisconnect:
        raise Problem("body-incomplete", headers=_CLOSE) from None


def _too_large(most: int) -> Problem:
    return Problem("body-too-large", f"At most {most:,} bytes are taken.", headers=_CLOSE)


def _parameter(parameters: str, name: str) -> str:
    for one in parameters.split(";"):
        key, _, value = one.partition("=")
        if key.strip().lower() == name:
            return value.strip().strip('"').lower()
    return ""
