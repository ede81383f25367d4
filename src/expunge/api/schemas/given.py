"""What routes answer."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from expunge.api.schemas.common import (
    EXAMPLE_ID,
    Given,
    Kind,
    Moment,
    RequestId,
)
from expunge.requests.states import State


class Affected(Given):
    """What a request did to one model."""

    name: str = Field(examples=["income"])
    forgotten: bool = Field(
        description="Whether no response of it can come any more from what saw the samples."
    )
    withdrawn: bool = Field(
        description="Whether it does not answer until it is rebuilt: no part of it was clean."
    )
    version: str | None = Field(description="Digest of what it serves now.")


class Accepted(Given):
    """A request that was accepted: durable, and once in effect, in no response any more."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "request": EXAMPLE_ID,
                    "state": "forgotten",
                    "status_url": f"/requests/{EXAMPLE_ID}",
                    "accepted": "2026-11-21T10:00:00.123456Z",
                    "deadline": "2026-12-21T23:00:00Z",
                    "effective": "2026-11-21T10:00:00.123456Z",
                    "samples": 1,
                    "models": [
                        {
                            "name": "income",
                            "forgotten": True,
                            "withdrawn": False,
                            "version": "9c1185a5c5e9fc54",
                        }
                    ],
                }
            ]
        }
    )

    request: RequestId
    state: State
    status_url: str = Field(description="Where to ask how it goes on.")
    accepted: Moment
    deadline: str | None = Field(description="The first moment too late to be done.")
    effective: str | None = Field(description="When it took effect, or will.")
    samples: int | None = Field(
        description="How many rows it forgets; null where the server does not reveal that."
    )
    models: list[Affected] = Field(description="Models that had seen them.")


class Units(Given):
    """Rebuilds that a request waits for, by their state."""

    open: int = Field(ge=0)
    running: int = Field(ge=0)
    done: int = Field(ge=0)
    aside: int = Field(ge=0, description="Those that failed too often, and wait for an operator.")


class SetAside(Given):
    """A rebuild that failed too often."""

    model: str
    shard: int
    error: str | None = Field(
        description="What failed last: a code, or the name of an error's class.",
        examples=["gate-closed"],
    )


class Event(Given):
    """Something that happened, as the ledger has it."""

    at: Moment
    kind: str = Field(examples=["request.received"])
    counts: dict[str, int] = Field(examples=[{"samples": 1, "already": 0}])


class Summary(Given):
    """A request."""

    request: RequestId
    dataset: str
    kind: Kind
    state: State
    final: bool = Field(description="Whether it stays in this state.")
    method: str
    samples: int = Field(ge=0, description="How many rows it forgets.")
    narrowed: bool = Field(description="Whether it is about some models only.")
    regime: str | None
    received: Moment
    accepted: Moment
    effective: str | None
    confirm_by: str | None = Field(description="The first moment too late to confirm its receipt.")
    deadline: str | None = Field(description="The first moment too late to be done.")
    extended: bool = Field(description="Whether its deadline was extended.")
    overdue: bool = Field(description="Whether its deadline has passed, and it is not done.")
    undo_until: str | None = Field(description="The first moment too late to undo it.")
    done: str | None = Field(description="When it came to its end.")
    error: str | None = Field(description="Why it was refused: a code.")
    status_url: str


class Status(Summary):
    """A request, with its units and its story."""

    units: Units
    problems: list[SetAside] = Field(
        description="What keeps it from being done until somebody mends it and retries."
    )
    batch_starts_at: str | None = Field(
        description="When the rebuilds that it waits for begin; null once they may."
    )
    timeline: list[Event]


class RequestPage(Given):
    """Requests, newest first."""

    requests: list[Summary]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class TouchedModel(Given):
    """What a request would do to one model."""

    model: str
    shards: list[int] = Field(description="That would be rebuilt.")
    slices: int
    samples: int = Field(description="That would be visited.")
    seconds: float | None = Field(description="Null where no rebuild of it was measured yet.")
    joins: int = Field(description="Rebuilds that wait already, which it would share.")
    starts_at: str | None
    withdrawn: bool = Field(description="Whether it could not answer until it is rebuilt.")


class Forecast(Given):
    """What a request would cost, and when it would be done."""

    samples: int
    already: int = Field(description="Rows that it names and that are forgotten already.")
    models: list[TouchedModel]
    seconds: float | None
    ahead: int = Field(description="Rebuilds of others that wait or run.")
    ahead_s: float | None
    effective_at: Moment
    batch_starts_at: str | None = Field(description="When the batch that it joins begins.")
    rebuilt_at: str | None
    done_at: str | None
    deadline: str | None
    confirm_by: str | None
    late: bool = Field(description="Whether it would be done behind its deadline.")


class Health(Given):
    """How the server is."""

    status: Literal["ok"]


class Fault(Given):
    """Something wrong in what was sent."""

    pointer: str = Field(examples=["#/sample_ids/3"])
    message: str = Field(examples=["String should have at least 1 character."])


class Problem(BaseModel):
    """RFC 9457."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "/problems/samples-unknown",
                    "title": "Samples or subjects that are not there",
                    "status": 404,
                    "detail": "Samples or subjects that are not there.",
                    "code": "samples-unknown",
                    "instance": f"urn:uuid:{EXAMPLE_ID}",
                }
            ]
        },
    )

    type: str = Field(description="Its page.")
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    code: str = Field(description="Stable: to be read by programs.")
    instance: str = Field(description="Id of this call, as in `X-Request-Id`.")
    errors: list[Fault] = Field([], description="What is wrong in what was sent.")
