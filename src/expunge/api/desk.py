"""What all routes of one application share."""

from __future__ import annotations

from asyncio import Lock
from dataclasses import dataclass, field

from starlette.requests import Request

from expunge.api.rates import Rate
from expunge.service.service import Service
from expunge.service.settings import Settings


@dataclass(frozen=True, slots=True)
class Desk:
    """What all routes of one application share.

    Attributes:
        rate: Of each key.
        rate_unknown: Of failed attempts, by address.
        guessing: Taken to look up a token of an address that failed too often.
    """

    service: Service
    settings: Settings
    rate: Rate
    rate_unknown: Rate
    guessing: Lock = field(default_factory=Lock)


def desk(request: Request) -> Desk:
    """The desk of the application that answers."""
    found: Desk = request.app.state.desk
    return found
