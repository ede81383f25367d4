"""Words that bodies are made of, each bounded."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from expunge.core.errors import ExpungeError
from expunge.requests import deadlines

MOST_IDS: Final = 10_000
MOST_MODELS: Final = 1_000
LONGEST_ID: Final = 512
_FIRST_YEAR: Final = 1999
_LAST_YEAR: Final = 2200

SampleId = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_ID, description="Id of a sample or a subject."),
]
# No control characters: PostgreSQL takes no NUL, and nobody reads the others.
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
RequestId = Annotated[
    str,
    Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", max_length=36),
]
Method = Literal["declared", "rebuild", "sisa", "retrain", "influence", "certified"]
AskedKind = Literal["erase", "object", "restrict", "expire"]
Kind = Literal["erase", "object", "restrict", "correct", "expire"]
Missing = Literal["refuse", "ignore"]
Moment = Annotated[str, Field(description="UTC, RFC 3339.", examples=["2026-11-21T10:00:00Z"])]

EXAMPLE_ID: Final = "4f1f64b0-6a0c-4d35-9d3b-6a3a7b9c2b11"


def _bounded(moment: datetime) -> datetime:
    """Calendars end somewhere, and deadlines are added to moments."""
    if not _FIRST_YEAR < moment.year < _LAST_YEAR:
        raise ValueError(f"expected a moment after {_FIRST_YEAR} and before {_LAST_YEAR}")
    return moment


Instant = Annotated[AwareDatetime, AfterValidator(_bounded)]


def _known(regime: str) -> str:
    """A name or a period; what is wrong with another one is said without repeating it."""
    try:
        deadlines.named(regime)
    except ExpungeError:
        raise ValueError("expected gdpr, ccpa, or a period such as 30d+15d@Europe/Lisbon") from None
    return regime


Regime = Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_known)]


class Taken(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Given(BaseModel):
    """What a server answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)
