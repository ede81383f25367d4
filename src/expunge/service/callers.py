"""Who calls: keys by their tokens, believed for a second or two before the database is asked."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from expunge.service.keys import Key
from expunge.storage.database import now

_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    key: Key | None
    until: float


class Callers:
    """Keys by token. Kept under hashes: no memory dump shows a token from here.

    For one event loop. A key that is revoked is believed for ``seconds`` more.

    Args:
        find: Asks the database.
        seconds: How long an answer is believed.
    """

    def __init__(
        self,
        find: Callable[[str], Awaitable[Key | None]],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find, self._seconds, self._clock = find, seconds, clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Key | None]] = {}

    def known(self, token: str) -> Key | None:
        """The key of a token that was looked up a moment ago; None: use :meth:`find`."""
        found = self._known.get(_name(token))
        if found is None or found.key is None or found.until <= self._clock():
            return None
        return found.key if found.key.works_at(now()) else None

    async def find(self, token: str) -> Key | None:
        """The key of a token, if it has one that works. Asks once for all who wait."""
        name = _name(token)
        found = self._known.get(name)
        if found is not None and found.until > self._clock():
            return found.key if found.key is not None and found.key.works_at(now()) else None
        asking = self._asking.get(name)
        if asking is None:
            asking = self._asking[name] = asyncio.ensure_future(self._ask(name, token))
        return await asyncio.shield(asking)

    async def _ask(self, name: bytes, token: str) -> Key | None:
        asked = self._clock()  # before the database answers: it may be slow
        try:
            key = await self._find(token)
            self._known[name] = _Known(key, asked + self._seconds)
            self._known.move_to_end(name)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
            return key
        finally:
            del self._asking[name]


def _name(token: str) -> bytes:
    return sha256(token.encode()).digest()
