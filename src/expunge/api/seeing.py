"""Who sees how a request goes on: its progress tells who is in the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expunge.api.desk import Desk
from expunge.api.problems import Problem
from expunge.core.errors import ScopeMissing
from expunge.service import views
from expunge.service.keys import Key, Scope
from expunge.training.site import Site


def sees_progress(shared: Desk, key: Key) -> bool:
    """Whether a key may learn what became of a request that it sent: that tells who is in."""
    return shared.settings.reveal_unknown or key.may(Scope.READ) or key.may(Scope.APPROVE)


def blind(site: Site, id_: str) -> Mapping[str, Any]:
    """How a request stands, as far as its terms say."""
    found = views.one(site, id_)
    nothing: dict[str, Any] = {"samples": 0, "batch_starts_at": None, "timeline": []}
    return found | nothing | {"units": dict.fromkeys(found["units"], 0)}


async def check_sees(shared: Desk, key: Key, id_: str) -> None:
    """Who has no ``read`` sees their own requests, unless even these would tell who is in."""
    if key.may(Scope.READ):
        return
    if not shared.settings.reveal_unknown:
        raise ScopeMissing(Scope.READ)
    await check_owns(shared, key, id_)


async def check_owns(shared: Desk, key: Key, id_: str) -> None:
    """Others' requests are as unknown as none."""
    if key.may(Scope.ADMIN) or key.may(Scope.APPROVE):
        return
    sent_by = await shared.service.offload(views.submitter, shared.service.home.site, id_)
    if sent_by != key.id:
        raise Problem("unknown-name", "There is no such request.")
