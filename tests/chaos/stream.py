"""People who use the service meanwhile: they send requests until they are accepted, and predict."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import httpx

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that was answered with 202.

    Attributes:
        at: When the answer was there, on this process's monotonic clock.
    """

    request: str
    samples: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True)
class Answered:
    """A prediction, with when it was asked for."""

    asked: float
    version: str


@dataclass
class Stream:
    """Several that send and ask at once, at whichever server answers.

    Attributes:
        servers: Gives the addresses of the servers, which may be down.
        headers: With the key.
        wanted: What each request names; each is sent until it is accepted.
        row: A row to predict.
    """

    servers: Callable[[], Sequence[str]]
    headers: dict[str, str]
    wanted: Sequence[tuple[str, ...]]
    row: dict[str, Any]
    seed: int
    accepted: list[Accepted] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    retries: int = 0
    _stopping: Event = field(default_factory=Event)
    _threads: list[Thread] = field(default_factory=list)

    def start(self, senders: int = 2) -> None:
        """Begin to send and to ask."""
        for number in range(senders):
            mine = self.wanted[number::senders]
            self._threads.append(Thread(target=self._send_all, args=(mine, number)))
        self._threads.append(Thread(target=self._predict, args=(senders,)))
        for thread in self._threads:
            thread.start()

    def sent(self) -> bool:
        """Whether all requests were accepted."""
        return len(self.accepted) + len(self.refused) == len(self.wanted)

    def stop(self) -> None:
        """Ask no more; returns when nobody does."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _send_all(self, wanted: Sequence[tuple[str, ...]], number: int) -> None:
        chance = random.Random(f"{self.seed} {number}")
        with httpx.Client(timeout=_TIMEOUT_S, headers=self.headers) as client:
            for samples in wanted:
                time.sleep(chance.random() * 0.15)
                self._send(client, chance, samples)

    def _send(self, client: httpx.Client, chance: random.Random, samples: tuple[str, ...]) -> None:
        key = {"Idempotency-Key": f'"{uuid.uuid4()}"'}
        while not self._stopping.is_set():
            where = chance.choice(self.servers())
            try:
                answer = client.post(
                    f"{where}/unlearn", json={"sample_ids": list(samples)}, headers=key
                )
            except httpx.HTTPError:
                self.retries += 1
                time.sleep(0.05)
                continue
            if answer.status_code == httpx.codes.ACCEPTED:
                request = answer.json()["request"]
                self.accepted.append(Accepted(request, samples, time.monotonic()))
                return
            if answer.status_code < 500 and answer.status_code not in (409, 429):
                self.refused.append(answer.text)
                return
            self.retries += 1
            time.sleep(0.05)

    def _predict(self, number: int) -> None:
        chance = random.Random(f"{self.seed} {number}")
        with httpx.Client(timeout=_TIMEOUT_S, headers=self.headers) as client:
            while not self._stopping.is_set():
                asked, where = time.monotonic(), chance.choice(self.servers())
                try:
                    answer = client.post(f"{where}/models/m/predict", json={"rows": [self.row]})
                except httpx.HTTPError:
                    time.sleep(0.05)
                    continue
                if answer.status_code == httpx.codes.OK:
                    self.answered.append(Answered(asked, answer.json()["version"]))
                time.sleep(0.01)
