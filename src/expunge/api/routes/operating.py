"""Health, and what problems mean."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from expunge.api import describing, schemas
from expunge.api.auth import caller
from expunge.api.desk import desk
from expunge.api.pages import PAGES
from expunge.api.problems import Problem
from expunge.api.replies import reply
from expunge.service.keys import Scope
from expunge.service.telemetry import render

ROUTER: Final = APIRouter(tags=["operating"])

_TEXT: Final[describing.Responses] = {
    200: {"description": "Text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}
_DAY: Final = "public, max-age=86400"


@ROUTER.get(
    "/health/live",
    operation_id="isLive",
    summary="Whether the process answers",
    response_model=schemas.Health,
    responses=describing.faults(),
    openapi_extra={"security": []},
)
async def live() -> Response:
    """Looks at nothing else: restart the process where this fails."""
    return reply({"status": "ok"})


@ROUTER.get(
    "/health/ready",
    operation_id="isReady",
    summary="Whether requests can be accepted",
    response_model=schemas.Health,
    responses=describing.faults("server-stopping", "timed-out"),
    openapi_extra={"security": []},
)
async def ready(request: Request) -> Response:
    """The database answers, the journal can be written, the ledger is recovered.

    It is looked at once a second at most. 503 also while the server stops.
    """
    await desk(request).service.ready()
    return reply({"status": "ok"})


@ROUTER.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Numbers for Prometheus",
    response_class=PlainTextResponse,
    responses=_TEXT | describing.guarded(),
    openapi_extra=describing.secured(Scope.READ),
)
async def metrics(request: Request) -> Response:
    """How things stand, and what happened since the start. No identity stands in a label."""
    await caller(request, Scope.READ)
    service = desk(request).service
    data, kind = await service.offload(render, service.telemetry)
    return Response(data, headers={"Content-Type": kind})


@ROUTER.get(
    "/problems/{code}",
    operation_id="getProblem",
    summary="What a problem means, and what to do",
    response_class=PlainTextResponse,
    responses=_TEXT | describing.faults("not-found", "request-invalid"),
    openapi_extra={"security": []},
)
async def problem(
    code: Annotated[str, Path(pattern="^[a-z][a-z-]{0,59}$", description="Of a problem.")],
) -> Response:
    """The page that a problem's `type` names."""
    if code not in PAGES:
        raise Problem("not-found")
    page = PAGES[code]
    text = f"# {page.title}\n\n`{code}`, status {page.status}\n\n{page.text}\n"
    return PlainTextResponse(text, headers={"Cache-Control": _DAY})
