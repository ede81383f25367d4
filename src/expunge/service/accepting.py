"""Accept what waits in one transaction for each dataset, once for each idempotency key."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from sqlalchemy.exc import (
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)

from expunge.core.errors import (
    ExpungeError,
    IdempotencyInFlight,
    IdempotencyReused,
    JournalUnwritten,
    NameTaken,
    OutcomeUnknown,
)
from expunge.home.home import exact_methods
from expunge.requests import forget, restore
from expunge.requests import sql as request_sql
from expunge.requests.forget import Accepted, Wanted
from expunge.requests.terms import Terms
from expunge.service import answers, idempotency
from expunge.service.answers import Answer
from expunge.service.idempotency import Claim, InFlight, Mine, Replay, Reused
from expunge.service.settings import Settings
from expunge.service.telemetry import Telemetry
from expunge.training import serving
from expunge.training.site import Site

_LOG: Final = logging.getLogger(__name__)
_SWEEP_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client asks to be forgotten.

    Attributes:
        claim: Where it sent an idempotency key.
    """

    dataset: str
    wanted: Wanted = field(repr=False)
    terms: Terms
    claim: Claim | None = None


Told: TypeAlias = Answer | Exception


class Accepting:
    """Serves groups of asks; for the dispatcher's thread.

    Args:
        site: What they are about.
        settings: Of the server.
        wake: Called when something was accepted.
        telemetry: Counts what was.
    """

    def __init__(
        self, site: Site, settings: Settings, wake: Callable[[], None], telemetry: Telemetry
    ) -> None:
        self._site, self._settings, self._wake = site, settings, wake
        self._telemetry = telemetry
        self._possible = exact_methods()
        self._swept = 0.0

    def serve(self, asks: Sequence[Ask]) -> list[Told]:
        """Answer each, in order; what cannot be accepted gets its error.

        Costs one transaction for each dataset among them, and two more where idempotency keys
        were sent.
        """
        told, asks, fresh = self._reserve(asks)
        by_dataset: dict[str, list[int]] = {}
        for index, ask in enumerate(asks):
            if told[index] is None:
                by_dataset.setdefault(ask.dataset, []).append(index)
        for dataset, indexes in by_dataset.items():
            found = self._accept(dataset, [asks[index] for index in indexes])
            for index, answer in zip(indexes, found, strict=True):
                told[index] = answer
                if claim := asks[index].claim:
                    fresh.append((claim, answer))
        self._settle(fresh)
        if by_dataset:
            self._wake()
        return [answer for answer in told if answer is not None]

    def _reserve(
        self, asks: Sequence[Ask]
    ) -> tuple[list[Told | None], list[Ask], list[tuple[Claim, Told]]]:
        """Look at idempotency keys.

        Returns:
            Answers where keys give them, else None; the asks, with their ids; what is to be kept.
        """
        told, named = list[Told | None]([None] * len(asks)), list(asks)
        fresh: list[tuple[Claim, Told]] = []
        claims = [(index, ask.claim) for index, ask in enumerate(asks) if ask.claim]
        if not claims:
            return told, named, fresh
        settings, moment = self._settings, time.time()
        with self._site.database.transaction() as transaction:
            held = idempotency.reserve(
                transaction,
                [claim for _, claim in claims],
                moment,
                settings.reserve_s,
                settings.idempotency_s,
            )
        for (index, claim), one in zip(claims, held, strict=True):
            told[index] = answer = self._judge(one)
            if isinstance(one, Mine):
                named[index] = replace(
                    asks[index], terms=replace(asks[index].terms, id=one.request)
                )
                if answer is not None:
                    fresh.append((claim, answer))
        return told, named, fresh

    def _judge(self, held: idempotency.Held) -> Told | None:
        match held:
            case Replay():
                return Answer(held.request, held.response, held.status, replayed=True)
            case InFlight():
                return IdempotencyInFlight(held.seconds)
            case Reused():
                return IdempotencyReused()
            case Mine():
                return self._looked_up(held.request) if held.again else None

    def _looked_up(self, request: str) -> Told | None:
        try:
            return self._found(request)
        except Exception as error:  # noqa: BLE001 - whoever asked is told, the others go on
            return error

    def _found(self, request: str) -> Answer | None:
        """The answer to a request whose server died before it could give one."""
        site = self._site
        with site.database.reading() as transaction:
            if not request_sql.known(transaction, [request]):
                return None
            numbers = answers.numbers(site, transaction, request)
        restore.settle(site)  # it died between the commit and the journal, for all we know
        serving.wait(site, numbers)
        with site.database.reading() as transaction:
            reveal = self._settings.reveal_unknown
            return answers.load(site, transaction, request, reveal=reveal)

    def _accept(self, dataset: str, asks: Sequence[Ask]) -> list[Told]:
        try:
            return self._accept_all(dataset, asks)
        except ExpungeError as error:
            return [error] * len(asks)
        except (DisconnectionError, OperationalError, InterfaceError) as error:
            # The connection may have broken behind the commit.
            _LOG.error("%d requests were not accepted: %s", len(asks), type(error).__name__)
            return [OutcomeUnknown()] * len(asks)
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            if len(asks) > 1:  # each alone, so that one cannot spoil the others'
                return [told for ask in asks for told in self._accept(dataset, [ask])]
            # An id that another server has used meanwhile: who asks again finds that request.
            return [OutcomeUnknown() if isinstance(error, IntegrityError) else error]

    def _accept_all(self, dataset: str, asks: Sequence[Ask]) -> list[Told]:
        pairs = [(ask.wanted, ask.terms) for ask in asks]
        wait_s = self._settings.coalesce_s
        outcomes = forget.accept_all(self._site, dataset, pairs, self._possible, wait_s)
        for (_, terms), one in zip(pairs, outcomes, strict=True):
            self._count(terms, one)
        reveal = self._settings.reveal_unknown
        return [
            answers.render(one.row, one.changes, reveal=reveal)
            if isinstance(one, Accepted)
            # Its id: another server has accepted it meanwhile, and who asks again finds that.
            else (OutcomeUnknown() if isinstance(one, NameTaken) else one)
            for one in outcomes
        ]

    def _count(self, terms: Terms, outcome: Accepted | ExpungeError) -> None:
        if isinstance(outcome, Accepted):
            self._telemetry.accepted(terms.kind, outcome.samples, outcome.seconds)
        elif not isinstance(outcome, JournalUnwritten):  # that one stands
            self._telemetry.refused(outcome.code)

    def _settle(self, fresh: Sequence[tuple[Claim, Told]]) -> None:
        """Keep what was answered; leave open what nobody knows; free the keys of refusals.

        A refusal changed nothing: sent again, the request is judged anew.
        """
        if not fresh:
            return
        kept = [(claim, one.status, one.body) for claim, one in fresh if isinstance(one, Answer)]
        others = [claim for claim, one in fresh if not isinstance(one, Answer)]
        # Should this fail, the rows stay reserved, and who asks again is answered from the request.
        with suppress(SQLAlchemyError), self._site.database.transaction() as transaction:
            idempotency.settle(transaction, kept)
            idempotency.let_go(transaction, others)
            if time.monotonic() - self._swept > _SWEEP_S:
                self._swept = time.monotonic()
                idempotency.drop_old(transaction, time.time())
