"""Follow requests, and decide about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from expunge.api import bodies, cursors, describing, links, schemas, seeing
from expunge.api.auth import caller
from expunge.api.desk import desk
from expunge.api.idempotency import claim_of
from expunge.api.problems import Problem
from expunge.api.replies import replied, reply, tagged
from expunge.api.schemas import RequestId
from expunge.core.errors import RequestMoveRefused
from expunge.home import Home
from expunge.requests.states import State
from expunge.service import views
from expunge.service.keys import Key, Scope
from expunge.service.views import Filter
from expunge.training.site import Site

ROUTER: Final = APIRouter(tags=["unlearning"])

Id = Annotated[RequestId, Path(description="As the server gave it.")]

_SOON_S: Final = 2
_LATER_S: Final = 30
_MOST: Final = 500
_NONE_SUCH: Final = ("unknown-name", "request-unknown-here", "request-invalid")
_MOVES: Final = (*_NONE_SUCH, "request-move-refused", "undo-refused", "input-invalid")
_TAG: Final = describing.header("Changes with the request; send it as `If-None-Match`.")
_WAIT: Final = describing.header("Seconds until it is worth asking again.", type="integer")

_STATUS: Final[describing.Responses] = {
    200: {"headers": {"ETag": _TAG, "Retry-After": _WAIT}, "links": links.of_request()},
    304: {"description": "It is as the client knows it.", "headers": {"ETag": _TAG}},
}
_MOVED: Final = links.on(200, links.of_request())
_PAGE: Final = links.on(200, links.of_request("requests/0/request") | links.of_page("listRequests"))
_ARCHIVE: Final[describing.Responses] = {
    200: {
        "description": "An archive that a stranger can check, offline, by a public key alone.",
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@ROUTER.get(
    "/requests/{request_id}",
    operation_id="getRequest",
    summary="How a request stands",
    response_model=schemas.Status,
    responses=_STATUS | describing.guarded(*_NONE_SUCH),
    openapi_extra=describing.secured(Scope.READ, Scope.SUBMIT),
)
async def get_request(request: Request, request_id: Id) -> Response:
    """State, deadline, units, and the story so far.

    A key with `unlearn:submit` alone sees what it submitted itself; where the server does not
    reveal which samples it holds, it needs `read`. `Retry-After` is given until the state is final.
    """
    shared = desk(request)
    key = await caller(request, Scope.READ, Scope.SUBMIT)
    await seeing.check_sees(shared, key, request_id)
    found = await shared.service.offload(views.one, shared.service.home.site, request_id)
    return tagged(request, found, _retry(found))


class Listing(schemas.Given):
    """Which requests to list; in the query."""

    model_config = ConfigDict(extra="forbid")

    state: State | None = Field(None, description="Only those in this state.")
    dataset: schemas.Name | None = Field(None, description="Only those about this dataset.")
    kind: schemas.Kind | None = Field(None, description="Only those of this kind.")
    overdue: bool | None = Field(
        None, description="Only those whose deadline has passed and that are not done; or others."
    )
    limit: int = Field(50, ge=1, le=_MOST, description="Of a page.")
    cursor: str | None = Field(
        None, min_length=1, max_length=cursors.LONGEST, description="`next` of an earlier page."
    )


@ROUTER.get(
    "/requests",
    operation_id="listRequests",
    summary="Requests, newest first",
    response_model=schemas.RequestPage,
    responses=_PAGE | describing.guarded("request-invalid"),
    openapi_extra=describing.secured(Scope.READ),
)
async def list_requests(request: Request, query: Annotated[Listing, Query()]) -> Response:
    """Page by page: send `next` as `cursor`, with the same filters.

    A page holds what was there when it was asked for; what comes in meanwhile moves nothing.
    """
    shared = desk(request)
    await caller(request, Scope.READ)
    after = cursors.read(query.cursor) if query.cursor is not None else None
    wanted = Filter(query.state, query.dataset, query.kind, query.overdue, after=after)
    site = shared.service.home.site
    found, following = await shared.service.offload(views.many, site, wanted, query.limit)
    return reply({"requests": found, "next": cursors.write(following)})


@ROUTER.post(
    "/requests/{request_id}/approve",
    operation_id="approveRequest",
    summary="Approve what somebody else submitted",
    response_model=schemas.Status,
    responses=_MOVED | describing.changing(*_MOVES, "second-person-needed"),
    openapi_extra=describing.keyed(Scope.APPROVE),
)
async def approve(request: Request, request_id: Id) -> Response:
    """From now on it is scheduled, or in effect. The key that submitted it cannot approve it."""
    key = await caller(request, Scope.APPROVE)
    return await _moved(request, key, request_id, lambda home: home.approve(request_id, key.id))


@ROUTER.post(
    "/requests/{request_id}/refuse",
    operation_id="refuseRequest",
    summary="Refuse a request that is not in effect",
    response_model=schemas.Status,
    responses=_MOVED | describing.taking(*_MOVES),
    openapi_extra=describing.keyed(Scope.APPROVE, body="Reason"),
)
async def refuse(request: Request, request_id: Id) -> Response:
    """The reason is one of a few words, because it stands in the ledger for good."""
    key = await caller(request, Scope.APPROVE)
    body, data = await bodies.parsed(request, schemas.Reason)
    return await _moved(
        request, key, request_id, lambda home: home.refuse(request_id, body.reason), data
    )


@ROUTER.post(
    "/requests/{request_id}/cancel",
    operation_id="cancelRequest",
    summary="Cancel a request that is not in effect",
    response_model=schemas.Status,
    responses=_MOVED | describing.changing(*_MOVES),
    openapi_extra=describing.keyed(Scope.SUBMIT),
)
async def cancel(request: Request, request_id: Id) -> Response:
    """One that is submitted or scheduled. What is in effect already may be undone in its window."""
    shared = desk(request)
    key = await caller(request, Scope.SUBMIT)
    await seeing.check_owns(shared, key, request_id)
    move = partial(_moved, request, key, request_id, lambda home: home.cancel(request_id))
    if seeing.sees_progress(shared, key):
        return await move()
    try:
        return await move(view=seeing.blind)
    except RequestMoveRefused:  # from which state would tell
        raise Problem("request-move-refused") from None


@ROUTER.post(
    "/requests/{request_id}/undo",
    operation_id="undoRequest",
    summary="Undo a mistaken request within its window",
    response_model=schemas.Status,
    responses=_MOVED | describing.changing(*_MOVES),
    openapi_extra=describing.keyed(Scope.APPROVE),
)
async def undo(request: Request, request_id: Id) -> Response:
    """Its rows come back into the models that saw them. Possible until `undo_until`."""
    key = await caller(request, Scope.APPROVE)
    return await _moved(request, key, request_id, lambda home: home.undo(request_id))


@ROUTER.post(
    "/requests/{request_id}/lift",
    operation_id="liftRequest",
    summary="Lift a restriction",
    response_model=schemas.Status,
    responses=_MOVED | describing.changing(*_MOVES),
    openapi_extra=describing.keyed(Scope.APPROVE),
)
async def lift(request: Request, request_id: Id) -> Response:
    """Models may learn again from what a request of kind `restrict` had set apart."""
    key = await caller(request, Scope.APPROVE)
    return await _moved(request, key, request_id, lambda home: home.lift(request_id))


@ROUTER.post(
    "/requests/{request_id}/extend",
    operation_id="extendRequest",
    summary="Extend a deadline as its regime allows",
    response_model=schemas.Status,
    responses=_MOVED | describing.changing(*_MOVES),
    openapi_extra=describing.keyed(Scope.APPROVE),
)
async def extend(request: Request, request_id: Id) -> Response:
    """Once. Who is asked about must be told, and why: that is not done here."""
    key = await caller(request, Scope.APPROVE)
    return await _moved(request, key, request_id, lambda home: home.extend(request_id))


@ROUTER.post(
    "/requests/{request_id}/retry",
    operation_id="retryRequest",
    summary="Try rebuilds again that were set aside",
    response_model=schemas.Status,
    responses=_MOVED | describing.changing(*_NONE_SUCH),
    openapi_extra=describing.keyed(Scope.ADMIN),
)
async def retry(request: Request, request_id: Id) -> Response:
    """All units of the request that failed too often are tried afresh."""
    key = await caller(request, Scope.ADMIN)
    return await _moved(request, key, request_id, lambda home: views.retry(home, request_id))


@ROUTER.get(
    "/requests/{request_id}/certificate",
    operation_id="getCertificate",
    summary="The certificate of a request that is done",
    response_class=Response,
    responses=_ARCHIVE
    | describing.changing(*_NONE_SUCH, "certificate-not-ready", "certificate-refused"),
    openapi_extra=describing.secured(Scope.AUDIT, Scope.READ),
)
async def certificate(request: Request, request_id: Id) -> Response:
    """Issued at the first time; the same bytes ever after."""
    shared = desk(request)
    await caller(request, Scope.AUDIT, Scope.READ)
    made = await shared.service.change(shared.service.home.certificate, request_id)
    return Response(
        made.data,
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{request_id}.zip"'},
    )


async def _moved(
    request: Request,
    key: Key,
    id_: str,
    move: Callable[[Home], object],
    body: bytes = b"",
    view: Callable[[Site, str], Mapping[str, Any]] = views.one,
) -> Response:
    """Decide about a request, and show how it stands then."""
    service = desk(request).service

    def shown() -> Mapping[str, Any]:
        return view(service.home.site, id_)

    def moved() -> Mapping[str, Any]:
        move(service.home)
        return shown()

    answer = await service.once(claim_of(request, key, body), moved, show=shown)
    service.wake()
    return replied(answer)


def _retry(found: dict[str, Any]) -> dict[str, str]:
    if found["final"]:
        return {}
    is_soon = found["state"] == State.FORGOTTEN
    return {"Retry-After": str(_SOON_S if is_soon else _LATER_S)}
