"""OpenAPI: what routes say about themselves, and what FastAPI cannot know about them."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from expunge.api import problems, schemas
from expunge.api.pages import PAGES
from expunge.service.keys import Scope

Responses: TypeAlias = dict[int | str, dict[str, Any]]

_REF: Final = "#/components/schemas/{model}"
_KEYS: Final = "apiKey"
_ANYWHERE: Final = (
    "head-too-large",
    "internal",
    "database-unavailable",
    "storage-unavailable",
    "server-busy",
)
_GUARDED: Final = ("credentials-invalid", "scope-missing", "too-many-requests", "timed-out")
_WITH_BODY: Final = (
    "request-invalid",
    "body-malformed",
    "body-incomplete",
    "body-too-large",
    "media-type-unsupported",
)
_CHANGING: Final = ("outcome-unknown", "journal-unwritten", "server-stopping")
_ONCE: Final = ("idempotency-key-invalid", "idempotency-in-flight", "idempotency-reused")
_BODIES: Final[dict[str, type[BaseModel]]] = {
    model.__name__: model
    for model in (
        schemas.Unlearn,
        schemas.Rows,
        schemas.NewAudit,
        schemas.NewGate,
        schemas.NewHold,
        schemas.Reason,
    )
}

_KEY_HEADER: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "One string in quotes, or one bare word, of 1 to 255 visible ASCII characters. "
    "The same key and body within a day give the first answer again (`Idempotency-Replayed`); "
    "with another body, 422; while the first is being accepted, 409. A refusal keeps nothing: "
    "sent again, the request is judged anew. Keys of other API keys are others.",
    "schema": {
        "type": "string",
        "maxLength": 512,
        "pattern": r'^("([ !#-\[\]-~]|\\["\\]){1,255}"|[!#-+\--\[\]-~]{1,255})$',
    },
    "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
}

TAGS: Final = [
    {"name": "unlearning", "description": "Ask for something to be forgotten, and follow it."},
    {"name": "models", "description": "Datasets, models, and predictions under a version lease."},
    {"name": "holds", "description": "Legal holds: rows that nobody may destroy for now."},
    {"name": "ledger", "description": "The log as static files (C2SP tlog-tiles)."},
    {"name": "operating", "description": "Health, metrics, and what problems mean."},
]


def faults(*codes: str) -> Responses:
    """Responses of a route for everybody: its own problems, and those of any route."""
    return _by_status((*codes, *_ANYWHERE))


def guarded(*codes: str) -> Responses:
    """Responses of a route behind an API key."""
    return _by_status((*codes, *_GUARDED, *_ANYWHERE))


def changing(*codes: str) -> Responses:
    """Responses of a route behind an API key that changes something."""
    return _by_status((*codes, *_ONCE, *_GUARDED, *_CHANGING, *_ANYWHERE))


def taking(*codes: str) -> Responses:
    """Responses of a route behind an API key that takes a body."""
    return _by_status((*codes, *_WITH_BODY, *_ONCE, *_GUARDED, *_CHANGING, *_ANYWHERE))


def secured(*scopes: Scope, body: str = "") -> dict[str, Any]:
    """What a route behind an API key says: one of these scopes, and a JSON body of that model."""
    said: dict[str, Any] = {"security": [{_KEYS: [scope.value]} for scope in scopes]}
    if body:
        schema = {"$ref": _REF.format(model=body)}
        said["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return said


def keyed(*scopes: Scope, body: str = "") -> dict[str, Any]:
    """The same, of a route that takes an Idempotency-Key."""
    return secured(*scopes, body=body) | {"parameters": [_KEY_HEADER]}


def header(description: str, **schema: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON schema
    """A header of a response."""
    return {"description": description, "schema": schema or {"type": "string"}}


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole of it; made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _complete(
            get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=TAGS,
            )
        )
    return app.openapi_schema


def _complete(described: dict[str, Any]) -> dict[str, Any]:
    """Add bodies, which routes read themselves, problems, and how to authenticate."""
    parts = described.setdefault("components", {})
    found = parts.setdefault("schemas", {})
    bodies = [(model, "validation") for model in (*_BODIES.values(), schemas.Problem)]
    _, made = models_json_schema(bodies, ref_template=_REF)  # type: ignore[arg-type]
    found.update(made["$defs"])
    for unused in ("HTTPValidationError", "ValidationError"):
        found.pop(unused, None)
    parts["securitySchemes"] = {
        _KEYS: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "exp_<id>_<secret>",
            "description": "An API key. Scopes: "
            + ", ".join(f"`{scope.value}`" for scope in Scope)
            + ". A revoked key works for at most two seconds more.",
        }
    }
    return described


def _by_status(codes: tuple[str, ...]) -> Responses:
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(PAGES[code].status, []).append(code)
    return {status: _problem(by_status[status]) for status in sorted(by_status)}


def _problem(codes: list[str]) -> dict[str, Any]:
    status = PAGES[codes[0]].status
    said: dict[str, Any] = {
        "description": " ".join(f"`{code}`: {PAGES[code].title}." for code in codes),
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
    }
    if status in problems.RETRY_S:
        said["headers"] = {
            "Retry-After": header("Seconds until it is worth asking again.", type="integer")
        }
    if status == 401:
        said["headers"] = {"WWW-Authenticate": header("How to authenticate.")}
    return said
