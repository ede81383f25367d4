"""Ask for something to be forgotten: one by one, or by upload."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from expunge.api import bodies, describing, links, schemas, uploads
from expunge.api.auth import caller
from expunge.api.desk import Desk, desk
from expunge.api.idempotency import claim_of, key_of
from expunge.api.replies import replied
from expunge.api.terms import terms_of
from expunge.requests.finding import Wanted
from expunge.service.accepting import Ask
from expunge.service.answers import Answer
from expunge.service.keys import Scope

ROUTER: Final = APIRouter(tags=["unlearning"])

_RETRY: Final = "2"
_HEADERS: Final = {
    "Location": describing.header("Where to ask how it goes on."),
    "Retry-After": describing.header("Seconds until that is worth it.", type="integer"),
    "Idempotency-Replayed": describing.header("`true`: it was accepted before.", enum=["true"]),
}
_ACCEPTED: Final[describing.Responses] = {
    202: {
        "description": "It is accepted, durably. Where it is in effect, no response can come any "
        "more from what saw the samples.",
        "headers": _HEADERS,
        "links": links.of_request(),
    }
}
_OWN: Final = (
    "input-invalid",
    "nothing-to-forget",
    "method-unavailable",
    "unknown-name",
    "samples-unknown",
)


@ROUTER.post(
    "/unlearn",
    operation_id="unlearn",
    summary="Ask for samples or subjects to be forgotten",
    status_code=202,
    response_model=schemas.Accepted,
    responses=_ACCEPTED | describing.taking(*_OWN),
    openapi_extra=describing.keyed(Scope.SUBMIT, body="Unlearn"),
)
async def unlearn(request: Request) -> Response:
    """Accept a request, durably, and answer when no response comes from what saw the samples.

    Models are rebuilt afterwards; `status_url` says how that goes. Where this deployment demands
    a second person, the request waits for `POST /requests/{request}/approve`.
    """
    shared = desk(request)
    key = await caller(request, Scope.SUBMIT)
    body, data = await bodies.parsed(request, schemas.Unlearn)
    wanted = Wanted(body.all_samples, body.all_subjects, _missing(shared, body.missing))
    dataset = await shared.service.dataset(body.dataset)
    claim = claim_of(request, key, data)
    terms = terms_of(shared.settings, body, key)
    return _accepted(await shared.service.submit(Ask(dataset, wanted, terms, claim)))


class Upload(schemas.Conditions):
    """On what terms an upload is to be forgotten; in the query."""

    model_config = ConfigDict(strict=False)

    column: str = Field(
        "sample",
        pattern="^(sample|subject)$",
        description="What the ids are of; a first line `sample_id` or `subject` says so, too.",
    )


@ROUTER.post(
    "/unlearn/bulk",
    operation_id="unlearnBulk",
    summary="Ask for the samples or subjects in a file to be forgotten",
    status_code=202,
    response_model=schemas.Accepted,
    responses=_ACCEPTED | describing.taking(*_OWN),
    openapi_extra=describing.keyed(Scope.SUBMIT)
    | {
        "requestBody": {
            "required": True,
            "content": {
                "text/csv": {
                    "schema": {"type": "string"},
                    "examples": {"ids": {"value": "sample_id\r\nUUID-1\r\nUUID-2\r\n"}},
                }
            },
        }
    },
)
async def bulk(request: Request, query: Annotated[Upload, Query()]) -> Response:
    """Accept a file of ids as one request: one id in a line, UTF-8, quoted where needed.

    A first line that is just `sample_id`, `id`, `subject` or `subject_id` is a header, unless the
    type says `text/csv; header=absent`. It is read as it comes, and refused as a whole if anything
    is wrong with it. Takes an Idempotency-Key as `/unlearn` does.
    """
    shared = desk(request)
    key = await caller(request, Scope.SUBMIT)
    key_of(request)  # before all of a large body is read
    upload = await uploads.read(request, query.column)
    ids, missing = tuple(upload.ids), _missing(shared, query.missing)
    is_samples = upload.column == "sample"
    wanted = Wanted(ids, missing=missing) if is_samples else Wanted((), ids, missing)
    dataset = await shared.service.dataset(query.dataset)
    claim = claim_of(request, key, upload.digest)
    return _accepted(
        await shared.service.submit(
            Ask(dataset, wanted, terms_of(shared.settings, query, key), claim)
        )
    )


def _missing(shared: Desk, said: schemas.Missing) -> str:
    return "raise" if said == "refuse" and shared.settings.reveal_unknown else "ignore"


def _accepted(answer: Answer) -> Response:
    return replied(answer, {"Location": answer.location, "Retry-After": _RETRY})
