"""The application: routes over a service, and what surrounds them."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from expunge.api import describing, problems
from expunge.api.desk import Desk
from expunge.api.guard import Guard
from expunge.api.problems import Pointing, Problem
from expunge.api.rates import Rate
from expunge.api.routes import ROUTERS
from expunge.service.service import Service
from expunge.service.settings import Settings

_DESCRIPTION: Final = """\
Make trained models forget chosen people's data, and prove it.

A request that is answered 202 is durable. Where it is in effect, no response can come any more
from what saw the samples; models are rebuilt afterwards, and `status_url` says how that goes.

Errors are RFC 9457 problems (`application/problem+json`) with a stable `code`; `type` is a page
that says what to do. Times are UTC, RFC 3339. A key belongs to one home, and sees no other's
requests."""
_NOT_FOUND: Final = 404
_NOT_ALLOWED: Final = 405


def create_app(service: Service, settings: Settings) -> FastAPI:
    """The application of a server.

    The caller closes the service once the application answers no more.
    """
    app = FastAPI(
        title="Expunge",
        version=version("expunge"),
        description=_DESCRIPTION,
        docs_url=None,  # they load scripts from other servers
        redoc_url=None,
        redirect_slashes=False,  # redirects repeat the Host header
    )
    app.state.desk = Desk(service, settings, Rate(settings.rate), Rate(settings.rate_unknown))
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(Guard, count=service.telemetry.answered)
    app.openapi = partial(describing.describe, app)  # type: ignore[method-assign]
    return app


def _http(request: Request, error: Exception) -> Response:
    """What Starlette refuses by itself: paths and methods that are not there."""
    assert isinstance(error, HTTPException)
    if error.status_code == _NOT_FOUND:
        return _answer(request, Problem("not-found"))
    if error.status_code == _NOT_ALLOWED:
        return _answer(request, Problem("method-not-allowed", headers={"Allow": _allowed(request)}))
    return _answer(request, Problem("internal"))


def _invalid(request: Request, error: Exception) -> Response:
    """A parameter in the path or the query."""
    assert isinstance(error, RequestValidationError)
    faults = Pointing(root="").faults(error.errors())
    return _answer(request, Problem("request-invalid", "A parameter is invalid.", faults=faults))


def _answer(request: Request, problem: Problem) -> Response:
    return problems.response(problem, request.scope["state"]["call"])


def _allowed(request: Request) -> str:
    """All methods of all routes with this path (RFC 9110, 15.5.6)."""
    methods: set[str] = set()
    for router in ROUTERS:
        for route in router.routes:
            if route.matches(request.scope)[0] is not Match.NONE:
                methods |= getattr(route, "methods", None) or set()
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
