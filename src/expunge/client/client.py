"""A server's routes, as methods."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from expunge.client.problems import StillOpen
from expunge.client.sending import Json, Terms, at, file, lines, named, query
from expunge.client.transport import Ask, Patience, Transport, retry_after_s

FINAL: Final = frozenset({"done", "refused", "cancelled", "undone"})
"""States of a request that nothing follows."""

_NOT_MODIFIED: Final = 304
_POLL_S: Final = 1.0


_PLAIN: Final = Terms()


class Client:
    """Talks to a server; may be used by several threads.

    Asking again after a lost connection does nothing twice: each change is sent under an
    idempotency key of its own. Answers are the JSON that ``/openapi.json`` of the server
    describes.

    Args:
        url: Of the server.
        key: An API key (``expunge keys create``).
        timeout_s: For each answer.
        patience: How often to ask again.
        over: What to talk over, instead of the network.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = 60.0,
        patience: Patience | None = None,
        over: httpx.BaseTransport | None = None,
    ) -> None:
        self._transport = Transport(url, key, timeout_s=timeout_s, patience=patience, over=over)

    @classmethod
    def from_environment(cls) -> Client:
        """Of the server and with the key in ``EXPUNGE_SERVER`` and ``EXPUNGE_API_KEY``."""
        return cls(os.environ.get("EXPUNGE_SERVER", ""), os.environ.get("EXPUNGE_API_KEY", ""))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all connections."""
        self._transport.close()

    def unlearn(
        self,
        samples: str | Iterable[str] = (),
        *,
        subjects: str | Iterable[str] = (),
        terms: Terms = _PLAIN,
    ) -> Json:
        """Have samples forgotten, or all samples of subjects.

        Returns when no answer of the server's models can come from what saw them; ``request`` in
        the answer is the id to :meth:`wait` for.

        Raises:
            SamplesUnknown: Some are not there, and the server says so; nothing was accepted.
            MethodUnavailable: A model cannot forget that way; nothing was accepted.
        """
        return self._once("/unlearn", named(samples, subjects) | terms.to_json())

    def bulk(self, ids: Path | Iterable[str], *, of: str = "sample", terms: Terms = _PLAIN) -> Json:
        """Have many samples or subjects forgotten, as one request.

        Args:
            ids: A CSV file of one column, sent as it is read, with or without a header; or ids.
            of: ``sample`` or ``subject``: what the ids are of, where no header says so.
            terms: On what terms.

        Raises:
            SamplesUnknown: Some are not there, and the server says so; nothing was accepted.
            MethodUnavailable: A model cannot forget that way; nothing was accepted.
        """
        is_file = isinstance(ids, Path)
        content = file(ids) if isinstance(ids, Path) else lines(tuple(ids))
        kind = "text/csv; charset=utf-8" if is_file else "text/csv; charset=utf-8; header=absent"
        ask = Ask(
            "POST",
            "/unlearn/bulk",
            query(terms) | {"column": of},
            content=content,
            headers={"Content-Type": kind},
            is_once=True,
        )
        return self._transport.json(ask)

    def forecast(
        self,
        samples: str | Iterable[str] = (),
        *,
        subjects: str | Iterable[str] = (),
        terms: Terms = _PLAIN,
    ) -> Json:
        """What :meth:`unlearn` would cost, and when it would be done. Changes nothing."""
        body = named(samples, subjects) | terms.to_json()
        return self._transport.json(Ask("POST", "/forecast", json=body))

    def request(self, request: str) -> Json:
        """A request: where it stands, and the timeline of what happened."""
        return self._transport.json(Ask("GET", at("requests", request)))

    def requests(self, where: Mapping[str, str] | None = None) -> Iterator[Json]:
        """Requests, page by page as they are needed.

        Args:
            where: Filters, such as ``{"state": "submitted", "dataset": "people"}``.
        """
        return self._pages("/requests", "requests", dict(where or {}))

    def wait(
        self,
        request: str,
        *,
        until: Collection[str] = FINAL,
        timeout_s: float | None = None,
        every_s: float = 30.0,
    ) -> Json:
        """Return a request once it is in one of these states, or in a final one.

        Asks as often as the server wishes, and is sent nothing while nothing changes.

        Args:
            request: Its id.
            until: ``held`` is where a request stays during an undo window or a legal hold.
            timeout_s: For how long to wait; None: for ever.
            every_s: Longest pause between two looks, whatever the server wishes.

        Raises:
            StillOpen: After ``timeout_s``.
        """
        ends, began, tag = FINAL | set(until), time.monotonic(), ""
        body: Json = {}
        while True:
            headers = {"If-None-Match": tag} if tag else {}
            response = self._transport.send(Ask("GET", at("requests", request), headers=headers))
            if response.status_code != _NOT_MODIFIED:
                body, tag = response.json(), response.headers.get("ETag", "")
            if body["state"] in ends:
                return body
            pause_s = min(retry_after_s(response) or _POLL_S, every_s)
            waited_s = time.monotonic() - began
            if timeout_s is not None and waited_s + pause_s > timeout_s:
                raise StillOpen(request, body["state"], waited_s)
            time.sleep(pause_s)

    def approve(self, request: str) -> Json:
        """Approve what another key submitted."""
        return self._move(request, "approve")

    def refuse(self, request: str, reason: str) -> Json:
        """Refuse a request that is not in effect yet.

        Args:
            request: Its id.
            reason: ``unverified``, ``exempt``, ``duplicate``, ``mistaken`` or ``other``.
        """
        return self._move(request, "refuse", {"reason": reason})

    def cancel(self, request: str) -> Json:
        """Withdraw a request that is not in effect yet."""
        return self._move(request, "cancel")

    def undo(self, request: str) -> Json:
        """Take a request back within its undo window."""
        return self._move(request, "undo")

    def lift(self, request: str) -> Json:
        """Lift a restriction."""
        return self._move(request, "lift")

    def extend(self, request: str) -> Json:
        """Extend a request's deadline once, as its regime allows."""
        return self._move(request, "extend")

    def retry(self, request: str) -> Json:
        """Try again what was set aside of a request after too many failures."""
        return self._move(request, "retry")

    def certificate(self, request: str) -> bytes:
        """The certificate of a request that is done: a zip file.

        Raises:
            CertificateNotReady: It is not done.
        """
        return self._transport.send(Ask("GET", at("requests", request, "certificate"))).content

    def hold(
        self,
        name: str,
        samples: str | Iterable[str] = (),
        *,
        subjects: str | Iterable[str] = (),
        dataset: str | None = None,
    ) -> Json:
        """Place a legal hold: rows are not destroyed, and read by nobody, until it is released."""
        body = {"name": name} | named(samples, subjects) | Terms(dataset).to_json()
        return self._once("/holds", body)

    def holds(self) -> Iterator[Json]:
        """All legal holds."""
        return self._pages("/holds", "holds", {})

    def release(self, hold: str) -> Json:
        """Release a legal hold; what only waited for it is destroyed."""
        return self._transport.json(Ask("DELETE", at("holds", hold), is_once=True))

    def datasets(self) -> list[Json]:
        """All datasets."""
        return list(self._pages("/datasets", "datasets", {}))

    def models(self) -> list[Json]:
        """All models."""
        return list(self._pages("/models", "models", {}))

    def model(self, name: str) -> Json:
        """A model: what it learns from, and what it serves now."""
        return self._transport.json(Ask("GET", at("models", name)))

    def versions(self, name: str) -> Iterator[Json]:
        """Versions of a model, the newest first."""
        return self._pages(at("models", name, "versions"), "versions", {})

    def predict(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Json:
        """Predictions of a model, with the version that they come from.

        Raises:
            ModelWithdrawn: It cannot answer until it is rebuilt.
        """
        ask = Ask("POST", at("models", name, "predict"), json={"rows": list(rows)})
        return self._transport.json(ask)

    def retire(self, name: str) -> Json:
        """Take a model, and all that was made from it, out of service for good."""
        return self._once(at("models", name, "retire"), {})

    def gate(self, name: str, floor: float, dataset: str) -> Json:
        """Put a floor under a model: what is rebuilt and falls below it is not published.

        Args:
            name: Of the model.
            floor: The least accuracy of a classification, or r² of a regression.
            dataset: Of rows to measure on, which the model does not learn from.
        """
        body: Json = {"floor": floor, "dataset": dataset}
        return self._transport.json(Ask("PUT", at("models", name, "gate"), json=body, is_once=True))

    def open_gate(self, name: str) -> Json:
        """Take the floor under a model away. Returns it as it was."""
        return self._transport.json(Ask("DELETE", at("models", name, "gate"), is_once=True))

    def is_ready(self) -> bool:
        """Whether the server accepts requests."""
        with self._transport.stream("/health/ready") as response:
            return response.is_success

    def _once(self, path: str, body: Json) -> Json:
        return self._transport.json(Ask("POST", path, json=body, is_once=True))

    def _move(self, request: str, word: str, body: Json | None = None) -> Json:
        return self._once(at("requests", request, word), body or {})

    def _pages(self, path: str, key: str, where: dict[str, str]) -> Iterator[Json]:
        while True:
            body = self._transport.json(Ask("GET", path, where))
            yield from body[key]
            if not body.get("next"):
                return
            where = where | {"cursor": body["next"]}
