"""Audits: attack a model, and compare it with models that never saw what it forgot."""

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
from expunge.service import audit_views as views
from expunge.service.audits import Wanted
from expunge.service.keys import Scope

ROUTER: Final = APIRouter(tags=["models"])

Named = Annotated[schemas.Name, Path(description="Of the model.")]
Audit = Annotated[schemas.RequestId, Path(description="Id of the audit.")]

_NONE_SUCH: Final = ("unknown-name", "request-invalid")
_PAGE: Final[describing.Responses] = {
    200: {"content": {"text/html": {"schema": {"type": "string"}}}}
}
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


@ROUTER.post(
    "/models/{name}/audits",
    operation_id="askAudit",
    summary="Have a model audited",
    status_code=202,
    response_model=schemas.Audit,
    responses=links.on(202, links.of_audit())
    | describing.taking(*_NONE_SUCH, "input-invalid", "model-retired"),
    openapi_extra=describing.keyed(Scope.AUDIT, body="NewAudit"),
)
async def ask(request: Request, name: Named) -> Response:
    """202: a worker makes it, which takes as long as training `shadows / 2 + retrains` models.

    Forgotten rows are asked about that are not destroyed yet; until its end, none is. The result
    stands in the ledger, and in certificates that are issued from then on.
    """
    key = await caller(request, Scope.AUDIT)
    body, data = await bodies.parsed(request, schemas.NewAudit)
    service = desk(request).service

    def asked() -> Mapping[str, Any]:
        fixed = views.settings(body.shadows, body.retrains, body.margin, body.seed)
        return views.asked(service.home.site, Wanted(name, body.unseen, fixed))

    answer = await service.once(claim_of(request, key, data), asked, 202)
    service.wake()
    return replied(answer)


@ROUTER.get(
    "/models/{name}/audits",
    operation_id="listAudits",
    summary="Audits of a model, newest first",
    response_model=schemas.Audits,
    responses=describing.guarded(*_NONE_SUCH),
    openapi_extra=describing.secured(Scope.READ, Scope.AUDIT),
)
async def listed(request: Request, name: Named) -> Response:
    """A hundred at most."""
    await caller(request, Scope.READ, Scope.AUDIT)
    service = desk(request).service
    return reply(await service.offload(views.listed, service.home.site, name))


@ROUTER.get(
    "/models/{name}/audits/{audit}",
    operation_id="getAudit",
    summary="An audit",
    response_model=schemas.Audit,
    responses=describing.guarded(*_NONE_SUCH),
    openapi_extra=describing.secured(Scope.READ, Scope.AUDIT),
)
async def one(request: Request, name: Named, audit: Audit) -> Response:
    """`report` is null until it is done; it is what `expunge audit --json` prints."""
    await caller(request, Scope.READ, Scope.AUDIT)
    service = desk(request).service
    return reply(await service.offload(views.one, service.home.site, name, audit))


@ROUTER.get(
    "/models/{name}/audits/{audit}/page",
    operation_id="getAuditPage",
    summary="An audit as a page for people",
    response_class=Response,
    responses=_PAGE | describing.guarded(*_NONE_SUCH, "audit-not-done"),
    openapi_extra=describing.secured(Scope.READ, Scope.AUDIT),
)
async def page(request: Request, name: Named, audit: Audit) -> Response:
    """One HTML file that needs nothing beside itself; 409 until the audit is done."""
    await caller(request, Scope.READ, Scope.AUDIT)
    service = desk(request).service
    shown = await service.offload(views.page, service.home.site, name, audit)
    return Response(shown, headers={"Content-Security-Policy": _POLICY}, media_type="text/html")
