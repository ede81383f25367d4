"""Gates: floors under models, which what is rebuilt has to reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from expunge.api import bodies, describing, schemas
from expunge.api.auth import caller
from expunge.api.desk import desk
from expunge.api.idempotency import claim_of
from expunge.api.replies import replied, reply
from expunge.service import catalog
from expunge.service.keys import Scope

ROUTER: Final = APIRouter(tags=["models"])

Named = Annotated[schemas.Name, Path(description="Of the model.")]

_NONE_SUCH: Final = ("unknown-name", "request-invalid")


@ROUTER.get(
    "/models/{name}/gate",
    operation_id="getGate",
    summary="The floor under a model",
    response_model=schemas.Gate,
    responses=describing.guarded(*_NONE_SUCH),
    openapi_extra=describing.secured(Scope.READ),
)
async def gate(request: Request, name: Named) -> Response:
    """404 where it has none."""
    await caller(request, Scope.READ)
    service = desk(request).service
    return reply(await service.offload(catalog.gate, service.home.site, name))


@ROUTER.put(
    "/models/{name}/gate",
    operation_id="putGate",
    summary="Put a floor under a model",
    response_model=schemas.Gate,
    responses=describing.taking(*_NONE_SUCH, "input-invalid", "model-retired"),
    openapi_extra=describing.keyed(Scope.ADMIN, body="NewGate"),
)
async def put(request: Request, name: Named) -> Response:
    """In place of the one that it has. Nothing rebuilt is published that falls below it.

    That may delay recovery, never the moment at which a model forgets. What is refused waits for
    `POST /requests/{request_id}/retry`.
    """
    key = await caller(request, Scope.ADMIN)
    body, data = await bodies.parsed(request, schemas.NewGate)
    service = desk(request).service

    def changed() -> Mapping[str, Any]:
        service.home.gate(name, body.floor, body.dataset)
        return catalog.gate(service.home.site, name)

    return replied(await service.once(claim_of(request, key, data), changed))


@ROUTER.delete(
    "/models/{name}/gate",
    operation_id="dropGate",
    summary="Take the floor under a model away",
    response_model=schemas.Gate,
    responses=describing.changing(*_NONE_SUCH),
    openapi_extra=describing.keyed(Scope.ADMIN),
)
async def drop(request: Request, name: Named) -> Response:
    """The answer is the gate as it was; 404 where there was none."""
    key = await caller(request, Scope.ADMIN)
    service = desk(request).service

    def dropped() -> Mapping[str, Any]:
        was = catalog.gate(service.home.site, name)
        service.home.gate(name, None)
        return was

    return replied(await service.once(claim_of(request, key), dropped))
