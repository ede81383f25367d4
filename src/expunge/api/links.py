"""Links, as OpenAPI has them: which routes an answer leads to, and by what of it."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from expunge.api.describing import Responses

Links: TypeAlias = dict[str, dict[str, Any]]

_REQUESTS: Final = (
    "getRequest",
    "getCertificate",
    "approveRequest",
    "refuseRequest",
    "cancelRequest",
    "undoRequest",
    "liftRequest",
    "extendRequest",
    "retryRequest",
)
_MODELS: Final = ("getModel", "listVersions", "predict", "getGate", "listAudits")


def of_request(place: str = "request") -> Links:
    """Where to follow a request, and decide about it; its id stands at ``place`` in the body."""
    return _to(_REQUESTS, "request_id", place)


def of_model(place: str = "name") -> Links:
    """Where to ask a model, and about it; its name stands at ``place`` in the body."""
    return _to(_MODELS, "name", place)


def of_audit() -> Links:
    """Where to follow an audit; its id and its model stand in the body."""
    body = "$response.body#/"
    parameters = {"name": f"{body}model", "audit": f"{body}id"}
    return {one: {"operationId": one, "parameters": parameters} for one in ("getAudit",)}


def of_hold(place: str = "id") -> Links:
    """Where to release a hold; its id stands at ``place`` in the body."""
    return _to(("releaseHold",), "hold", place)


def of_page(operation: str) -> Links:
    """The next page."""
    return _to((operation,), "cursor", "next")


def on(status: int, links: Links) -> Responses:
    """The response of that status, with its links."""
    return {status: {"links": links}}


def _to(operations: tuple[str, ...], parameter: str, place: str) -> Links:
    value = f"$response.body#/{place}"
    return {one: {"operationId": one, "parameters": {parameter: value}} for one in operations}
