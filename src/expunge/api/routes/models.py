"""Datasets, models, and predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from expunge.api import bodies, describing, links, schemas
from expunge.api.auth import caller
from expunge.api.desk import desk
from expunge.api.idempotency import claim_of
from expunge.api.problems import Problem
from expunge.api.replies import replied, reply
from expunge.api.terms import terms_of
from expunge.requests.finding import Wanted
from expunge.service import catalog
from expunge.service.keys import Scope

ROUTER: Final = APIRouter(tags=["models"])

Named = Annotated[schemas.Name, Path(description="Of the model.")]

_NONE_SUCH: Final = ("unknown-name", "request-invalid")


@ROUTER.get(
    "/datasets",
    operation_id="listDatasets",
    summary="All datasets",
    response_model=schemas.Datasets,
    responses=describing.guarded(),
    openapi_extra=describing.secured(Scope.READ),
)
async def datasets(request: Request) -> Response:
    """Names, columns and counts."""
    await caller(request, Scope.READ)
    service = desk(request).service
    return reply(await service.offload(catalog.datasets, service.home))


@ROUTER.get(
    "/models",
    operation_id="listModels",
    summary="All models",
    response_model=schemas.Models,
    responses=links.on(200, links.of_model("models/0/name")) | describing.guarded(),
    openapi_extra=describing.secured(Scope.READ),
)
async def models(request: Request) -> Response:
    """What they learn from, and what they serve now."""
    await caller(request, Scope.READ)
    service = desk(request).service
    return reply(await service.offload(catalog.models, service.home.site))


@ROUTER.get(
    "/models/{name}",
    operation_id="getModel",
    summary="A model",
    response_model=schemas.Model,
    responses=describing.guarded(*_NONE_SUCH),
    openapi_extra=describing.secured(Scope.READ),
)
async def model(request: Request, name: Named) -> Response:
    """What it learns from, and what it serves now."""
    await caller(request, Scope.READ)
    service = desk(request).service
    return reply(await service.offload(catalog.model, service.home.site, name))


class Page(schemas.Given):
    """Which versions; in the query."""

    limit: int = Field(50, ge=1, le=500, description="Of a page.")
    cursor: str | None = Field(
        None, pattern=r"^[1-9][0-9]{0,8}$", description="`next` of an earlier page."
    )


@ROUTER.get(
    "/models/{name}/versions",
    operation_id="listVersions",
    summary="Versions of a model, newest first",
    response_model=schemas.Versions,
    responses=links.on(200, links.of_page("listVersions")) | describing.guarded(*_NONE_SUCH),
    openapi_extra=describing.secured(Scope.READ),
)
async def versions(request: Request, name: Named, query: Annotated[Page, Query()]) -> Response:
    """Each is what was served from its moment to the next one's."""
    await caller(request, Scope.READ)
    service = desk(request).service
    before = int(query.cursor) if query.cursor else None
    site = service.home.site
    return reply(await service.offload(catalog.versions, site, name, before, query.limit))


@ROUTER.post(
    "/models/{name}/predict",
    operation_id="predict",
    summary="Ask a model",
    response_model=schemas.Predictions,
    responses=describing.taking(
        *_NONE_SUCH, "model-withdrawn", "model-retired", "cell-invalid", "column-unknown"
    ),
    openapi_extra=describing.secured(Scope.READ, body="Rows"),
)
async def predict(request: Request, name: Named) -> Response:
    """Outputs for some rows, all from one version, which the answer names.

    That version was current after the question was asked: nothing comes from what saw samples
    whose request was answered before.
    """
    shared = desk(request)
    await caller(request, Scope.READ)
    body, _ = await bodies.parsed(request, schemas.Rows)
    if len(body.rows) > shared.settings.predict_rows:
        raise Problem("body-too-large", f"At most {shared.settings.predict_rows:,} rows are taken.")

    return reply(await shared.service.offload(shared.service.predict, name, body.rows))


@ROUTER.post(
    "/models/{name}/retire",
    operation_id="retireModel",
    summary="Take a model out of service for good",
    response_model=schemas.Retired,
    responses=describing.changing(*_NONE_SUCH, "input-invalid", "model-retired"),
    openapi_extra=describing.keyed(Scope.ADMIN),
)
async def retire(request: Request, name: Named) -> Response:
    """With all that descend from it. Their checkpoints are destroyed; they never answer again."""
    key = await caller(request, Scope.ADMIN)
    service = desk(request).service

    def retired() -> Mapping[str, Any]:
        return {"retired": service.home.retire(name)}

    answer = await service.once(claim_of(request, key), retired)
    service.wake()
    return replied(answer)


@ROUTER.post(
    "/forecast",
    operation_id="forecast",
    summary="What a request would cost, and when it would be done",
    tags=["unlearning"],
    response_model=schemas.Forecast,
    responses=describing.taking(
        "input-invalid",
        "nothing-to-forget",
        "method-unavailable",
        "unknown-name",
        "samples-unknown",
    ),
    openapi_extra=describing.secured(Scope.READ, body="Unlearn"),
)
async def forecast(request: Request) -> Response:
    """Takes what `POST /unlearn` takes, and changes nothing.

    Seconds come from measured rebuilds; they are null where none was measured. It counts samples,
    so that it tells who is in the data: it needs `read`.
    """
    shared = desk(request)
    key = await caller(request, Scope.READ)
    body, _ = await bodies.parsed(request, schemas.Unlearn)
    missing = "raise" if body.missing == "refuse" else "ignore"
    wanted = Wanted(body.all_samples, body.all_subjects, missing)
    dataset = await shared.service.dataset(body.dataset)
    terms = terms_of(shared.settings, body, key)
    made = await shared.service.offload(shared.service.forecast, dataset, wanted, terms)
    return reply(catalog.forecast(made))
