"""A network that fails on demand: a proxy that drops, freezes or refuses connections."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Final

_CHUNK: Final = 1 << 16
_RESET: Final = struct.pack("ii", 1, 0)  # closing sends RST, as a host that restarted does


class Proxy:
    """Passes bytes between clients on this machine and one server.

    Attributes:
        port: Where it listens, on 127.0.0.1.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._flowing, self._open = Event(), Event()
        self._flowing.set()
        self._open.set()
        self._lock = Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._threads: list[Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._start(self._accept)

    def __enter__(self) -> Proxy:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def drop(self) -> int:
        """Reset all connections; returns how many. New ones are passed on."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._end(pair)
        return len(pairs)

    def freeze(self) -> None:
        """Pass nothing on, and say nothing: what a pulled cable looks like."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Pass on again, beginning with what was held back."""
        self._flowing.set()

    def refuse(self) -> None:
        """Drop all, and each new connection at once: what a stopped server looks like."""
        self._open.clear()
        self.drop()

    def admit(self) -> None:
        """Take connections again."""
        self._open.set()

    def close(self) -> None:
        """Drop all and end; returns when no thread is left."""
        self._open.clear()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._flowing.set()
        self._threads[0].join()
        self.drop()
        for thread in self._threads:
            thread.join()

    def _start(self, work: Callable[[], None]) -> None:
        thread = Thread(target=work, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return  # closed
            self._admit(client)

    def _admit(self, client: socket.socket) -> None:
        try:
            if not self._open.is_set():
                raise ConnectionRefusedError
            server = socket.create_connection(self._server)
        except OSError:
            _reset(client)
            return
        pair = (client, server)
        for side in pair:  # or it is 40 ms slower than no proxy, at each turn
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._pairs.add(pair)
        self._start(partial(self._pass, client, server, pair))
        self._start(partial(self._pass, server, client, pair))

    def _pass(
        self,
        source: socket.socket,
        sink: socket.socket,
        pair: tuple[socket.socket, socket.socket],
    ) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                self._flowing.wait()
                sink.sendall(data)
        self._flowing.wait()  # an end is news, too
        self._end(pair)

    def _end(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._pairs.discard(pair)
        for side in pair:
            _reset(side)


def _reset(side: socket.socket) -> None:
    with suppress(OSError):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        side.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it
    side.close()
