"""The ledger as static files: a mirror or an auditor reads all of it from here."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from expunge.api import describing
from expunge.api.auth import caller
from expunge.api.desk import desk
from expunge.api.problems import Problem
from expunge.ledger import files
from expunge.service.keys import Scope

ROUTER: Final = APIRouter(tags=["ledger"])

_FOR_EVER: Final = "private, max-age=31536000, immutable"
_NOT_YET: Final = "The ledger has no such file, or not yet."
_NOTE: Final[describing.Responses] = {
    200: {
        "description": "A signed note (C2SP tlog-checkpoint).",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}
_TILE: Final[describing.Responses] = {
    200: {
        "description": "Hashes, or entries.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@ROUTER.get(
    "/ledger/checkpoint",
    operation_id="getCheckpoint",
    summary="The signed head of the ledger",
    response_class=Response,
    responses=_NOTE | describing.guarded("not-found"),
    openapi_extra=describing.secured(Scope.AUDIT, Scope.READ),
)
async def checkpoint(request: Request) -> Response:
    """Published within a second or two of what it covers."""
    await caller(request, Scope.AUDIT, Scope.READ)
    service = desk(request).service
    found = await service.offload(files.published, service.ledger_files)
    if found is None:
        raise Problem("not-found", _NOT_YET)
    return Response(found.data, media_type="text/plain", headers={"Cache-Control": "no-cache"})


@ROUTER.get(
    "/ledger/tile/{place:path}",
    operation_id="getTile",
    summary="A tile of hashes, or a bundle of entries",
    response_class=Response,
    responses=_TILE | describing.guarded("not-found", "request-invalid"),
    openapi_extra=describing.secured(Scope.AUDIT, Scope.READ),
)
async def tile(
    request: Request,
    place: Annotated[
        str,
        Path(
            max_length=200,
            description="As C2SP tlog-tiles has it: `0/x001/067`, `entries/000.p/7`.",
            examples=["entries/000.p/1"],
        ),
    ],
) -> Response:
    """It never changes: keep it for ever."""
    await caller(request, Scope.AUDIT, Scope.READ)
    service = desk(request).service
    # One spelling of each place, and no other path at all, reaches the disk.
    wanted = files.place(f"tile/{place}")
    if wanted is None:
        raise Problem("not-found", _NOT_YET)
    fetch = files.fetcher(service.ledger_files)
    try:
        data = await service.offload(fetch, wanted.path)
    except (FileNotFoundError, NotADirectoryError):
        raise Problem("not-found", _NOT_YET) from None
    headers = {"Cache-Control": _FOR_EVER}
    return Response(data, media_type="application/octet-stream", headers=headers)
