"""Cursors: behind which request a page begins, as an opaque word."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Final

from expunge.api.problems import Fault, Problem
from expunge.service.views import After

LONGEST: Final = 128
_MARK: Final = re.compile(r"1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([0-9a-f-]{36})", re.ASCII)


def write(after: After | None) -> str | None:
    """The cursor of the page that begins behind a request."""
    if after is None:
        return None
    return urlsafe_b64encode(f"1 {after.accepted} {after.id}".encode()).decode().rstrip("=")


def read(cursor: str) -> After:
    """Behind which request the page begins.

    Raises:
        Problem: It is none of ours.
    """
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (Error, ValueError):
        text = ""
    if not (found := _MARK.fullmatch(text)):
        fault = Fault("cursor", "Use `next` of an earlier page, as it is.")
        raise Problem("request-invalid", "The cursor is invalid.", faults=[fault])
    return After(*found.groups())
