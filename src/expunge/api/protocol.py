"""HTTP with limits on its head: the fast parser that uvicorn uses has none.

A head that is too long is answered 431; one that comes too slowly ends the connection, and so
do silence before the first request, a body that goes on slowly behind its answer, and answers
that nobody takes.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, ClassVar, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from expunge.api import problems
from expunge.api.problems import Problem

_END: Final = b"\r\n\r\n"


class Limited(HttpToolsProtocol):
    """A connection whose heads are short and quick."""

    header_bytes: ClassVar[int] = 16_384
    head_timeout_s: ClassVar[float] = 10.0

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head, self._in_head = 0, True
        self._deadline: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._answers = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of heads."""
        if self._in_head:
            self._head += len(data)
            if self._head > self.header_bytes and self._is_too_long(data):
                self._refuse()
                return
            if self._deadline is None:
                self._wait()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """A head has ended."""
        self._in_head, self._head = False, 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next head may begin."""
        self._in_head, self._head = True, 0
        super().on_message_complete()
        if self.cycle.response_complete:  # nobody else waits for what comes next
            self._stop_waiting()
            self._wait()

    def on_response_complete(self) -> None:
        """See that the rest of the body comes soon, and that the answer is taken."""
        super().on_response_complete()
        self._answers += 1
        if not self.pipeline and self.cycle.more_body and self._deadline is None:
            self._wait()
        self._watch_writing()

    def pause_writing(self) -> None:
        """See that the answer is taken."""
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        """Most of the answer was taken."""
        super().resume_writing()
        self._stop_watching()

    def _is_too_long(self, data: bytes) -> bool:
        """Whether the head goes on behind the limit; a body may follow it in the same bytes."""
        end = data.find(_END)
        return end < 0 or self._head - len(data) + end > self.header_bytes

    def _refuse(self) -> None:
        self._stop_waiting()
        self.transport.write(_too_long())
        self.transport.close()

    def _watch_writing(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        if waiting and self._watch is None:
            seen = (waiting, self._answers)
            self._watch = self.loop.call_later(self.head_timeout_s, self._look, *seen)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _look(self, waiting: int, answers: int) -> None:
        """End a connection whose client has taken nothing of what waits for it."""
        self._watch = None
        if self._answers == answers and self.transport.get_write_buffer_size() >= waiting:
            self.transport.abort()
        else:
            self._watch_writing()

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.head_timeout_s, self._end)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()


def _too_long() -> bytes:
    """The problem, as bytes: no request is there that the application could answer."""
    answer = problems.response(Problem("head-too-large"), str(uuid.uuid4()))
    head = (b"%s: %s\r\n" % header for header in answer.raw_headers)
    start = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"
    return start + b"".join(head) + b"\r\n" + bytes(answer.body)


def limited(header_bytes: int, head_timeout_s: float) -> type[Limited]:
    """Connections with these limits."""
    limits = {"header_bytes": header_bytes, "head_timeout_s": head_timeout_s}
    return type("Limited", (Limited,), limits)
