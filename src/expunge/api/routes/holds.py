"""Legal holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from expunge.api import bodies, describing, links, schemas
from expunge.api.auth import caller
from expunge.api.desk import desk
from expunge.api.idempotency import claim_of
from expunge.api.replies import replied, reply
from expunge.service import catalog
from expunge.service.keys import Scope

ROUTER: Final = APIRouter(tags=["holds"])


@ROUTER.post(
    "/holds",
    operation_id="placeHold",
    summary="Keep rows from being destroyed",
    status_code=201,
    response_model=schemas.Hold,
    responses=links.on(201, links.of_hold())
    | describing.taking(
        "input-invalid", "nothing-to-forget", "unknown-name", "samples-unknown", "name-taken"
    ),
    openapi_extra=describing.keyed(Scope.ADMIN, body="NewHold"),
)
async def place(request: Request) -> Response:
    """Until it is released. Models forget the rows all the same, and nobody reads them."""
    key = await caller(request, Scope.ADMIN)
    body, data = await bodies.parsed(request, schemas.NewHold)
    service = desk(request).service

    def placed() -> Mapping[str, Any]:
        samples, subjects = body.sample_ids or (), body.subjects or ()
        return catalog.hold(
            service.home.hold(body.name, samples, subjects=subjects, dataset=body.dataset)
        )

    return replied(await service.once(claim_of(request, key, data), placed, 201))


@ROUTER.get(
    "/holds",
    operation_id="listHolds",
    summary="All legal holds",
    response_model=schemas.Holds,
    responses=links.on(200, links.of_hold("holds/0/id")) | describing.guarded(),
    openapi_extra=describing.secured(Scope.READ, Scope.AUDIT),
)
async def holds(request: Request) -> Response:
    """The oldest first."""
    await caller(request, Scope.READ, Scope.AUDIT)
    service = desk(request).service
    found = await service.offload(service.home.holds)
    return reply({"holds": [catalog.hold(one) for one in found]})


@ROUTER.delete(
    "/holds/{hold}",
    operation_id="releaseHold",
    summary="Release a legal hold",
    response_model=schemas.Hold,
    responses=describing.changing("unknown-name", "request-invalid"),
    openapi_extra=describing.keyed(Scope.ADMIN),
)
async def release(
    request: Request, hold: Annotated[schemas.RequestId, Path(description="Id of the hold.")]
) -> Response:
    """Rows that only waited for that are destroyed; the answer is the hold as it was."""
    key = await caller(request, Scope.ADMIN)
    service = desk(request).service

    def released() -> Mapping[str, Any]:
        return catalog.hold(service.home.release(hold))

    answer = await service.once(claim_of(request, key), released)
    service.wake()
    return replied(answer)
