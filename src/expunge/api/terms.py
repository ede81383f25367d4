"""From what a client sends to the terms of a request."""

from __future__ import annotations

from expunge.api import schemas
from expunge.requests.kinds import Kind
from expunge.requests.terms import Terms
from expunge.service.keys import Key
from expunge.service.settings import Settings


def terms_of(settings: Settings, body: schemas.Conditions, key: Key) -> Terms:
    """The terms that a body states, as this deployment completes them.

    Raises:
        InputError: They do not fit together.
    """
    kind, narrow = Kind(body.kind), body.models
    undo_s = 0.0 if kind is Kind.RESTRICT else settings.undo_s
    return Terms(
        kind=kind,
        models=None if narrow is None else tuple(narrow),
        purpose=body.purpose,
        method=body.method,
        regime=body.regime or settings.regime,
        received=body.received,
        effective=body.effective,
        undo_s=undo_s if body.undo_s is None else body.undo_s,
        approval=settings.approval,
        submitter=key.id,
    )
