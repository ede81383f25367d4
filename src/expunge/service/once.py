"""Do something that changes a home once for an idempotency key, however often it is asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from expunge.core.errors import (
    ExpungeError,
    IdempotencyInFlight,
    IdempotencyReused,
    JournalUnwritten,
)
from expunge.requests import restore
from expunge.service import idempotency
from expunge.service.answers import Answer
from expunge.service.idempotency import Claim, InFlight, Replay, Reused
from expunge.service.settings import Settings
from expunge.training.site import Site

Work = Callable[[], Mapping[str, Any]]


def once(
    site: Site,
    settings: Settings,
    claim: Claim | None,
    work: Work,
    status: int = 200,
    show: Work | None = None,
) -> Answer:
    """Do it, or give the answer that it had; a refusal keeps nothing.

    Where the server died in between, it is tried again: what ``work`` does must bear that, as
    moves of a request do, which are refused the second time.

    Args:
        site: What the home stands on.
        settings: Of the server.
        claim: What the idempotency key stands for.
        work: Does it, and shows what came of it.
        status: Of the answer.
        show: Shows that alone: to who comes again after it was done and the journal was full.

    Raises:
        JournalUnwritten: It was done, and does not stand in the journal yet.
        IdempotencyInFlight: Somebody is at it.
        IdempotencyReused: The key stands for something else.
        ExpungeError: What ``work`` raises.
    """
    if claim is None:
        return Answer("", json.dumps(work()), status)
    database, moment = site.database, time.time()
    hold_s = settings.reserve_s + settings.accept_timeout_s
    with database.transaction() as transaction:
        (held,) = idempotency.reserve(transaction, [claim], moment, hold_s, settings.idempotency_s)
    match held:
        case Replay():
            return Answer("", held.response, held.status, replayed=True)
        case InFlight():
            raise IdempotencyInFlight(held.seconds)
        case Reused():
            raise IdempotencyReused
    if held.stands and show:
        work = _afterwards(site, show)
    try:
        answer = Answer("", json.dumps(work()), status, replayed=held.stands)
    except ExpungeError as error:
        with database.transaction() as transaction:
            if show and isinstance(error, JournalUnwritten):
                idempotency.note_stands(transaction, claim)
            else:
                idempotency.let_go(transaction, [claim])
        raise
    with database.transaction() as transaction:
        idempotency.settle(transaction, [(claim, answer.status, answer.body)])
    return answer


def _afterwards(site: Site, show: Work) -> Work:
    """Only see to it that what was done stands in the journal, too."""

    def shown() -> Mapping[str, Any]:
        restore.settle(site)
        return show()

    return shown
