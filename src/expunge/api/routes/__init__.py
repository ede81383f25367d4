"""Routes, by what they are about."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from expunge.api.routes import audits, gates, holds, ledger, models, operating, requests, unlearn

ROUTERS: Final[tuple[APIRouter, ...]] = (
    unlearn.ROUTER,
    requests.ROUTER,
    models.ROUTER,
    gates.ROUTER,
    audits.ROUTER,
    holds.ROUTER,
    ledger.ROUTER,
    operating.ROUTER,
)
