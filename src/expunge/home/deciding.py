"""What an owner decides about requests after they were accepted, and about rows and models."""

from __future__ import annotations

from collections.abc import Iterable

from expunge.core.errors import InputError
from expunge.data import sql as data_sql
from expunge.requests import gates, life
from expunge.requests import holds as legal
from expunge.requests import sql as request_sql
from expunge.requests.forget import Wanted
from expunge.requests.holds import Hold
from expunge.requests.sql import Request
from expunge.training.site import Site


class Deciding:
    """The part of a home that is about decisions.

    Attributes:
        site: What the home stands on.
    """

    site: Site

    def wake(self) -> None:
        """Rebuild what is not whole, if this home has a background."""

    def request(self, request: str) -> Request:
        """A request by id: where it stands, and until when what is due.

        Raises:
            UnknownName: There is no such request.
        """
        with self.site.database.reading() as transaction:
            return request_sql.find(transaction, request)

    def approve(self, request: str, approver: str) -> Request:
        """Approve a request that waits for a second person; it takes effect, or waits its moment.

        Returns as :meth:`Home.forget` does: when no response can come from a model that saw the
        samples.

        Args:
            request: Its id.
            approver: A name that is no personal data, such as an API key's id.

        Raises:
            SecondPersonNeeded: The approver is not named, or is who sent it.
            RequestMoveRefused: It does not wait for approval.
            UnknownName: There is no such request.
        """
        done = life.approve(self.site, request, approver)
        self.wake()
        return done

    def refuse(self, request: str, reason: str) -> Request:
        """Refuse a request that is not in effect yet.

        Args:
            request: Its id.
            reason: A code such as ``identity-not-shown``. It stands in the ledger for ever.

        Raises:
            InputError: The reason is no code of small letters, digits and hyphens.
            RequestMoveRefused: It is in effect, or came to its end.
            UnknownName: There is no such request.
        """
        return life.refuse(self.site, request, reason)

    def cancel(self, request: str) -> Request:
        """Withdraw a request that is not in effect yet.

        Raises:
            RequestMoveRefused: It is in effect, or came to its end.
            UnknownName: There is no such request.
        """
        return life.cancel(self.site, request)

    def undo(self, request: str) -> Request:
        """Take back a request within its undo window, such as a mistaken bulk request.

        Its rows count again, and models are rebuilt to the names and bytes that they had.

        Raises:
            UndoRefused: It has no undo window, or that is over; or ids came in again meanwhile.
            RequestMoveRefused: It is not in effect, or done.
            UnknownName: There is no such request.
        """
        done = life.undo(self.site, request)
        self.wake()
        return done

    def lift(self, request: str) -> Request:
        """Lift a restriction: models learn from its rows again.

        Raises:
            UndoRefused: It is no restriction; or ids came in again meanwhile.
            RequestMoveRefused: It is not in effect, or was lifted.
            UnknownName: There is no such request.
        """
        done = life.lift(self.site, request)
        self.wake()
        return done

    def extend(self, request: str) -> Request:
        """Extend a request's deadline once, as its regime allows; tell whoever asked.

        Raises:
            InputError: Its regime allows none, or it was extended, or the deadline is over.
            RequestMoveRefused: It came to its end.
            UnknownName: There is no such request.
        """
        return life.extend(self.site, request)

    def hold(
        self,
        name: str,
        samples: Iterable[str] = (),
        *,
        subjects: Iterable[str] = (),
        dataset: str | None = None,
        missing: str = "raise",
    ) -> Hold:
        """Keep rows from being destroyed until :meth:`release`: a legal hold.

        Models forget them all the same where a request says so, and nobody reads them.

        Args:
            name: Of the hold, such as a case number; no personal data.
            samples: Sample ids.
            subjects: Subjects; all their samples are kept.
            dataset: Its name; may be left out where the home has only one.
            missing: ``raise`` or ``ignore`` ids that the dataset never held.

        Raises:
            NothingToForget: Neither samples nor subjects are named.
            SamplesUnknown: Some are not in the dataset, or nothing is left of them.
            NameTaken: Another hold has that name.
        """
        wanted = Wanted(ids(samples), ids(subjects), missing)
        return legal.place(self.site, self.only_dataset(dataset), name, wanted)

    def release(self, hold: str) -> Hold:
        """Release a legal hold, by its id or name; rows that wait for that are destroyed.

        Raises:
            UnknownName: There is no such hold.
        """
        done = legal.release(self.site, hold)
        self.wake()
        return done

    def holds(self) -> list[Hold]:
        """All legal holds, oldest first."""
        with self.site.database.reading() as transaction:
            return legal.all_of(transaction)

    def retire(self, model: str, reason: str = "owner") -> list[str]:
        """Take a model out of service for good, with all that descend from it.

        Its checkpoints are destroyed, and it never answers again. Waits for a build of it.

        Args:
            model: Its name.
            reason: A code, such as ``regulator``. It stands in the ledger for ever.

        Returns:
            Names of the models that were retired.

        Raises:
            UnknownName: There is no such model.
            InputError: The reason is no code of small letters, digits and hyphens.
        """
        return life.retire(self.site, model, reason)

    def gate(self, model: str, floor: float | None, dataset: str | None = None) -> None:
        """Publish nothing rebuilt with which a model would answer worse than a floor.

        That may delay its recovery, never the moment at which it forgets. What is refused is
        not served, and set aside; the request stays ``forgotten`` until it passes. It is tried
        again as soon as the gate is another one, or none.

        Args:
            model: Its name.
            floor: The least accuracy of a classification, or r² of a regression; None takes
                the gate away.
            dataset: Of rows to measure on, which the model does not learn from.

        Raises:
            InputError: The dataset is not named, is the model's own, or has other columns.
            UnknownName: There is no such model or dataset.
        """
        if floor is None:
            gates.drop(self.site, model)
        elif dataset is None:
            raise InputError("Say `dataset=…`: rows to measure on, not the model's own.")
        else:
            gates.put(self.site, model, floor, dataset)
        self.wake()

    def only_dataset(self, name: str | None) -> str:
        """``name``, or that of the only dataset.

        Raises:
            InputError: None is named, and there are several.
        """
        if name is not None:
            return name
        with self.site.database.reading() as transaction:
            names = data_sql.names(transaction)
        if len(names) != 1:
            raise InputError(f"Say `dataset=…`: this home has {len(names)} datasets.")
        return names[0]


def ids(given: Iterable[str]) -> tuple[str, ...]:
    """Identifiers, of which one may be given alone."""
    if isinstance(given, str):
        return (given,)
    return tuple(str(one) for one in given)
