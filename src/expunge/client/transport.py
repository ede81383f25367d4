"""One server over HTTP: asks again where that cannot do a thing twice.

References:
    "The Idempotency-Key HTTP Header Field", draft-ietf-httpapi-idempotency-key-header-07.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from expunge.client.problems import ServerUnreachable, body_of, error_of
from expunge.core.errors import InputError

_BUSY: Final = frozenset({429, 502, 503, 504})
# These say what is so, not that the server is busy: asking again at once changes nothing.
_FOR_GOOD: Final = frozenset({"model-withdrawn", "model-retired"})
_STEPS: Final = 1_000
_IN_FLIGHT: Final = "idempotency-in-flight"

Content = Callable[[], Iterable[bytes]]
"""Opens a body to be sent: anew for each try."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to ask again, and how long to wait in between.

    Attributes:
        tries: In all, at least 1.
        first_s: Longest pause before the second try; it doubles with each.
        most_s: Longest pause, also where the server asks for a longer one.
    """

    tries: int = 6
    first_s: float = 0.2
    most_s: float = 20.0

    def pause_s(self, tried: int, asked_s: float | None) -> float:
        """Seconds before the next try: what the server asks for, else full jitter."""
        if asked_s is not None:
            return min(asked_s, self.most_s)
        most = min(self.first_s * 2.0 ** (tried - 1), self.most_s)
        return most * secrets.randbelow(_STEPS) / _STEPS  # so that clients do not come together


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of a server.

    Attributes:
        is_once: Whether it changes something: then it is sent under a key of its own, so that
            asking again does it once.
    """

    method: str
    path: str
    params: Mapping[str, str | list[str]] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    content: Content | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_once: bool = False


class Transport:
    """Connections to one server, and its key."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = 60.0,
        patience: Patience | None = None,
        over: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = _checked_url(url)
        self._patience = patience or Patience()
        headers = {"Authorization": f"Bearer {_checked_key(key)}", "User-Agent": "expunge-client"}
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout_s, transport=over
        )

    def close(self) -> None:
        """Let go of all connections."""
        self._http.close()

    def json(self, ask: Ask) -> dict[str, Any]:
        """The answer to ``ask``.

        Raises:
            ExpungeError: The server says no; of the kind that the library would raise.
            ServerUnreachable: It does not answer.
        """
        return body_of(self.send(ask))

    def send(self, ask: Ask) -> httpx.Response:
        """The response to ``ask``, once there is one that is final."""
        headers = dict(ask.headers)
        if ask.is_once:
            headers["Idempotency-Key"] = f'"{uuid.uuid4()}"'
        response, why = None, ""
        for tried in range(1, self._patience.tries + 1):
            response, why = self._try(ask, headers)
            if response is not None and not _is_busy(response):
                if response.is_error:
                    raise error_of(response)
                return response
            if tried < self._patience.tries:
                asked = retry_after_s(response) if response is not None else None
                time.sleep(self._patience.pause_s(tried, asked))
        if response is not None:
            raise error_of(response)
        raise ServerUnreachable(self.url, self._patience.tries, why)

    @contextmanager
    def stream(self, path: str) -> Iterator[httpx.Response]:
        """A long answer, part by part. It is not asked for again."""
        try:
            with self._http.stream("GET", path) as response:
                if response.is_error:
                    response.read()
                    raise error_of(response)
                yield response
        except httpx.TransportError as error:
            raise ServerUnreachable(self.url, 1, type(error).__name__) from None

    def _try(self, ask: Ask, headers: Mapping[str, str]) -> tuple[httpx.Response | None, str]:
        try:
            response = self._http.request(
                ask.method,
                ask.path,
                params=ask.params,
                json=ask.json,
                content=ask.content() if ask.content else None,
                headers=headers,
            )
        except httpx.TransportError as error:
            return None, type(error).__name__
        return response, f"HTTP {response.status_code}"


def retry_after_s(response: httpx.Response) -> float | None:
    """For how long the server asks to wait; None where it does not say so in seconds."""
    said = response.headers.get("Retry-After", "")
    return float(said) if said.isascii() and said.isdigit() else None


def _is_busy(response: httpx.Response) -> bool:
    if response.status_code == httpx.codes.CONFLICT:
        return body_of(response).get("code") == _IN_FLIGHT
    return response.status_code in _BUSY and body_of(response).get("code") not in _FOR_GOOD


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InputError("A server is named by a URL such as https://expunge.example:8080.")
    return url.rstrip("/")


def _checked_key(key: str) -> str:
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise InputError("A key is needed: `expunge keys create` makes one. It has no blanks.")
    return key
