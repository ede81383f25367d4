"""What a request did at once, and ways to its end: waiting, and the certificate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from expunge.core.errors import ExpungeError
from expunge.requests import sql as request_sql
from expunge.requests.certify import Certificate
from expunge.requests.forget import Accepted, Change
from expunge.requests.lost import lost
from expunge.requests.states import State
from expunge.storage import facts
from expunge.storage.facts import Recorded
from expunge.training.site import Site


class Place(Protocol):
    """What a receipt asks of its home."""

    site: Site

    def recover(self) -> None:
        """Do all that is due."""
        ...

    def certificate(self, request: str) -> Certificate:
        """The certificate of a request that is done."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a request did at once, and a way to wait for the rest.

    Attributes:
        accepted: Counts, time to forget, and each model's version before and after.
    """

    accepted: Accepted
    _home: Place = field(repr=False)

    @property
    def request(self) -> str:
        """The request's random id."""
        return self.accepted.request

    @property
    def seconds(self) -> float:
        """Time to forget, in seconds."""
        return self.accepted.seconds

    @property
    def changes(self) -> tuple[Change, ...]:
        """What happened to each model."""
        return self.accepted.changes

    @property
    def state(self) -> State:
        """Where it stands: ``done`` when models are whole and rows are destroyed."""
        with self._home.site.database.reading() as transaction:
            return request_sql.find(transaction, self.request).state

    @property
    def facts(self) -> list[Recorded]:
        """What was recorded about this request."""
        with self._home.site.database.reading() as transaction:
            return facts.read(transaction, self.request)

    @property
    def lost(self) -> dict[str, int]:
        """By column, how many declared values lost their last holder by this request.

        They keep their places: a class without members stays a class. Costs one look at
        these columns of all rows.
        """
        site = self._home.site
        with site.database.reading() as transaction:
            dataset = site.dataset(transaction, self.accepted.dataset).id
            return lost(site.ground(transaction, dataset), self.accepted.left)

    @property
    def certificate(self) -> Certificate:
        """The certificate, once the request is done: ``receipt.wait().certificate.save(path)``.

        Raises:
            CertificateNotReady: Models or rows still wait.
        """
        return self._home.certificate(self.request)

    def wait(self) -> Receipt:
        """Return when the request came to its end: models whole, rows and checkpoints destroyed.

        It returns as well where all that can be done now is done, and the request waits for
        a person or a moment: for its approval, its effective moment, the end of its undo window,
        or the release of a legal hold. ``receipt.state`` says which.

        Raises:
            ExpungeError: A model of the dataset could not be rebuilt.
        """
        while True:
            try:
                self._home.recover()
            except ExpungeError:
                # It may be a model that has nothing to do with this request.
                if self.state is State.FORGOTTEN:
                    raise
            # A request that came in before the destruction has put it off: once more.
            if self.state is not State.FORGOTTEN:
                return self
