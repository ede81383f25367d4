"""The life of a request after its acceptance: what people decide, and what time does."""

from __future__ import annotations

from expunge.data import sql as data_sql
from expunge.ledger.lease import Clock, shared_clock
from expunge.requests import sql
from expunge.requests.decide import approve, cancel, extend, refuse, take_effect
from expunge.requests.destroy import destroy
from expunge.requests.retire import destroy_retired, retire
from expunge.requests.ripe import look
from expunge.requests.states import IN_EFFECT
from expunge.requests.undo import lift, undo
from expunge.training.site import Site

__all__ = [
    "approve",
    "cancel",
    "extend",
    "is_due",
    "lift",
    "refuse",
    "retire",
    "take_effect",
    "tend",
    "undo",
]


def tend(site: Site, clock: Clock = shared_clock) -> bool:
    """Do what is due: scheduled requests take effect, and what was rebuilt is destroyed.

    May be killed at any line, and run by many at once. Costs a few short queries where nothing
    is due.

    Returns:
        Whether something took effect or was destroyed.
    """
    did = bool(take_effect(site))
    for dataset in _active(site):
        did |= destroy(site, dataset, clock)
    destroy_retired(site)
    return did


def is_due(site: Site, clock: Clock = shared_clock) -> bool:
    """Whether something is to be destroyed now, or noted as waiting. Changes nothing."""
    active = _active(site)
    with site.database.reading() as transaction:
        return any(look(site, transaction, one, clock).is_due for one in active)


def _active(site: Site) -> list[int]:
    """Datasets in which something may be due."""
    with site.database.reading() as transaction:
        return sorted({*sql.waiting(transaction, IN_EFFECT), *data_sql.holding(transaction)})
